// Builds the protobuf messages of an ONNX model in memory that the file owns, then packs them.
#include "weights/onnx_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "base/version_text.h"
#include "onnx.pb-c.h"

#define OPSET 17
#define IR_VERSION 8
#define MESSAGE_TEXT 16

struct onnx_file {
    Onnx__ModelProto model;
    Onnx__GraphProto graph;
    Onnx__OperatorSetIdProto opset, *opsets[1];
    Onnx__ValueInfoProto *inputs[1], *outputs[1];
    int n_names;
    char **names; // of results and constants, by their numbers
    int n_kept;
    void **kept; // all memory of onnx_file_memory
};

// ---- memory ----

void *onnx_file_memory(struct onnx_file *f, size_t bytes) {
    f->kept = xrealloc(f->kept, (size_t)(f->n_kept + 1) * sizeof *f->kept);
    return f->kept[f->n_kept++] = xcalloc(1, bytes + 1);
}

static void *copy(struct onnx_file *f, const void *bytes, size_t size) {
    return memcpy(onnx_file_memory(f, size), bytes, size);
}

static char *copy_text(struct onnx_file *f, const char *text) {
    return copy(f, text, strlen(text) + 1);
}

// A list that grows by one.
static void *grow(void *list, size_t n, size_t size) {
    return xrealloc(list, (n + 1) * size);
}

// Gives the name the next number. The name is kept.
static int add_name(struct onnx_file *f, char *name) {
    f->names = grow(f->names, (size_t)f->n_names, sizeof *f->names);
    f->names[f->n_names] = name;
    return f->n_names++;
}

struct onnx_file *onnx_file_new(const char *about) {
    struct onnx_file *f = xcalloc(1, sizeof *f);
    onnx__model_proto__init(&f->model);
    onnx__graph_proto__init(&f->graph);
    onnx__operator_set_id_proto__init(&f->opset);
    // The empty domain means the standard operators.
    f->opset.domain = copy_text(f, "");
    f->opset.has_version = 1;
    f->opset.version = OPSET;
    f->opsets[0] = &f->opset;
    f->model.has_ir_version = 1;
    f->model.ir_version = IR_VERSION;
    f->model.n_opset_import = 1;
    f->model.opset_import = f->opsets;
    f->model.producer_name = copy_text(f, "cyclegan-pipeline");
    f->model.producer_version = copy_text(f, version_text());
    f->model.doc_string = copy_text(f, about);
    f->model.graph = &f->graph;
    f->graph.name = copy_text(f, "generator");
    return f;
}

void onnx_file_free(struct onnx_file *f) {
    if (!f)
        return;
    // These lists grow by realloc and so are not in `kept`; the nodes themselves are.
    for (size_t i = 0; i < f->graph.n_node; i++)
        free(f->graph.node[i]->attribute);
    for (int i = 0; i < f->n_kept; i++)
        free(f->kept[i]);
    free(f->graph.node);
    free(f->graph.initializer);
    free(f->names);
    free(f->kept);
    free(f);
}

// ---- input, output ----

static Onnx__TensorShapeProto__Dimension *dimension(struct onnx_file *f, const char *param,
                                                    int64_t size) {
    Onnx__TensorShapeProto__Dimension *d = onnx_file_memory(f, sizeof *d);
    onnx__tensor_shape_proto__dimension__init(d);
    // A named size is free; ONNX requires that equal names have equal sizes.
    if (param) {
        d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
        d->dim_param = copy_text(f, param);
    } else {
        d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        d->dim_value = size;
    }
    return d;
}

static Onnx__ValueInfoProto *picture(struct onnx_file *f, char *name, const char *height,
                                     const char *width, int c) {
    Onnx__ValueInfoProto *value = onnx_file_memory(f, sizeof *value);
    Onnx__TypeProto *type = onnx_file_memory(f, sizeof *type);
    Onnx__TypeProto__Tensor *tensor = onnx_file_memory(f, sizeof *tensor);
    Onnx__TensorShapeProto *shape = onnx_file_memory(f, sizeof *shape);
    onnx__value_info_proto__init(value);
    onnx__type_proto__init(type);
    onnx__type_proto__tensor__init(tensor);
    onnx__tensor_shape_proto__init(shape);
    shape->n_dim = 4;
    shape->dim = onnx_file_memory(f, 4 * sizeof *shape->dim);
    // N,C,H,W. Input and output share the batch by its name.
    shape->dim[0] = dimension(f, "batch", 0);
    shape->dim[1] = dimension(f, NULL, c);
    shape->dim[2] = dimension(f, height, 0);
    shape->dim[3] = dimension(f, width, 0);
    tensor->has_elem_type = 1;
    tensor->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    tensor->shape = shape;
    type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    type->tensor_type = tensor;
    value->name = name;
    value->type = type;
    return value;
}

int onnx_file_input(struct onnx_file *f, int c) {
    char *name = copy_text(f, "input");
    f->inputs[0] = picture(f, name, "height", "width", c);
    f->graph.n_input = 1;
    f->graph.input = f->inputs;
    return add_name(f, name);
}

// ---- constants ----

