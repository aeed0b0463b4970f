#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "weights/pickle_machine.h"
#include "weights/pickle_names.h"

#define TEXT_SHOWN 80

// ---- names ----

// "module\nname\n"
static int take_line(struct pickle *p, const char **ret, size_t *ret_size) {
    const uint8_t *begin = p->text + p->at, *end = memchr(begin, '\n', p->size - p->at);
    if (!end)
        return machine_refuse(p, "it ends in the middle of a name");
    *ret = (const char *)begin;
    *ret_size = (size_t)(end - begin);
    p->at += (uint32_t)*ret_size + 1;
    return ERR_OK;
}

static bool is_printable(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (text[i] < ' ' || text[i] > '~')
            return false;
    return true;
}

// Whether the name that comes next is the type of what torch.save(net) was given: the first name of
// all, or, before PyTorch 1.6, the one of a persistent ('module', type, source's path, source).
static bool is_module_s(const struct pickle *p) {
    return p->n_stack == 0 || pickle_is_text(p, p->stack[p->n_stack - 1], "module");
}

int machine_push_name(struct pickle *p) {
    const char *module = "", *name = "";
    size_t module_size = 0, name_size = 0;
    int err = take_line(p, &module, &module_size);
    if (!err)
        err = take_line(p, &name, &name_size);
    if (err)
        return err;
    if (module_size == 10 && !memcmp(module, "torch.cuda", 10))
        module_size = 5; // before PyTorch 0.4 a type said where it lay
    int i = pickle_name_find(module, module_size, name, name_size);
    if (i >= 0)
        return machine_push(p, machine_value(PICKLE_NAME, (uint32_t)i));
    if (!is_printable(module, module_size) || !is_printable(name, name_size))
        return machine_refuse(p, "it asks for a name that is none");
    bool whole = is_module_s(p);
    return err_set(ERR_FORMAT,
                   "%s: it %s %.*s.%.*s, %s: load it where it was made, and save net.state_dict() "
                   "alone (GLOBAL at byte %u)",
                   p->what, whole ? "holds a module saved whole, a" : "asks for",
                   (int)MIN(module_size, TEXT_SHOWN), module, (int)MIN(name_size, TEXT_SHOWN), name,
                   whole ? "with code that is not run here"
                         : "which is not needed for weights and is not run here",
                   p->op);
}

// ---- calls ----

// OrderedDict([[key, value], ...]) of Python 2.
static int fill_dict(struct pickle *p, struct pickle_value dict, struct pickle_value list) {
    struct pickle_entry pair, half[2];
    uint32_t cursor = 0;
    int err = ERR_OK;
    if (list.kind != PICKLE_LIST)
        return machine_refuse(p, "an OrderedDict of something else than a list");
    while (!err && pickle_next(p, list, &cursor, &pair)) {
        struct pickle_value v = pair.value;
        uint32_t within = 0;
        if (v.kind == PICKLE_TUPLE && machine_tuple_size(p, v) == 2)
            err = machine_append(p, dict, machine_item(p, v, 0), machine_item(p, v, 1));
        else if (v.kind == PICKLE_LIST && pickle_next(p, v, &within, &half[0]) &&
                 pickle_next(p, v, &within, &half[1]))
            err = machine_append(p, dict, half[0].value, half[1].value);
        else
            err = machine_refuse(p, "an OrderedDict of something else than pairs");
    }
    return err;
}

static int make_dict(struct pickle *p, struct pickle_value args, struct pickle_value *ret) {
    int err = machine_make_chain(p, PICKLE_DICT, ret);
    if (err || !machine_tuple_size(p, args))
        return err;
    return machine_tuple_size(p, args) == 1 ? fill_dict(p, *ret, machine_item(p, args, 0))
                                            : machine_refuse(p, "an OrderedDict of several things");
}

static bool are_sizes(const struct pickle *p, struct pickle_value v) {
    if (v.kind != PICKLE_TUPLE)
        return false;
    for (uint32_t i = 0; i < machine_tuple_size(p, v); i++)
        if (machine_item(p, v, i).kind != PICKLE_INT || pickle_int(p, machine_item(p, v, i)) < 0)
            return false;
    return true;
}

