// json - a tree of values, read from JSON or from its packed form: the same tree as bytes, for
// machines where nothing reads JSON.
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json {
    enum { JSON_NULL, JSON_TRUE, JSON_FALSE, JSON_NUMBER, JSON_TEXT, JSON_ARRAY, JSON_OBJECT } kind;
    bool is_integer;
    double number;
    int64_t integer; // if is_integer
    char *text;
    int count; // of an array's or object's values
    char **keys;
    struct json *values;
};

// Of text that ends with 0; a text about what is wrong in `message`. NULL if it is no JSON.
struct json *json_parse(const char *text, char *message, size_t size);
void json_free(struct json *v);

// Whether bytes are a packed tree; what json_pack has written, magic included.
bool json_is_packed(const void *bytes, size_t size);
struct json *json_unpack(const void *bytes, size_t size); // NULL if it is cut or damaged
// malloc'ed
void *json_pack(const struct json *v, size_t *ret_size);

// Fields of an object: a fallback if absent.
const struct json *json_get(const struct json *object, const char *key);
double json_number(const struct json *object, const char *key, double fallback);
long long json_int(const struct json *object, const char *key, long long fallback);
bool json_bool(const struct json *object, const char *key);
const char *json_text(const struct json *object, const char *key, const char *fallback);
int json_count(const struct json *array); // 0 if it is none
const struct json *json_at(const struct json *array, int i);
double json_number_at(const struct json *array, int i);
long long json_int_at(const struct json *array, int i);
const char *json_text_at(const struct json *array, int i); // "" if it is no text

#endif