static Onnx__TensorProto *constant(struct onnx_file *f, const char *name, int rank,
                                   const int64_t *dims) {
    Onnx__TensorProto *t = onnx_file_memory(f, sizeof *t);
    onnx__tensor_proto__init(t);
    t->name = copy_text(f, name);
    t->n_dims = (size_t)rank;
    // The caller's array may be on its stack.
    t->dims = copy(f, dims, (size_t)rank * sizeof *dims);
    t->has_data_type = 1;
    // Raw data is little-endian in ONNX, as memory is here.
    t->has_raw_data = 1;
    f->graph.initializer =
        grow(f->graph.initializer, f->graph.n_initializer, sizeof *f->graph.initializer);
    f->graph.initializer[f->graph.n_initializer++] = t;
    return t;
}

int onnx_file_floats(struct onnx_file *f, const char *name, int rank, const int64_t *dims,
                     const float *values) {
    Onnx__TensorProto *t = constant(f, name, rank, dims);
    size_t count = 1;
    for (int i = 0; i < rank; i++)
        count *= (size_t)dims[i];
    t->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    t->raw_data = (ProtobufCBinaryData){count * sizeof *values, (uint8_t *)values}; // only read
    return add_name(f, t->name);
}

int onnx_file_integers(struct onnx_file *f, const char *name, int count, const int64_t *values) {
    int64_t dims[1] = {count};
    Onnx__TensorProto *t = constant(f, name, 1, dims);
    size_t bytes = (size_t)count * sizeof *values;
    t->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__INT64;
    t->raw_data = (ProtobufCBinaryData){bytes, copy(f, values, bytes)};
    return add_name(f, t->name);
}

// ---- nodes ----

int onnx_file_node(struct onnx_file *f, const char *op, int n_inputs, const int *inputs) {
    Onnx__NodeProto *node = onnx_file_memory(f, sizeof *node);
    char name[MESSAGE_TEXT + 32];
    onnx__node_proto__init(node);
    (void)snprintf(name, sizeof name, "%.*s_%zu", MESSAGE_TEXT, op, f->graph.n_node); // a name
    node->op_type = copy_text(f, op);
    node->name = copy_text(f, name);
    node->n_input = (size_t)n_inputs;
    node->input = onnx_file_memory(f, (size_t)n_inputs * sizeof *node->input);
    for (int i = 0; i < n_inputs; i++)
        node->input[i] = f->names[inputs[i]];
    node->n_output = 1;
    node->output = onnx_file_memory(f, sizeof *node->output);
    // A node has one result, which takes the node's name; the type and number make it unique.
    node->output[0] = node->name;
    f->graph.node = grow(f->graph.node, f->graph.n_node, sizeof *f->graph.node);
    f->graph.node[f->graph.n_node++] = node;
    return add_name(f, node->name);
}

static Onnx__AttributeProto *attribute(struct onnx_file *f, const char *name,
                                       Onnx__AttributeProto__AttributeType type) {
    Onnx__NodeProto *node = f->graph.node[f->graph.n_node - 1];
    Onnx__AttributeProto *a = onnx_file_memory(f, sizeof *a);
    onnx__attribute_proto__init(a);
    a->name = copy_text(f, name);
    a->has_type = 1;
    a->type = type;
    node->attribute = grow(node->attribute, node->n_attribute, sizeof *node->attribute);
    node->attribute[node->n_attribute++] = a;
    return a;
}

void onnx_file_set_ints(struct onnx_file *f, const char *name, int count, const int64_t *values) {
    Onnx__AttributeProto *a = attribute(f, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    a->n_ints = (size_t)count;
    a->ints = copy(f, values, (size_t)count * sizeof *values);
}

void onnx_file_set_int(struct onnx_file *f, const char *name, int64_t value) {
    Onnx__AttributeProto *a = attribute(f, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    a->has_i = 1;
    a->i = value;
}

void onnx_file_set_float(struct onnx_file *f, const char *name, float value) {
    Onnx__AttributeProto *a = attribute(f, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
    a->has_f = 1;
    a->f = value;
}

void onnx_file_set_text(struct onnx_file *f, const char *name, const char *value) {
    Onnx__AttributeProto *a = attribute(f, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);
    a->has_s = 1;
    a->s = (ProtobufCBinaryData){strlen(value), copy(f, value, strlen(value))};
}

// ---- writing ----

// protobuf-c packs into this; the FILE remembers an error.
struct sink {
    ProtobufCBuffer base;
    FILE *out;
};

static void append_bytes(ProtobufCBuffer *buffer, size_t size, const uint8_t *bytes) {
    (void)fwrite(bytes, 1, size, ((struct sink *)buffer)->out); // ferror is checked at the end
}

int onnx_file_write(struct onnx_file *f, int y, int c, const char *path) {
    struct sink sink = {.base = {.append = append_bytes}};
    char *name = copy_text(f, "output");
    // Only the result is renamed. The node keeps its name, which the next check compares.
    f->graph.node[f->graph.n_node - 1]->output[0] = name;
    if (strcmp(f->names[y], f->graph.node[f->graph.n_node - 1]->name) != 0)
        BUG("the output is not the last node's");
    f->outputs[0] = picture(f, name, "output_height", "output_width", c);
    f->graph.n_output = 1;
    f->graph.output = f->outputs;
    sink.out = fopen(path, "wbe");
    if (!sink.out)
        return fs_failed("open", path);
    (void)onnx__model_proto__pack_to_buffer(&f->model, &sink.base); // errors show in sink.out
    // In this order: the buffer must be empty before fsync has a meaning.
    int err = fflush(sink.out) || ferror(sink.out) || fsync(fileno(sink.out))
                  ? fs_failed("write", path)
                  : ERR_OK;
    if (fclose(sink.out) && !err)
        err = fs_failed("close", path);
    return err;
}
