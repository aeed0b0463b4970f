// layer - which problems the passes of a layer are.
#ifndef CUDA_LAYER_H
#define CUDA_LAYER_H

#include "backend/backend.h"
#include "cuda/problem.h"

// What a layer's pass is: that of a transposed layer is the opposite one of the plain convolution
// that leads from its output to its input. The layer's channels are those in memory.
struct cuda_problem cuda_problem_of(const struct conv_shape *layer, enum cuda_pass pass,
                                    enum cuda_math math);

#endif
