#include "cuda/layer.h"

struct cuda_problem cuda_problem_of(const struct conv_shape *layer, enum cuda_pass pass,
                                    enum cuda_math math) {
    struct cuda_problem s = {.pass = pass,
                             .math = math,
                             .n = layer->n,
                             .c = layer->c,
                             .h = layer->h,
                             .w = layer->w,
                             .k = layer->k,
                             .r = layer->r,
                             .stride = layer->stride,
                             .pad = layer->pad};

    if (!layer->transposed)
        return s;
    s.c = layer->k;
    s.k = layer->c;
    conv_output_size(layer, &s.h, &s.w);
    if (pass != PASS_FILTER)
        s.pass = pass == PASS_FORWARD ? PASS_DATA : PASS_FORWARD;
    return s;
}
