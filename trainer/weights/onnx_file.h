// onnx_file - an ONNX file, put together node by node and written by protobuf-c.
//
// Opset 17 of the standard operators, IR version 8. Everything given is copied or kept until the
// file is freed, as each function says; texts are copied. A node's result is known by its number.
#ifndef ONNX_FILE_H
#define ONNX_FILE_H

#include <stddef.h>
#include <stdint.h>

struct onnx_file;

// `about` is a line for a person.
struct onnx_file *onnx_file_new(const char *about);
void onnx_file_free(struct onnx_file *f);

// The graph's only input "input", floats [batch,c,height,width]; its number.
int onnx_file_input(struct onnx_file *f, int c);

// A constant; `values` is lent until the file is freed.
int onnx_file_floats(struct onnx_file *f, const char *name, int rank, const int64_t *dims,
                     const float *values);
int onnx_file_integers(struct onnx_file *f, const char *name, int count, const int64_t *values);
// Memory of the file's own for such values.
void *onnx_file_memory(struct onnx_file *f, size_t bytes);

// A node on the results or constants in `inputs`; its result's number. Attributes follow.
int onnx_file_node(struct onnx_file *f, const char *op, int n_inputs, const int *inputs);
// Of the last node.
void onnx_file_set_ints(struct onnx_file *f, const char *name, int count, const int64_t *values);
void onnx_file_set_int(struct onnx_file *f, const char *name, int64_t value);
void onnx_file_set_float(struct onnx_file *f, const char *name, float value);
void onnx_file_set_text(struct onnx_file *f, const char *name, const char *value);

// Makes result `y` the graph's only output "output", [batch,c,output_height,output_width], and
// writes the file, which may exist, and syncs it. ERR_IO, ERR_SPACE.
int onnx_file_write(struct onnx_file *f, int y, int c, const char *path);

#endif
