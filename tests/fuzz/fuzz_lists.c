// CelebA's lists of attributes, parts, boxes and identities: the first byte says which.
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "fuzz/fuzz.h"
#include "kinds/celeba_lists.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct config_curator settings = {.attributes = "Smiling=1\nMale=-1\n", .partition = "val\n"};
    if (!size)
        return 0;
    fuzz_write("input", bytes + 1, size - 1);
    if (celeba_lists_check(bytes[0] & 3, &settings, "input"))
        FUZZ_CHECK(strstr(err_text(), "input"));
    return 0;
}

void fuzz_seeds(void) {
    fuzz_write_text("attributes", "@2\nMale Smiling Young\n1.jpg 1 -1 1\n2.jpg -1  1 1\n");
    fuzz_write_text("kaggle", "@image_id,Male,Smiling,Young\n1.jpg,1,-1,1\n2.jpg,-1,1,1\n");
    fuzz_write_text("partition", "A1.jpg 0\n2.jpg 2\n");
    fuzz_write_text("boxes", "B1\nimage_id x_1 y_1 width height\n1.jpg 95 71 226 313\n");
    fuzz_write_text("identities", "Cimage_id,identity\n1.jpg,2880\n2.jpg,2937\n");
}
