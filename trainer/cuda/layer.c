// Passes of layers as problems. It is apart from problem.c, which knows no layers.
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
    // The plain convolution leads from the layer's output to its input, so their channels and sizes
    // change places.
    s.c = layer->k;
    s.k = layer->c;
    conv_output_size(layer, &s.h, &s.w);
    // The transposed layer's forward pass is the data gradient, and the other way round. The
    // filter's gradient has the same operands either way.
    if (pass != PASS_FILTER)
        s.pass = pass == PASS_FORWARD ? PASS_DATA : PASS_FORWARD;
    return s;
}
