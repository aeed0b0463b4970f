#include "golden/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/util.h"

static const char magic[8] = "json-1\n";

static void fini(struct json *v) {
    for (int i = 0; i < v->count; i++) {
        fini(&v->values[i]);
        if (v->keys)
            free(v->keys[i]);
    }
    free(v->values);
    free(v->keys);
    free(v->text);
}

void json_free(struct json *v) {
    if (!v)
        return;
    fini(v);
    free(v);
}

const struct json *json_get(const struct json *object, const char *key) {
    for (int i = 0; object && object->kind == JSON_OBJECT && i < object->count; i++)
        if (strcmp(object->keys[i], key) == 0)
            return &object->values[i];
    return NULL;
}

double json_number(const struct json *object, const char *key, double fallback) {
    const struct json *v = json_get(object, key);

    return v && v->kind == JSON_NUMBER ? v->number : fallback;
}

long long json_int(const struct json *object, const char *key, long long fallback) {
    const struct json *v = json_get(object, key);

    return v && v->is_integer ? v->integer : fallback;
}

bool json_bool(const struct json *object, const char *key) {
    const struct json *v = json_get(object, key);

    return v && (v->kind == JSON_TRUE || (v->kind == JSON_NUMBER && v->number != 0));
}

const char *json_text(const struct json *object, const char *key, const char *fallback) {
    const struct json *v = json_get(object, key);

    return v && v->kind == JSON_TEXT ? v->text : fallback;
}

int json_count(const struct json *array) {
    return array && array->kind == JSON_ARRAY ? array->count : 0;
}

const struct json *json_at(const struct json *array, int i) {
    return i < json_count(array) ? &array->values[i] : NULL;
}

double json_number_at(const struct json *array, int i) {
    const struct json *v = json_at(array, i);

    return v && v->kind == JSON_NUMBER ? v->number : NAN;
}

long long json_int_at(const struct json *array, int i) {
    const struct json *v = json_at(array, i);

    return v && v->is_integer ? v->integer : -1;
}

const char *json_text_at(const struct json *array, int i) {
    const struct json *v = json_at(array, i);

    return v && v->kind == JSON_TEXT ? v->text : "";
}

// The packed form, little endian as the machines that train are: a kind's byte; of a number: a byte
// whether it is an integer, then 8 bytes of either; of a text: its length in 4 bytes and the bytes;
// of arrays and objects: the count in 4 bytes, then the values, in an object each behind its key,
// which is packed like a text without kind.
static void put(FILE *f, const void *bytes, size_t size) {
    if (fwrite(bytes, 1, size, f) != size)
        abort(); // memory does not fail here
}

static void put_text(FILE *f, const char *text) {
    uint32_t size = (uint32_t)strlen(text);

    put(f, &size, sizeof size);
    put(f, text, size);
}

static void put_value(FILE *f, const struct json *v) {
    uint8_t kind = (uint8_t)v->kind, is_integer = v->is_integer;
    uint32_t count = (uint32_t)v->count;

    put(f, &kind, 1);
    if (v->kind == JSON_NUMBER) {
        put(f, &is_integer, 1);
        put(f, is_integer ? (const void *)&v->integer : &v->number, 8);
    } else if (v->kind == JSON_TEXT) {
        put_text(f, v->text);
    } else if (v->kind >= JSON_ARRAY) {
        put(f, &count, sizeof count);
        for (int i = 0; i < v->count; i++) {
            if (v->kind == JSON_OBJECT)
                put_text(f, v->keys[i]);
            put_value(f, &v->values[i]);
        }
    }
}

void *json_pack(const struct json *v, size_t *ret_size) {
    char *bytes;
    FILE *f = text_open(&bytes, ret_size);

    put(f, magic, sizeof magic);
    put_value(f, v);
    text_close(f);
    return bytes;
}

bool json_is_packed(const void *bytes, size_t size) {
    return size >= sizeof magic && memcmp(bytes, magic, sizeof magic) == 0;
}

struct reader {
    const char *at, *end;
};

static bool take(struct reader *r, void *ret, size_t size) {
    if ((size_t)(r->end - r->at) < size)
        return false;
    memcpy(ret, r->at, size);
    r->at += size;
    return true;
}

static bool take_text(struct reader *r, char **ret) {
    uint32_t size;

    if (!take(r, &size, sizeof size) || (size_t)(r->end - r->at) < size)
        return false;
    *ret = xcalloc(1, (size_t)size + 1);
    return take(r, *ret, size);
}

static bool take_value(struct reader *r, struct json *ret, int depth);

static bool take_values(struct reader *r, struct json *ret, int depth) {
    uint32_t count;

    if (!take(r, &count, sizeof count) || (size_t)(r->end - r->at) < count || depth > 64)
        return false;
    ret->values = xcalloc(count + 1, sizeof *ret->values);
    ret->keys = ret->kind == JSON_OBJECT ? xcalloc(count + 1, sizeof *ret->keys) : NULL;
    ret->count = (int)count;
    for (uint32_t i = 0; i < count; i++)
        if ((ret->keys && !take_text(r, &ret->keys[i])) ||
            !take_value(r, &ret->values[i], depth + 1))
            return false;
    return true;
}

static bool take_value(struct reader *r, struct json *ret, int depth) {
    uint8_t kind, is_integer;

    if (!take(r, &kind, 1) || kind > JSON_OBJECT)
        return false;
    ret->kind = kind;
    if (kind == JSON_NUMBER) {
        if (!take(r, &is_integer, 1) ||
            !take(r, is_integer ? (void *)&ret->integer : &ret->number, 8))
            return false;
        ret->is_integer = is_integer;
        if (is_integer)
            ret->number = (double)ret->integer;
        return true;
    }
    if (kind == JSON_TEXT)
        return take_text(r, &ret->text);
    return kind < JSON_ARRAY || take_values(r, ret, depth);
}

struct json *json_unpack(const void *bytes, size_t size) {
    struct reader r = {bytes, (const char *)bytes + size};
    struct json *v = xcalloc(1, sizeof *v);

    r.at += sizeof magic;
    if (json_is_packed(bytes, size) && take_value(&r, v, 0) && r.at == r.end)
        return v;
    json_free(v);
    return NULL;
}
