// dhash - averages by exact integer areas, then compares neighbours. 9 cells give 8 differences;
// the two directions need different grids.
#include "pictures/dhash.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"

enum { CELLS = 8, MORE = CELLS + 1 };

// One pixel is `cells` units wide and one cell n units, so both borders are whole numbers.
// How much of pixel i of n lies in cell k of `cells`, in units of 1 / cells pixel: 0 .. cells.
static int64_t overlap(int64_t i, int64_t n, int64_t k, int64_t cells) {
    int64_t begin = MAX(i * cells, k * n), end = MIN((i + 1) * cells, (k + 1) * n);
    return MAX(0, end - begin);
}

// Rows of pixels summed over the height of band k of `bands`: w sums, of at most 255 * h * bands.
// 255 * h * bands stays below 2^32 for h up to 1.8 million.
static void sum_band(const struct image *gray, int k, int bands, uint32_t *ret_sums) {
    int64_t h = gray->h, first = k * h / bands, last = ((k + 1) * h - 1) / bands;
    memset(ret_sums, 0, (size_t)gray->w * sizeof *ret_sums);
    for (int64_t y = first; y <= last; y++) {
        const uint8_t *row = gray->pixels + (size_t)y * (size_t)gray->w;
        uint32_t weight = (uint32_t)overlap(y, h, k, bands);
        for (int x = 0; x < gray->w; x++)
            ret_sums[x] += weight * row[x];
    }
}

// The sums of a band over the width of each of `cells` cells.
static void sum_cells(const uint32_t *sums, int64_t w, int cells, uint64_t *ret_cells) {
    for (int k = 0; k < cells; k++) {
        int64_t first = k * w / cells, last = ((k + 1) * w - 1) / cells;
        uint64_t inside = 0;
        // Pixels inside a cell have full weight; only the first and the last may be shared.
        for (int64_t x = first + 1; x < last; x++)
            inside += sums[x];
        ret_cells[k] =
            inside * (uint64_t)cells + sums[first] * (uint64_t)overlap(first, w, k, cells);
        // A cell may lie within one pixel; it was counted above already.
        if (last > first)
            ret_cells[k] += sums[last] * (uint64_t)overlap(last, w, k, cells);
    }
}

void dhash_of(const struct image *gray, struct dhash *ret_hash) {
    uint32_t *sums = xmalloc((size_t)gray->w * sizeof *sums);
    uint64_t cells[MORE][MORE];
    // A cell's sum is its mean times its area. All areas are equal (w * h in these units), so sums
    // are compared, and no division rounds.
    uint64_t margin = (uint64_t)gray->w * (uint64_t)gray->h * DHASH_MARGIN;
    struct dhash hash = {0};
    // Only one band is needed at a time here; the columns below compare neighbouring bands.
    for (int y = 0; y < CELLS; y++) {
        sum_band(gray, y, CELLS, sums);
        sum_cells(sums, gray->w, MORE, cells[0]);
        for (int x = 0; x < CELLS; x++)
            hash.rows |= (uint64_t)(cells[0][x + 1] > cells[0][x] + margin) << (8 * y + x);
    }
    for (int y = 0; y < MORE; y++) {
        sum_band(gray, y, MORE, sums);
        sum_cells(sums, gray->w, CELLS, cells[y]);
    }
    for (int y = 0; y < CELLS; y++)
        for (int x = 0; x < CELLS; x++)
            hash.columns |= (uint64_t)(cells[y + 1][x] > cells[y][x] + margin) << (8 * y + x);
    free(sums);
    *ret_hash = hash;
}
