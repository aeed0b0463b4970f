// Settings: the file, and its first line without the # as a --set too. What is accepted is written
// and read again as the same.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "base/util.h"
#include "config/config.h"
#include "fuzz/fuzz.h"

static char *written(const struct config *c) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    FUZZ_CHECK(out && config_write(c, out) == ERR_OK && fclose(out) == 0);
    return text;
}

static void check_same_again(struct config *c) {
    char *text = written(c);
    struct config *again;
    fuzz_write_text("again", text);
    FUZZ_CHECK(config_load_effective("again", &again) == ERR_OK);
    char *same = written(again);
    FUZZ_CHECK(strcmp(text, same) == 0);
    config_free(again);
    free(same);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    char set[256], problem[256];
    const char *sets[] = {set};
    struct config *c;
    struct config_problems problems;
    fuzz_write("input", bytes, size);
    if (config_load_effective("input", &c) == ERR_OK)
        config_free(c);
    int length = (int)MIN(size, sizeof set);
    bool has_set = length > 1 && bytes[0] == '#';
    (void)snprintf(set, sizeof set, "%.*s", has_set ? length - 1 : 0, (const char *)bytes + 1);
    set[strcspn(set, "\n")] = 0;
    if (config_resolve("input", ".", sets, has_set, &c, &problems) == ERR_OK) {
        check_same_again(c);
        config_free(c);
    }
    config_problems_fini(&problems);
    char *equals = strchr(set, '=');
    if (has_set && equals) {
        *equals = 0;
        free(config_spell(set, equals + 1, problem, sizeof problem));
    }
    return 0;
}

void fuzz_seeds(void) {
    struct config *c;
    struct config_problems problems;
    const char *sets[] = {"curator.A.root=/", "curator.B.root=/"};
    if (config_resolve(NULL, ".", sets, 2, &c, &problems) == ERR_OK) {
        char *text = written(c);
        fuzz_write_text("effective", text);
        free(text);
        config_free(c);
    }
    config_problems_fini(&problems);
    fuzz_write_text("small", "#trainer.lr=0.1\ncurator = { A = { root = \"/\"; years = [1, 2]; };\n"
                             "  B = { root = \"/\"; use = \"celeba\" } }\nname = \"x\";\n"
                             "loader = { crop_size = 0x40; } // c\npool = { pool_size = 7L; }\n");
    fuzz_write_text("set_size", "#pool.memory_max=12 MiB\npreset = \"small\";\n/* c */");
    fuzz_write_text("set_range",
                    "#curator.A.years=[2000,2019]\nx = ( 1, ( 2.5e3, \"\\x41\" ) );\n");
}
