// onnx - writes a generator as an ONNX file.
//
// Input and output are floats [batch,channels,height,width] in [-1,1]. Batch, height and width are
// free; the sides must be divisible by net_divisor. A layer becomes
//
//   up            Pad (edge, 1), ConvTranspose by [1,3,3,1]^2/16, one filter a channel
//   border        Pad (reflect)
//   convolution   Conv or ConvTranspose
//   norm          InstanceNormalization. A batch norm too, with its weight and bias: translate and
//                 the PyTorch repository's test.py use the statistics of each image. With
//                 `running`: BatchNormalization with the running statistics, as with --eval.
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

// Writes the generator w, which was recognised as `r`. ERR_IO, ERR_SPACE, ERR_FORMAT (damaged
// weights).
int onnx_write(struct weights *w, const struct recognised *r, bool running, const char *path);

#endif
