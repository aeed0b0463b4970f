// Sums of bytes as integers: exact, so the number does not depend on the order of the images.
#include "judge/diversity.h"

#include <math.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/util.h"

struct sums {
    uint64_t values, squares;
};

static size_t size_of(const struct image *pictures, int n) {
    for (int i = 1; i < n; i++)
        // evaluate passes sets that swd has found to be of one size.
        if (pictures[i].w != pictures[0].w || pictures[i].h != pictures[0].h ||
            pictures[i].c != pictures[0].c)
            BUG("pictures of %dx%dx%d and %dx%dx%d", pictures[0].w, pictures[0].h, pictures[0].c,
                pictures[i].w, pictures[i].h, pictures[i].c);
    return (size_t)pictures[0].w * (size_t)pictures[0].h * (size_t)pictures[0].c;
}

double diversity(const struct image *pictures, int n) {
    if (n < 2)
        return NAN;
    size_t size = size_of(pictures, n);
    struct sums *sums = xcalloc(size, sizeof *sums);
    for (int i = 0; i < n; i++)
        for (size_t k = 0; k < size; k++) {
            uint64_t v = pictures[i].pixels[k];
            sums[k].values += v;
            // 255^2 each: 64 bits hold more images than an int counts.
            sums[k].squares += v * v;
        }
    double variances = 0;
    for (size_t k = 0; k < size; k++) { // n sum(v^2) - sum(v)^2 is exact in 64 bits
        uint64_t spread = (uint64_t)n * sums[k].squares - sums[k].values * sums[k].values;
        variances += (double)spread / ((double)n * (n - 1));
    }
    free(sums);
    // 127.5 bytes are one unit of [-1,1].
    return sqrt(variances / (double)size) / 127.5;
}