// (storage, offset, sizes, strides, ...)
static bool is_tensor(const struct pickle *p, struct pickle_value args) {
    return machine_tuple_size(p, args) >= 4 && machine_item(p, args, 0).kind == PICKLE_STORAGE &&
           machine_item(p, args, 1).kind == PICKLE_INT &&
           pickle_int(p, machine_item(p, args, 1)) >= 0 && are_sizes(p, machine_item(p, args, 2)) &&
           are_sizes(p, machine_item(p, args, 3)) &&
           machine_tuple_size(p, machine_item(p, args, 2)) ==
               machine_tuple_size(p, machine_item(p, args, 3));
}

static int call(struct pickle *p, const struct pickle_name *name, struct pickle_value args,
                struct pickle_value *ret) {
    switch (name->role) {
    case PICKLE_ORDERED_DICT:
        return make_dict(p, args, ret);
    case PICKLE_REBUILD_TENSOR:
        if (!is_tensor(p, args))
            return machine_refuse(
                p, "a tensor of something else than storage, offset, sizes, strides");
        *ret = machine_value(PICKLE_TENSOR, args.at);
        return ERR_OK;
    case PICKLE_REBUILD_PARAMETER:
        if (machine_tuple_size(p, args) < 1 || machine_item(p, args, 0).kind != PICKLE_TENSOR)
            return machine_refuse(p, "a parameter of something else than a tensor");
        *ret = machine_item(p, args, 0);
        return ERR_OK;
    case PICKLE_STORAGE_TYPE:
        break;
    }
    return machine_refuse(p, "it calls a type");
}

int machine_reduce(struct pickle *p) {
    const struct pickle_value *two = NULL;
    struct pickle_value result = {0, 0};
    int err = machine_top(p, 2, &two);
    if (err)
        return err;
    if (two[0].kind != PICKLE_NAME || two[1].kind != PICKLE_TUPLE)
        return machine_refuse(p, "it calls what cannot be called");
    err = call(p, &pickle_names[two[0].at], two[1], &result);
    if (err)
        return err;
    p->n_stack -= 2;
    return machine_push(p, result);
}

// ---- persistent ids ----

static int check_storage(const struct pickle *p, struct pickle_value id) {
    uint32_t n = id.kind == PICKLE_TUPLE ? machine_tuple_size(p, id) : 0;
    if (n && pickle_is_text(p, machine_item(p, id, 0), "module"))
        return machine_refuse(p, "it holds a module saved whole: load it where it was made, and "
                                 "save net.state_dict() alone");
    if ((n != 5 && n != 6) || !pickle_is_text(p, machine_item(p, id, 0), "storage") ||
        machine_item(p, id, 1).kind != PICKLE_NAME ||
        pickle_names[machine_item(p, id, 1).at].role != PICKLE_STORAGE_TYPE ||
        machine_item(p, id, 2).kind != PICKLE_TEXT || machine_item(p, id, 3).kind != PICKLE_TEXT ||
        machine_item(p, id, 4).kind != PICKLE_INT || pickle_int(p, machine_item(p, id, 4)) < 0)
        return machine_refuse(p, "a persistent id that is no storage's");
    if (n == 6 && machine_item(p, id, 5).kind != PICKLE_NONE)
        return machine_refuse(p, "a storage that is part of another one");
    return ERR_OK;
}

int machine_load_persistent(struct pickle *p) {
    const struct pickle_value *id = NULL;
    int err = machine_top(p, 1, &id);
    if (!err)
        err = check_storage(p, *id);
    if (err)
        return err;
    p->stack[p->n_stack - 1].kind = PICKLE_STORAGE;
    return ERR_OK;
}

// Attributes of a dict are not wanted; nothing else has any.
int machine_build(struct pickle *p) {
    const struct pickle_value *two = NULL;
    int err = machine_top(p, 2, &two);
    if (err)
        return err;
    if (two[0].kind != PICKLE_DICT || two[1].kind != PICKLE_DICT)
        return machine_refuse(p, "it builds an object");
    p->n_stack--;
    return ERR_OK;
}
