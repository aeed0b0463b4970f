// Running a pickle's program: each instruction, and the few names that it may call.
#include <stdlib.h>
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

// Whether the next name is the class of a module that was saved whole by torch.save(net): the first
// name of the file, or before PyTorch 1.6 the one in a persistent ('module', type, path, source).
static bool is_module_s(const struct pickle *p) {
    return p->n_stack == 0 || pickle_is_text(p, p->stack[p->n_stack - 1], "module");
}

static int push_name(struct pickle *p) {
    const char *module = "", *name = "";
    size_t module_size = 0, name_size = 0;
    int err = take_line(p, &module, &module_size);
    if (!err)
        err = take_line(p, &name, &name_size);
    if (err)
        return err;
    // A whole-name match follows, so cutting ".cuda" off cannot accept any other name.
    if (module_size == 10 && memcmp(module, "torch.cuda", 10) == 0)
        module_size = 5; // before PyTorch 0.4 the type of a storage named its device
    int i = pickle_name_find(module, module_size, name, name_size);
    if (i >= 0)
        return machine_push(p, machine_value(PICKLE_NAME, (uint32_t)i));
    // The name goes into the message below, so control characters must not reach a terminal.
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
    // Python's OrderedDict accepts any sequence of two; files hold tuples or lists.
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

static int call_name(struct pickle *p, const struct pickle_name *name, struct pickle_value args,
                     struct pickle_value *ret) {
    switch (name->role) {
    case PICKLE_ORDERED_DICT:
        return make_dict(p, args, ret);
    case PICKLE_REBUILD_TENSOR:
        if (!is_tensor(p, args))
            return machine_refuse(
                p, "a tensor of something else than storage, offset, sizes, strides");
        // The node keeps the argument tuple: pickle_tensor reads the fields from it later.
        *ret = machine_value(PICKLE_TENSOR, args.at);
        return ERR_OK;
    case PICKLE_REBUILD_PARAMETER:
        // A Parameter adds requires_grad and hooks to its tensor. Neither matters to a net.
        if (machine_tuple_size(p, args) < 1 || machine_item(p, args, 0).kind != PICKLE_TENSOR)
            return machine_refuse(p, "a parameter of something else than a tensor");
        *ret = machine_item(p, args, 0);
        return ERR_OK;
    // A storage type is only named in a persistent id and never called.
    case PICKLE_STORAGE_TYPE:
        break;
    }
    return machine_refuse(p, "it calls a type");
}

static int reduce(struct pickle *p) {
    const struct pickle_value *two = NULL;
    struct pickle_value result = {0, 0};
    int err = machine_top(p, 2, &two);
    if (err)
        return err;
    if (two[0].kind != PICKLE_NAME || two[1].kind != PICKLE_TUPLE)
        return machine_refuse(p, "it calls something that is not a function");
    err = call_name(p, &pickle_names[two[0].at], two[1], &result);
    if (err)
        return err;
    // `two` points into the stack, so both stay there during the call.
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
    // The sixth item is view_metadata of the old container: this storage is a part of another one.
    if (n == 6 && machine_item(p, id, 5).kind != PICKLE_NONE)
        return machine_refuse(p, "a storage that is part of another one");
    return ERR_OK;
}

static int load_persistent(struct pickle *p) {
    const struct pickle_value *id = NULL;
    int err = machine_top(p, 1, &id);
    if (!err)
        err = check_storage(p, *id);
    if (err)
        return err;
    // The value keeps its node: pickle_storage reads the id's tuple.
    p->stack[p->n_stack - 1].kind = PICKLE_STORAGE;
    return ERR_OK;
}

// Attributes of a dict are not needed, and nothing else has any.
static int drop_attributes(struct pickle *p) {
    const struct pickle_value *two = NULL;
    int err = machine_top(p, 2, &two);
    if (err)
        return err;
    if (two[0].kind != PICKLE_DICT || two[1].kind != PICKLE_DICT)
        return machine_refuse(p, "it builds an object");
    p->n_stack--;
    return ERR_OK;
}

// ---- instructions ----

static int check_protocol(struct pickle *p) {
    uint32_t version = 0;
    int err = machine_take_number(p, 1, &version);
    if (err || version == 2)
        return err;
    return err_set(ERR_FORMAT, "%s: pickle protocol %u; torch.save writes 2 unless told otherwise",
                   p->what, version);
}

static int push_passed(struct pickle *p, enum pickle_kind kind, int err) {
    return err ? err : machine_push(p, machine_value(kind, p->op));
}

static int push_fixed(struct pickle *p, enum pickle_kind kind, uint32_t bytes) {
    int err = machine_need(p, bytes);
    if (err)
        return err;
    p->at += bytes;
    return machine_push(p, machine_value(kind, p->op));
}

static int push_long(struct pickle *p) {
    int err = machine_pass(p, 1);
    // LONG1 has an opcode, a length byte, and then the integer.
    if (!err && p->at - p->op > 2 + 8)
        return machine_refuse(p, "an integer of more than 64 bits");
    return push_passed(p, PICKLE_INT, err);
}

static int push_value(struct pickle *p, uint8_t opcode) {
    switch (opcode) {
    case 'N':
        return machine_push(p, machine_value(PICKLE_NONE, 0));
    case 0x88: // NEWTRUE
    case 0x89: // NEWFALSE
        return machine_push(p, machine_value(PICKLE_BOOL, p->op));
    case 'K':
        return push_fixed(p, PICKLE_INT, 1);
    case 'M':
        return push_fixed(p, PICKLE_INT, 2);
    case 'J':
        return push_fixed(p, PICKLE_INT, 4);
    case 'G':
        return push_fixed(p, PICKLE_FLOAT, 8);
    case 0x8a: // LONG1
        return push_long(p);
    case 'X':
    case 'T':
        return push_passed(p, PICKLE_TEXT, machine_pass(p, 4));
    case 'U':
        return push_passed(p, PICKLE_TEXT, machine_pass(p, 1));
    default:
        return err_set(ERR_FORMAT,
                       "%s: instruction %s (0x%02x) at byte %u is not one of those that weights "
                       "need",
                       p->what, pickle_opcode_name(opcode), opcode, p->op);
    }
}

static int run_container(struct pickle *p, uint8_t opcode) {
    switch (opcode) {
    case ')':
        return machine_make_tuple(p, 0);
    // TUPLE1, TUPLE2 and TUPLE3 differ from their length by 0x84.
    case 0x85: // TUPLE1
    case 0x86:
    case 0x87:
        return machine_make_tuple(p, opcode - 0x84u);
    case 't':
        return machine_make_marked_tuple(p);
    case '}':
        return machine_push_chain(p, PICKLE_DICT);
    case ']':
        return machine_push_chain(p, PICKLE_LIST);
    case 's':
        return machine_set_items(p, PICKLE_DICT, 2, false);
    case 'u':
        return machine_set_marked_items(p, PICKLE_DICT);
    case 'a':
        return machine_set_items(p, PICKLE_LIST, 1, false);
    case 'e':
        return machine_set_marked_items(p, PICKLE_LIST);
    default:
        return push_value(p, opcode);
    }
}

static int run_instruction(struct pickle *p, uint8_t opcode) {
    switch (opcode) {
    case 0x80:
        return check_protocol(p);
    case '.':
        p->stopped = true;
        return ERR_OK;
    case '(':
        return machine_push(p, machine_value(PICKLE_MARK, 0));
    case 'c':
        return push_name(p);
    case 'q':
        return machine_put(p, 1);
    case 'r':
        return machine_put(p, 4);
    case 'h':
        return machine_get(p, 1);
    case 'j':
        return machine_get(p, 4);
    case 'R':
        return reduce(p);
    case 'Q':
        return load_persistent(p);
    case 'b':
        return drop_attributes(p);
    default:
        return run_container(p, opcode);
    }
}

static int run_program(struct pickle *p) {
    int err = ERR_OK;
    while (!err && !p->stopped) {
        if (p->at == p->size)
            return err_set(ERR_FORMAT, "%s: it ends before its end (STOP), at byte %u", p->what,
                           p->at);
        // All error texts give this byte.
        p->op = p->at++;
        err = run_instruction(p, p->text[p->op]);
    }
    // A lone MARK is one item on the stack, but no value.
    if (!err && (p->n_stack != 1 || p->stack[0].kind == PICKLE_MARK))
        return machine_refuse(p, "something else than one value is left");
    return err;
}

// ---- the whole ----

int pickle_read(const char *what, const uint8_t *text, size_t size, struct pickle **ret_pickle,
                size_t *ret_used) {
    struct pickle *p = xcalloc(1, sizeof *p);
    p->what = what;
    p->text = text;
    p->size = (uint32_t)MIN(size, (size_t)PICKLE_BYTES_MAX);
    p->nodes_max = MIN(MACHINE_NODES_MAX,
                       2 * p->size + 2); // an instruction adds at most 3 nodes, and its items
    p->memo_max = MIN(MACHINE_MEMO_MAX, p->size); // each entry takes an instruction of 2 bytes
    p->nodes = xmalloc(p->nodes_max * sizeof *p->nodes);
    p->memo = xmalloc((p->memo_max + 1) * sizeof *p->memo);
    p->n_nodes = 1;
    for (uint32_t i = 0; i < p->memo_max; i++)
        p->memo[i] = machine_value(MACHINE_NOTHING, 0);
    int err = run_program(p);
    // Only the program refers to the memo; the result lives in the nodes.
    free(p->memo);
    p->memo = NULL;
    if (err) {
        // An instruction near the limit was cut by it, so the true reason is the size.
        if (err == ERR_FORMAT && size > PICKLE_BYTES_MAX && p->at + 16 >= p->size)
            err = machine_too_large(p, "bytes", PICKLE_BYTES_MAX);
        pickle_free(p);
        return err;
    }
    *ret_used = p->at;
    *ret_pickle = p;
    return ERR_OK;
}

void pickle_free(struct pickle *p) {
    if (!p)
        return;
    free(p->memo);
    free(p->nodes);
    free(p);
}
