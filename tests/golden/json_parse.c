// The part of json.h that needs yajl.
#include <string.h>
#include <yajl/yajl_tree.h>

#include "base/util.h"
#include "golden/json.h"

static void take(struct json *v, yajl_val from);

static void take_object(struct json *v, yajl_val from) {
    v->kind = JSON_OBJECT;
    v->count = (int)YAJL_GET_OBJECT(from)->len;
    v->keys = xcalloc((size_t)v->count + 1, sizeof *v->keys);
    v->values = xcalloc((size_t)v->count + 1, sizeof *v->values);
    for (int i = 0; i < v->count; i++) {
        v->keys[i] = xstrdup(YAJL_GET_OBJECT(from)->keys[i]);
        take(&v->values[i], YAJL_GET_OBJECT(from)->values[i]);
    }
}

static void take_array(struct json *v, yajl_val from) {
    v->kind = JSON_ARRAY;
    v->count = (int)YAJL_GET_ARRAY(from)->len;
    v->values = xcalloc((size_t)v->count + 1, sizeof *v->values);
    for (int i = 0; i < v->count; i++)
        take(&v->values[i], YAJL_GET_ARRAY(from)->values[i]);
}

static void take_number(struct json *v, yajl_val from) {
    v->kind = JSON_NUMBER;
    v->number = YAJL_GET_DOUBLE(from);
    v->is_integer = YAJL_IS_INTEGER(from);
    v->integer = v->is_integer ? YAJL_GET_INTEGER(from) : 0;
}

static void take(struct json *v, yajl_val from) {
    if (YAJL_IS_OBJECT(from)) {
        take_object(v, from);
    } else if (YAJL_IS_ARRAY(from)) {
        take_array(v, from);
    } else if (YAJL_IS_NUMBER(from)) {
        take_number(v, from);
    } else if (YAJL_IS_STRING(from)) {
        v->kind = JSON_TEXT;
        v->text = xstrdup(YAJL_GET_STRING(from));
    } else {
        v->kind = YAJL_IS_TRUE(from) ? JSON_TRUE : YAJL_IS_FALSE(from) ? JSON_FALSE : JSON_NULL;
    }
}

struct json *json_parse(const char *text, char *message, size_t size) {
    yajl_val tree = yajl_tree_parse(text, message, size);
    struct json *v;

    if (!tree)
        return NULL;
    v = xcalloc(1, sizeof *v);
    take(v, tree);
    yajl_tree_free(tree);
    return v;
}
