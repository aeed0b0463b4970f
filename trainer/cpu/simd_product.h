// simd_product - the two matrix kernels. See cpu/simd_vector.h.
#include "cpu/simd_vector.h"

// Products: `rows` tiles, broadcast, by a panel of two vectors; the sums stay in registers.

INLINE void product_rows(int rows, const struct cpu_product *p, int tile, ptrdiff_t in_tile) {
    const float *in = p->in + tile * in_tile, *panel = p->panel;
    const float *later = p->later;
    float *out = p->out + tile * p->out_tile;
    vec sum[ROWS][2];

#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++)
            __builtin_prefetch(out + i * p->out_tile + j * p->out_block, 1);
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++)
            sum[i][j] =
                p->add ? *(const vec *)(out + i * p->out_tile + j * p->out_block) : (vec){0};
    for (int b = 0; b < p->blocks; b++, in += p->in_block) {
#pragma GCC unroll 12
        for (int i = 0; i < rows; i += LINE / LANES)
            __builtin_prefetch(in + p->in_ahead + i * in_tile);
        for (int i = 0; i < p->later_lines; i++, later += LINE)
            __builtin_prefetch(later, 0, 2);
#pragma GCC unroll 4
        for (int q = 0; q < LANES; q++, panel += PANEL) {
            vec left = *(const vec *)panel, right = *(const vec *)(panel + LANES);
            IN_REGISTER(left);
            IN_REGISTER(right);
#pragma GCC unroll 12
            for (int i = 0; i < rows; i++) {
                vec x = BROADCAST(in[i * in_tile + q]);
                sum[i][0] = FMA(x, left, sum[i][0]);
                sum[i][1] = FMA(x, right, sum[i][1]);
            }
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++)
            *(vec *)(out + i * p->out_tile + j * p->out_block) = sum[i][j];
}

// A constant distance of tiles is an offset in the instruction.
#define ROWS_CASE(n)                                                                               \
    case n:                                                                                        \
        if (p->in_tile == LANES)                                                                   \
            product_rows(n, p, tile, LANES);                                                       \
        else                                                                                       \
            product_rows(n, p, tile, p->in_tile);                                                  \
        break;

// Tiles in equal groups of at most ROWS.
TARGET static void product(const struct cpu_product *p) {
    int groups = (p->tiles + ROWS - 1) / ROWS;

    for (int g = 0; g < groups; g++) {
        int tile = p->tiles * g / groups, rows = p->tiles * (g + 1) / groups - tile;
        switch (rows) {
            ROWS_CASE(1)
            ROWS_CASE(2)
            ROWS_CASE(3)
            ROWS_CASE(4)
            ROWS_CASE(5)
            ROWS_CASE(6)
#if ROWS > 6
            ROWS_CASE(7)
            ROWS_CASE(8)
            ROWS_CASE(9)
            ROWS_CASE(10)
            ROWS_CASE(11)
            ROWS_CASE(12)
#endif
        }
    }
}

INLINE void outer_block(int vectors, const struct cpu_outer *p, int row, int vector,
                        ptrdiff_t later) {
    const float *z = p->z + row / LANES * p->z_block + row % LANES;
    const float *v = p->v + vector * p->v_block;
    float *out = p->out + row * p->out_row + vector * LANES;
    vec sum[OUTER_ROWS][OUTER_VECTORS];

    for (int i = 0; i < p->later_lines; i++, later += LINE) {
        __builtin_prefetch(p->later_z + later, 0, 2);
        __builtin_prefetch(p->later_v + later, 0, 2);
    }
#pragma GCC unroll 8
    for (int i = 0; i < OUTER_ROWS; i++)
#pragma GCC unroll 3
        for (int j = 0; j < vectors; j++)
            __builtin_prefetch(out + (i + OUTER_ROWS) * p->out_row + j * LANES, 1);
#pragma GCC unroll 8
    for (int i = 0; i < OUTER_ROWS; i++)
#pragma GCC unroll 3
        for (int j = 0; j < vectors; j++)
            sum[i][j] = p->add ? *(const vec *)(out + i * p->out_row + j * LANES) : (vec){0};
    for (int left = p->tiles; left > 0; left -= p->group, z += p->z_group, v += p->v_group) {
        const float *at_z = z, *at_v = v;
        for (int t = MIN(left, p->group); t > 0; t--, at_z += p->z_tile, at_v += p->v_tile) {
            vec column[OUTER_VECTORS];
#pragma GCC unroll 3
            for (int j = 0; j < vectors; j++) {
                column[j] = *(const vec_anywhere *)(at_v + j * p->v_block);
                IN_REGISTER(column[j]);
            }
#pragma GCC unroll 8
            for (int i = 0; i < OUTER_ROWS; i++) {
                vec x = BROADCAST(at_z[i]);
#pragma GCC unroll 3
                for (int j = 0; j < vectors; j++)
                    sum[i][j] = FMA(x, column[j], sum[i][j]);
            }
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < OUTER_ROWS; i++)
#pragma GCC unroll 3
        for (int j = 0; j < vectors; j++)
            *(vec *)(out + i * p->out_row + j * LANES) = sum[i][j];
}

TARGET static void outer(const struct cpu_outer *p) {
    ptrdiff_t later = 0;

    for (int j = 0, vectors; j < p->vectors; j += vectors) {
        int left = p->vectors - j;
        vectors = left == 4 ? 2 : MIN(left, OUTER_VECTORS);
        for (int row = 0; row < p->rows;
             row += OUTER_ROWS, later += (ptrdiff_t)p->later_lines * LINE)
            if (vectors == 1)
                outer_block(1, p, row, j, later);
            else if (vectors == 2)
                outer_block(2, p, row, j, later);
            else
                outer_block(OUTER_VECTORS, p, row, j, later);
    }
}
