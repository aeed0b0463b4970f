// BDD100K's label files. Every frame that is accepted is found by its name, with values that were
// read; reading the file twice adds nothing.
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "fuzz/fuzz.h"
#include "kinds/labels.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct labels l = {0};
    char first[65], second[65];
    fuzz_write("input", bytes, size);
    if (labels_read(&l, "input", NULL) == ERR_OK) {
        size_t count = l.names.count;
        labels_digest(&l, first);
        FUZZ_CHECK(labels_read(&l, "input", NULL) == ERR_OK && l.names.count == count);
        labels_digest(&l, second);
        FUZZ_CHECK(l.conflicts > 0 || strcmp(first, second) == 0);
        for (size_t i = 0; i < count; i++) {
            const struct name_row *row = &l.names.rows[i];
            // The name as it is kept may end like a picture's once more.
            char *name = xasprintf("%s.jpg", names_text(&l.names, row));
            FUZZ_CHECK(names_find(&l.names, name) == row);
            free(name);
            for (int kind = 0; kind < LABELS; kind++)
                FUZZ_CHECK((int)(row->value >> 8 * kind & 0xff) <= l.value_count[kind]);
        }
    } else {
        FUZZ_CHECK(strstr(err_text(), "input:"));
    }
    labels_fini(&l);
    return 0;
}

#define FRAME(name, time)                                                                          \
    "{\"name\":\"" name "\",\"attributes\":{\"weather\":\"clear\",\"timeofday\":\"" time "\"},"    \
    "\"labels\":[{\"box2d\":{\"x1\":1.5e2},\"attributes\":{\"occluded\":false}}]}"

void fuzz_seeds(void) {
    fuzz_write_text("list", "[" FRAME("a.jpg", "night") ",\n" FRAME("b", "undefined") "]");
    fuzz_write_text("one", "{\"name\":\"a\",\"frames\":[{\"objects\":[{\"category\":\"car\"}]}],"
                           "\"attributes\":{\"scene\":\"tunnel\",\"timeofday\":null}}");
    fuzz_write_text("frames", "{\"frames\":[" FRAME("a.jpg", "dawn/dusk") "],\"config\":null}");
}
