// layer - the problems that a layer's passes are. It needs no GPU and no cuDNN.
#ifndef CUDA_LAYER_H
#define CUDA_LAYER_H

#include "backend/backend.h"
#include "cuda/problem.h"

// A pass of a transposed layer is the opposite pass of the plain convolution that leads from the
// layer's output to its input. `layer` has the channels that are stored.
struct cuda_problem cuda_problem_of(const struct conv_shape *layer, enum cuda_pass pass,
                                    enum cuda_math math);

#endif
