// CelebA's landmark file. Every row that is accepted is found by its name.
#include "base/err.h"
#include "fuzz/fuzz.h"
#include "kinds/landmarks.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct landmarks *l;
    fuzz_write("input", bytes, size);
    if (landmarks_load("input", &l))
        return 0;
    for (size_t i = 0; i < l->count; i++)
        FUZZ_CHECK(landmarks_find(l, l->rows[i].name) == &l->rows[i]);
    (void)landmarks_are_unaligned(l); // whatever it says
    landmarks_free(l);
    return 0;
}

void fuzz_seeds(void) {
    fuzz_write_text("official", "2\nlefteye_x lefteye_y righteye_x righteye_y nose_x nose_y "
                                "leftmouth_x leftmouth_y rightmouth_x rightmouth_y\n"
                                "1.jpg 69 109 106 113 77 142 73 152 108 154\n"
                                "2.jpg 69 110 107 112 81 135 70 151 108 153\n");
    fuzz_write_text("kaggle", "image_id,lefteye_x,lefteye_y,righteye_x,righteye_y,nose_x,nose_y,"
                              "leftmouth_x,leftmouth_y,rightmouth_x,rightmouth_y\n"
                              "1.jpg,69,109,106,113,77,142,73,152,108,154\n");
}
