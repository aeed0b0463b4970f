// onnx - a generator as an ONNX file, for other programs to run.
//
// Input and output are floats [batch,channels,height,width] in [-1,1], all but the channels free;
// sides have to be divisible as the net wants it. A layer becomes
//
//   up            Pad (edge, 1), ConvTranspose by [1,3,3,1]^2/16, one filter a channel
//   border        Pad (reflect)
//   convolution   Conv or ConvTranspose
//   norm          InstanceNormalization; of a batch norm with its weight and bias, by the
//   statistics
//                 of each picture, as `translate` and the reference's test do it. With `running`:
//                 BatchNormalization by the running statistics, as the reference's --eval.
//   activation    Relu, LeakyRelu (0.2), Tanh
//   skip          Add; Concat and Relu
//   blur          Pad (reflect, 1), Conv by [1,2,1]^2/16, one filter a channel, stride 2
//
// Dropout and biases without effect are left out. Source of the operators: ONNX, Operators.md,
// opset 17.
#ifndef ONNX_H
#define ONNX_H

#include <stdbool.h>

#include "weights/recognise.h"
#include "weights/weights.h"

// Writes the generator that `r` says w is. ERR_IO, ERR_SPACE, ERR_FORMAT (damaged weights).
int onnx_write(struct weights *w, const struct recognised *r, bool running, const char *path);

#endif
