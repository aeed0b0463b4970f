// Parses the header with a state machine over the few places that the JSON can be in.
#include <stdlib.h>
#include <string.h>

#include <yajl/yajl_parse.h>

#include "base/util.h"
#include "weights/safetensors_header.h"

const char *const safetensors_type_names[] = {[SAFETENSORS_F32] = "F32",
                                              [SAFETENSORS_I64] = "I64",
                                              [SAFETENSORS_F16] = "F16",
                                              [SAFETENSORS_BF16] = "BF16",
                                              [SAFETENSORS_F64] = "F64"};
static const uint64_t type_bytes[] = {[SAFETENSORS_F32] = 4,
                                      [SAFETENSORS_I64] = 8,
                                      [SAFETENSORS_F16] = 2,
                                      [SAFETENSORS_BF16] = 2,
                                      [SAFETENSORS_F64] = 8};

bool safetensors_size(const struct safetensor *t, uint64_t *ret_bytes) {
    uint64_t bytes = type_bytes[t->type];

    for (int i = 0; i < t->rank; i++)
        // The bound of INT64_MAX keeps offsets valid as off_t.
        if (__builtin_mul_overflow(bytes, (uint64_t)t->dims[i], &bytes) || bytes > INT64_MAX)
            return false;
    *ret_bytes = bytes;
    return true;
}

enum place {
    AT_START,
    AT_NAME,     // in the outer object
    AT_METADATA, // in {"__metadata__": {...}}
    AT_FIELD,    // in a tensor's object
    AT_DTYPE,
    AT_SHAPE,
    AT_OFFSETS,
    AT_TENSOR, // before the { of a tensor
    AT_META_OPEN,
    AT_END,
};

struct header {
    enum place place;
    bool in_list, meta_value, seen_metadata;
    unsigned seen; // bits: dtype, shape, offsets
    int n_offsets;
    uint64_t offsets[2];
    struct safetensors *file;
    int capacity;
    const char *wrong;
};

// The first reason stands: yajl cancels at 0, and later callbacks do not hide it.
static int refuse_header(struct header *h, const char *why) {
    if (!h->wrong)
        h->wrong = why;
    return 0;
}

static struct safetensor *last(struct header *h) {
    return &h->file->tensors[h->file->count - 1];
}

static void add_tensor(struct header *h, const unsigned char *name, size_t size) {
    // yajl's text is valid during the callback only, and is not terminated.
    char *copy = xmalloc(size + 1);

    memcpy(copy, name, size);
    copy[size] = 0;
    if (h->file->count == h->capacity) {
        h->capacity = h->capacity ? 2 * h->capacity : 64;
        h->file->tensors =
            xrealloc(h->file->tensors, (size_t)h->capacity * sizeof *h->file->tensors);
    }
    h->file->tensors[h->file->count++] = (struct safetensor){.name = copy};
    h->seen = 0;
    h->n_offsets = 0;
    h->place = AT_TENSOR;
}

static bool same(const unsigned char *text, size_t size, const char *word) {
    return size == strlen(word) && memcmp(text, word, size) == 0;
}

static int enter_field(struct header *h, unsigned bit, enum place place) {
    if (h->seen & bit)
        return refuse_header(h, "a tensor's field is given twice");
    h->seen |= bit;
    h->place = place;
    // Set by the bracket, so that a bare number in place of a list is refused.
    h->in_list = false;
    return 1;
}

static int on_key(void *context, const unsigned char *key, size_t size) {
    struct header *h = context;

    // Metadata maps text to text. It is skipped, since no setting is taken from it.
    if (h->place == AT_METADATA) {
        h->meta_value = true;
        return 1;
    }
    if (h->place == AT_NAME && same(key, size, "__metadata__")) {
        if (h->seen_metadata)
            return refuse_header(h, "two __metadata__");
        h->seen_metadata = true;
        h->place = AT_META_OPEN;
        return 1;
    }
    if (h->place == AT_NAME) {
        // An escaped zero in JSON would cut the C string, so two names could become one.
        if (!size || memchr(key, 0, size))
            return refuse_header(h, "a tensor's name is empty or holds a zero");
        add_tensor(h, key, size);
        return 1;
    }
    if (h->place == AT_FIELD && same(key, size, "dtype"))
        return enter_field(h, 1, AT_DTYPE);
    if (h->place == AT_FIELD && same(key, size, "shape"))
        return enter_field(h, 2, AT_SHAPE);
    if (h->place == AT_FIELD && same(key, size, "data_offsets"))
        return enter_field(h, 4, AT_OFFSETS);
    return refuse_header(h, "an unknown field");
}

