// Envelopes and records. What is accepted, packed again, is accepted as the same message.
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "fuzz/fuzz.h"
#include "link/msg.h"

static void try_envelope(const uint8_t *bytes, size_t size) {
    static uint8_t first[MSG_MAX], second[MSG_MAX];
    struct msg_envelope envelope, again;
    static struct msg m, same;
    size_t n_first, n_second;
    if (msg_unpack(bytes, size, &envelope, &m)) {
        FUZZ_CHECK(m.type == MSG_NONE);
        return;
    }
    if (msg_pack(&envelope, &m, first, &n_first))
        return; // shorter floats on their way in than on their way out
    FUZZ_CHECK(msg_unpack(first, n_first, &again, &same) == ERR_OK);
    FUZZ_CHECK(msg_pack(&again, &same, second, &n_second) == ERR_OK);
    FUZZ_CHECK(n_first == n_second && memcmp(first, second, n_first) == 0);
}

static void try_record(const uint8_t *bytes, size_t size) {
    static uint8_t first[MSG_MAX], second[MSG_MAX];
    static struct msg m, same;
    size_t n_first, n_second;
    if (msg_unpack_record(bytes, size, &m)) {
        FUZZ_CHECK(m.type == MSG_NONE);
        return;
    }
    if (msg_pack_record(&m, first, sizeof first, &n_first))
        return;
    FUZZ_CHECK(msg_unpack_record(first, n_first, &same) == ERR_OK);
    FUZZ_CHECK(msg_pack_record(&same, second, sizeof second, &n_second) == ERR_OK);
    FUZZ_CHECK(n_first == n_second && memcmp(first, second, n_first) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    try_envelope(bytes, size);
    try_record(bytes, size);
    return 0;
}

void fuzz_seeds(void) {
    static uint8_t bytes[MSG_MAX];
    struct msg_envelope envelope = {1, 2, {"loader", 0, 3}, {"trainer", 1, 1}};
    char path[64];
    size_t size;
    for (int type = MSG_NONE + 1; type < MSG_TYPES; type++) {
        struct msg m = {.type = (enum msg_type)type};
        if (msg_pack(&envelope, &m, bytes, &size) == ERR_OK)
            fuzz_write(msg_name(m.type), bytes, size);
        (void)strcpy(path, msg_name(m.type));
        (void)strcat(path, "-record");
        if (msg_pack_record(&m, bytes, sizeof bytes, &size) == ERR_OK)
            fuzz_write(path, bytes, size);
    }
}
