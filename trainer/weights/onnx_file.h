// onnx_file - builds an ONNX file node by node and writes it with protobuf-c.
//
// Opset 17 of the standard operators, IR version 8. Texts are copied. Arrays are copied, or lent
// until the file is freed, as each function says. Functions return the number of a result.
#ifndef ONNX_FILE_H
#define ONNX_FILE_H

#include <stddef.h>
#include <stdint.h>

struct onnx_file;

// `about` becomes the doc string of the model.
struct onnx_file *onnx_file_new(const char *about);
void onnx_file_free(struct onnx_file *f);

// Adds the only input, "input", floats [batch,c,height,width]. Returns its number.
int onnx_file_input(struct onnx_file *f, int c);

// Adds a constant and returns its number. Floats are lent until the file is freed, integers copied.
int onnx_file_floats(struct onnx_file *f, const char *name, int rank, const int64_t *dims,
                     const float *values);
int onnx_file_integers(struct onnx_file *f, const char *name, int count, const int64_t *values);
// Zeroed memory that lives as long as the file, for such values.
void *onnx_file_memory(struct onnx_file *f, size_t bytes);

// Adds a node. `inputs` are numbers of results and constants. Returns the number of its result.
int onnx_file_node(struct onnx_file *f, const char *op, int n_inputs, const int *inputs);
// Set an attribute of the last node.
void onnx_file_set_ints(struct onnx_file *f, const char *name, int count, const int64_t *values);
void onnx_file_set_int(struct onnx_file *f, const char *name, int64_t value);
void onnx_file_set_float(struct onnx_file *f, const char *name, float value);
void onnx_file_set_text(struct onnx_file *f, const char *name, const char *value);

// Makes result `y` of the last node the only output, "output",
// [batch,c,output_height,output_width]. Writes and syncs the file, which may exist. ERR_IO,
// ERR_SPACE.
int onnx_file_write(struct onnx_file *f, int y, int c, const char *path);

#endif