static int on_string(void *context, const unsigned char *text, size_t size) {
    struct header *h = context;

    if (h->place == AT_METADATA && h->meta_value) {
        h->meta_value = false;
        return 1;
    }
    if (h->place != AT_DTYPE)
        return refuse_header(h, "a text where none may be");
    for (int i = 0; i < (int)COUNT(safetensors_type_names); i++)
        if (same(text, size, safetensors_type_names[i])) {
            last(h)->type = (enum safetensors_type)i;
            h->place = AT_FIELD;
            return 1;
        }
    return refuse_header(h, "a dtype other than F32, F16, BF16, F64 and I64");
}

static int on_integer(void *context, long long value) {
    struct header *h = context;

    // yajl reports what exceeds 64 bits as a parse error, so no value wraps here.
    if (value < 0)
        return refuse_header(h, "a negative number");
    if (h->place == AT_SHAPE && h->in_list) {
        if (last(h)->rank == SAFETENSORS_RANK_MAX)
            return refuse_header(h, "a tensor of more than 4 dimensions");
        last(h)->dims[last(h)->rank++] = value;
        return 1;
    }
    if (h->place == AT_OFFSETS && h->in_list && h->n_offsets < 2) {
        h->offsets[h->n_offsets++] = (uint64_t)value;
        return 1;
    }
    return refuse_header(h, "a number where none may be");
}

static int on_object(void *context) {
    struct header *h = context;

    switch (h->place) {
    case AT_START:
        h->place = AT_NAME;
        return 1;
    case AT_META_OPEN:
        h->place = AT_METADATA;
        return 1;
    case AT_TENSOR:
        h->place = AT_FIELD;
        return 1;
    default:
        return refuse_header(h, "an object where none may be");
    }
}

static int end_tensor(struct header *h) {
    struct safetensor *t = last(h);
    uint64_t bytes;

    if (h->seen != 7)
        return refuse_header(h, "a tensor without dtype, shape or data_offsets");
    if (!safetensors_size(t, &bytes) || h->offsets[1] < h->offsets[0] ||
        h->offsets[1] - h->offsets[0] != bytes)
        return refuse_header(h, "a tensor whose data_offsets do not fit its shape");
    t->begin = h->offsets[0];
    t->bytes = bytes;
    h->place = AT_NAME;
    return 1;
}

static int on_object_end(void *context) {
    struct header *h = context;

    if (h->place == AT_FIELD)
        return end_tensor(h);
    if (h->place != AT_NAME && h->place != AT_METADATA)
        return refuse_header(h, "an object that ends too early");
    // The outer object ends, or __metadata__ does and the next name follows.
    h->place = h->place == AT_NAME ? AT_END : AT_NAME;
    return 1;
}

static int on_list(void *context) {
    struct header *h = context;

    if ((h->place != AT_SHAPE && h->place != AT_OFFSETS) || h->in_list)
        return refuse_header(h, "a list where none may be");
    h->in_list = true;
    return 1;
}

static int on_list_end(void *context) {
    struct header *h = context;

    // A shape may be empty: a single number has rank 0.
    if (h->place == AT_OFFSETS && h->n_offsets != 2)
        return refuse_header(h, "data_offsets without two numbers");
    h->in_list = false;
    h->place = AT_FIELD;
    return 1;
}

static int on_null(void *context) {
    return refuse_header(context, "null");
}

static int on_boolean(void *context, int value) {
    return refuse_header(context, "a truth value");
}

static int on_double(void *context, double value) {
    return refuse_header(context, "a fraction");
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_integer = on_integer,
    .yajl_double = on_double,
    .yajl_string = on_string,
    .yajl_start_map = on_object,
    .yajl_map_key = on_key,
    .yajl_end_map = on_object_end,
    .yajl_start_array = on_list,
    .yajl_end_array = on_list_end,
};

const char *safetensors_parse_header(struct safetensors *f, const unsigned char *text,
                                     size_t size) {
    struct header h = {.file = f};
    yajl_handle parser = yajl_alloc(&callbacks, NULL, &h);
    yajl_status status = yajl_parse(parser, text, size);

    if (status == yajl_status_ok)
        // Without this call a header that is cut off would pass.
        status = yajl_complete_parse(parser);
    yajl_free(parser);
    // A refusal makes yajl fail too; our reason is the better one.
    if (h.wrong)
        return h.wrong;
    return status == yajl_status_ok && h.place == AT_END ? NULL : "a header that is not JSON";
}
