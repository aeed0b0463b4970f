// The reference's option dump. Every option that is accepted has a name.
#include "base/err.h"
#include "ctl/option_dump.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct options o;
    fuzz_write("input", bytes, size);
    if (options_read("input", &o))
        return 0;
    FUZZ_CHECK(o.count > 0);
    for (int i = 0; i < o.count; i++) {
        FUZZ_CHECK(*o.lines[i].name && options_value(&o, o.lines[i].name, NULL));
        (void)options_number(&o, o.lines[i].name, 1); // whatever they are
        (void)options_flag(&o, o.lines[i].name);
    }
    options_fini(&o);
    return 0;
}

void fuzz_seeds(void) {
    fuzz_write_text("dump", "----------------- Options ---------------\n"
                            "               batch_size: 4         \t[default: 1]\n"
                            "                isTrain: True         \t[default: None]\n"
                            "                  suffix:                     \n"
                            "----------------- End -------------------\n");
}
