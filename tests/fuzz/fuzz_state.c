// state.json. What is accepted is saved and loaded as the same.
#include <string.h>

#include "base/err.h"
#include "checkpoint/state.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct state s, again;
    fuzz_write("input", bytes, size);
    if (state_load("input", &s))
        return 0;
    for (int i = 0; i < s.n_files; i++)
        FUZZ_CHECK(state_digest(&s, s.files[i].name));
    FUZZ_CHECK(state_save(&s, "again") == ERR_OK);
    FUZZ_CHECK(state_load("again", &again) == ERR_OK);
    FUZZ_CHECK(again.step == s.step && again.n_files == s.n_files);
    FUZZ_CHECK(again.plateau.sum == s.plateau.sum && again.plateau.bad == s.plateau.bad);
    FUZZ_CHECK(!strcmp(again.device, s.device));
    return 0;
}

void fuzz_seeds(void) {
    static const char digest[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    struct state s = {.step = 12, .epoch = 2, .batch = 3, .images = 12, .device = "cpu"};
    s.plateau.epochs = 7;
    s.plateau.best = 2.5;
    strcpy(s.manifest[0].digest, digest);
    strcpy(s.manifest[1].digest, digest);
    FUZZ_CHECK(state_save(&s, "no_files") == ERR_OK);
    state_add_file(&s, "G_A.safetensors", digest);
    state_add_file(&s, "pool.bin", digest);
    FUZZ_CHECK(state_save(&s, "two_files") == ERR_OK);
    static char deep[32768];
    memset(deep, '[', sizeof deep);
    fuzz_write("deep", deep, sizeof deep);
    memset(deep + sizeof deep / 2, ']', sizeof deep / 2);
    fuzz_write("deep-closed", deep, sizeof deep);
}
