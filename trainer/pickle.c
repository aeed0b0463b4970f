// The stack machine. What the torch names mean is at the end.
#include "pickle.h"

#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "pickle_names.h"
#include "util.h"

#define NODES_MAX 32768u // of 8 bytes
#define MEMO_MAX 16384u
#define STACK_MAX 4096u
#define TEXT_SHOWN 80

// Values lie on the stack and in the memo. What they consist of lies among the nodes:
//   tuple           {count}, items
//   dict, list      {first entry}, {last entry}; an entry is key, value, {next entry}
//   storage, tensor the tuple they were made from
// Node 0 is none, so that 0 can end a chain. Texts and numbers stay in the pickle's text.
struct pickle {
    const char *what;
    const uint8_t *text;
    uint32_t size, at, op; // op: where the instruction under way begins
    uint32_t n_stack, n_nodes, nodes_max, memo_max;
    bool stopped;
    struct pickle_value *nodes, *memo;
    struct pickle_value stack[STACK_MAX];
};

#define NOTHING UINT32_MAX // kind of a memo slot that was never put

static int refuse(const struct pickle *p, const char *why) {
    (void)err_set(ERR_FORMAT, "%s: %s (%s at byte %u)", p->what, why,
                  pickle_opcode_name(p->text[p->op]), p->op);
    return ERR_FORMAT;
}

static int too_large(const struct pickle *p, const char *what, uint32_t max) {
    return err_set(ERR_LIMIT, "%s: more than %u %s (byte %u)", p->what, max, what, p->op);
}

static struct pickle_value value(enum pickle_kind kind, uint32_t at) {
    return (struct pickle_value){kind, at};
}

// ---- text ----

static int need(struct pickle *p, uint32_t bytes) {
    if (p->size - p->at < bytes)
        return refuse(p, "it ends in the middle of an instruction");
    return ERR_OK;
}

static uint64_t little_endian(const uint8_t *bytes, int n) {
    uint64_t v = 0;
    for (int i = n - 1; i >= 0; i--)
        v = v << 8 | bytes[i];
    return v;
}

static int take_number(struct pickle *p, int bytes, uint32_t *ret) {
    int err = need(p, (uint32_t)bytes);
    if (err)
        return err;
    *ret = (uint32_t)little_endian(p->text + p->at, bytes);
    p->at += (uint32_t)bytes;
    return ERR_OK;
}

// A text's or long's length, and its bytes passed over.
static int pass(struct pickle *p, int length_bytes) {
    uint32_t length = 0;
    int err = take_number(p, length_bytes, &length);
    if (!err)
        err = need(p, length);
    if (!err)
        p->at += length;
    return err;
}

// ---- stack and nodes ----

static int push(struct pickle *p, struct pickle_value v) {
    if (p->n_stack == STACK_MAX)
        return too_large(p, "values on the stack", STACK_MAX);
    p->stack[p->n_stack++] = v;
    return ERR_OK;
}

// The topmost `n` values, none of them a mark.
static int top(const struct pickle *p, uint32_t n, const struct pickle_value **ret) {
    if (p->n_stack < n)
        return refuse(p, "there is nothing on the stack");
    for (uint32_t i = p->n_stack - n; i < p->n_stack; i++)
        if (p->stack[i].kind == PICKLE_MARK)
            return refuse(p, "there is nothing on the stack behind the mark");
    *ret = p->stack + p->n_stack - n;
    return ERR_OK;
}

// Number of values behind the topmost mark.
static int behind_mark(const struct pickle *p, uint32_t *ret_n) {
    for (uint32_t n = 0; n < p->n_stack; n++)
        if (p->stack[p->n_stack - 1 - n].kind == PICKLE_MARK) {
            *ret_n = n;
            return ERR_OK;
        }
    return refuse(p, "there is no mark on the stack");
}

static int take_nodes(struct pickle *p, uint32_t n, uint32_t *ret_at) {
    if (p->nodes_max - p->n_nodes < n)
        return too_large(p, "values", p->nodes_max);
    *ret_at = p->n_nodes;
    p->n_nodes += n;
    return ERR_OK;
}

// Replaces the topmost `n` values by a tuple of them.
static int make_tuple(struct pickle *p, uint32_t n) {
    const struct pickle_value *items = NULL;
    uint32_t at = 0;
    int err = top(p, n, &items);
    if (!err)
        err = take_nodes(p, n + 1, &at);
    if (err)
        return err;
    p->nodes[at] = value(PICKLE_NONE, n);
    if (n)
        memcpy(p->nodes + at + 1, items, n * sizeof *items);
    p->n_stack -= n;
    return push(p, value(PICKLE_TUPLE, at));
}

static int make_marked_tuple(struct pickle *p) {
    uint32_t n = 0;
    int err = behind_mark(p, &n);
    if (!err)
        err = make_tuple(p, n);
    if (err)
        return err;
    p->stack[p->n_stack - 2] = p->stack[p->n_stack - 1]; // over the mark
    p->n_stack--;
    return ERR_OK;
}

static uint32_t tuple_size(const struct pickle *p, struct pickle_value v) {
    return p->nodes[v.at].at;
}

static struct pickle_value item(const struct pickle *p, struct pickle_value tuple, uint32_t i) {
    return p->nodes[tuple.at + 1 + i];
}

static int make_chain(struct pickle *p, enum pickle_kind kind, struct pickle_value *ret) {
    uint32_t at = 0;
    int err = take_nodes(p, 2, &at);
    if (err)
        return err;
    p->nodes[at] = p->nodes[at + 1] = value(PICKLE_NONE, 0);
    *ret = value(kind, at);
    return ERR_OK;
}

static int push_chain(struct pickle *p, enum pickle_kind kind) {
    struct pickle_value chain = {0, 0};
    int err = make_chain(p, kind, &chain);
    return err ? err : push(p, chain);
}

static int append(struct pickle *p, struct pickle_value chain, struct pickle_value key,
                  struct pickle_value v) {
    uint32_t at = 0;
    int err = take_nodes(p, 3, &at);
    if (err)
        return err;
    p->nodes[at] = key;
    p->nodes[at + 1] = v;
    p->nodes[at + 2] = value(PICKLE_NONE, 0);
    uint32_t last = p->nodes[chain.at + 1].at;
    if (last)
        p->nodes[last + 2].at = at;
    else
        p->nodes[chain.at].at = at;
    p->nodes[chain.at + 1].at = at;
    return ERR_OK;
}

// Puts the topmost n values (pairs for a dict) into what lies below them; `mark`: one in between.
static int set_items(struct pickle *p, enum pickle_kind kind, uint32_t n, bool mark) {
    const struct pickle_value *items = NULL;
    uint32_t step = kind == PICKLE_DICT ? 2 : 1;
    int err = top(p, n, &items);
    if (err)
        return err;
    if (p->n_stack < n + mark + 1 || p->stack[p->n_stack - n - mark - 1].kind != kind || n % step)
        return refuse(p, "items for what is no list or dict");
    struct pickle_value chain = p->stack[p->n_stack - n - mark - 1];
    for (uint32_t i = 0; i < n && !err; i += step)
        err = append(p, chain, step == 2 ? items[i] : value(PICKLE_NONE, 0), items[i + step - 1]);
    p->n_stack -= n + mark;
    return err;
}

static int set_marked_items(struct pickle *p, enum pickle_kind kind) {
    uint32_t n = 0;
    int err = behind_mark(p, &n);
    return err ? err : set_items(p, kind, n, true);
}

// ---- memo ----

static int put(struct pickle *p, int bytes) {
    const struct pickle_value *v = NULL;
    uint32_t i = 0;
    int err = take_number(p, bytes, &i);
    if (!err)
        err = top(p, 1, &v);
    if (err)
        return err;
    if (i >= p->memo_max)
        return too_large(p, "values in the memo", p->memo_max);
    p->memo[i] = *v;
    return ERR_OK;
}

static int get(struct pickle *p, int bytes) {
    uint32_t i = 0;
    int err = take_number(p, bytes, &i);
    if (err)
        return err;
    if (i >= p->memo_max || p->memo[i].kind == NOTHING)
        return refuse(p, "it takes from the memo what was not put there");
    return push(p, p->memo[i]);
}

// ---- names, calls, persistent ids ----

// "module\nname\n"
static int take_line(struct pickle *p, const char **ret, size_t *ret_size) {
    const uint8_t *begin = p->text + p->at, *end = memchr(begin, '\n', p->size - p->at);
    if (!end)
        return refuse(p, "it ends in the middle of a name");
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

static int push_name(struct pickle *p) {
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
        return push(p, value(PICKLE_NAME, (uint32_t)i));
    if (!is_printable(module, module_size) || !is_printable(name, name_size))
        return refuse(p, "it asks for a name that is none");
    return err_set(ERR_FORMAT,
                   "%s: it asks for %.*s.%.*s, which is not needed for weights and is not run "
                   "(GLOBAL at byte %u)",
                   p->what, (int)MIN(module_size, TEXT_SHOWN), module,
                   (int)MIN(name_size, TEXT_SHOWN), name, p->op);
}

// OrderedDict([[key, value], ...]) of Python 2.
static int fill_dict(struct pickle *p, struct pickle_value dict, struct pickle_value list) {
    struct pickle_entry pair, half[2];
    uint32_t cursor = 0;
    int err = ERR_OK;
    if (list.kind != PICKLE_LIST)
        return refuse(p, "an OrderedDict of something else than a list");
    while (!err && pickle_next(p, list, &cursor, &pair)) {
        struct pickle_value v = pair.value;
        uint32_t within = 0;
        if (v.kind == PICKLE_TUPLE && tuple_size(p, v) == 2)
            err = append(p, dict, item(p, v, 0), item(p, v, 1));
        else if (v.kind == PICKLE_LIST && pickle_next(p, v, &within, &half[0]) &&
                 pickle_next(p, v, &within, &half[1]))
            err = append(p, dict, half[0].value, half[1].value);
        else
            err = refuse(p, "an OrderedDict of something else than pairs");
    }
    return err;
}

static int make_dict(struct pickle *p, struct pickle_value args, struct pickle_value *ret) {
    int err = make_chain(p, PICKLE_DICT, ret);
    if (err || !tuple_size(p, args))
        return err;
    return tuple_size(p, args) == 1 ? fill_dict(p, *ret, item(p, args, 0))
                                    : refuse(p, "an OrderedDict of several things");
}

static bool are_sizes(const struct pickle *p, struct pickle_value v) {
    if (v.kind != PICKLE_TUPLE)
        return false;
    for (uint32_t i = 0; i < tuple_size(p, v); i++)
        if (item(p, v, i).kind != PICKLE_INT || pickle_int(p, item(p, v, i)) < 0)
            return false;
    return true;
}

// (storage, offset, sizes, strides, ...)
static bool is_tensor(const struct pickle *p, struct pickle_value args) {
    return tuple_size(p, args) >= 4 && item(p, args, 0).kind == PICKLE_STORAGE &&
           item(p, args, 1).kind == PICKLE_INT && pickle_int(p, item(p, args, 1)) >= 0 &&
           are_sizes(p, item(p, args, 2)) && are_sizes(p, item(p, args, 3)) &&
           tuple_size(p, item(p, args, 2)) == tuple_size(p, item(p, args, 3));
}

static int call(struct pickle *p, const struct pickle_name *name, struct pickle_value args,
                struct pickle_value *ret) {
    switch (name->role) {
    case PICKLE_ORDERED_DICT:
        return make_dict(p, args, ret);
    case PICKLE_REBUILD_TENSOR:
        if (!is_tensor(p, args))
            return refuse(p, "a tensor of something else than storage, offset, sizes, strides");
        *ret = value(PICKLE_TENSOR, args.at);
        return ERR_OK;
    case PICKLE_REBUILD_PARAMETER:
        if (tuple_size(p, args) < 1 || item(p, args, 0).kind != PICKLE_TENSOR)
            return refuse(p, "a parameter of something else than a tensor");
        *ret = item(p, args, 0);
        return ERR_OK;
    case PICKLE_STORAGE_TYPE:
        break;
    }
    return refuse(p, "it calls a type");
}

static int reduce(struct pickle *p) {
    const struct pickle_value *two = NULL;
    struct pickle_value result = {0, 0};
    int err = top(p, 2, &two);
    if (err)
        return err;
    if (two[0].kind != PICKLE_NAME || two[1].kind != PICKLE_TUPLE)
        return refuse(p, "it calls what cannot be called");
    err = call(p, &pickle_names[two[0].at], two[1], &result);
    if (err)
        return err;
    p->n_stack -= 2;
    return push(p, result);
}

static int check_storage(const struct pickle *p, struct pickle_value id) {
    uint32_t n = id.kind == PICKLE_TUPLE ? tuple_size(p, id) : 0;
    if (n && pickle_is_text(p, item(p, id, 0), "module"))
        return refuse(p, "it holds a whole module with its code; save its state_dict() instead");
    if ((n != 5 && n != 6) || !pickle_is_text(p, item(p, id, 0), "storage") ||
        item(p, id, 1).kind != PICKLE_NAME ||
        pickle_names[item(p, id, 1).at].role != PICKLE_STORAGE_TYPE ||
        item(p, id, 2).kind != PICKLE_TEXT || item(p, id, 3).kind != PICKLE_TEXT ||
        item(p, id, 4).kind != PICKLE_INT || pickle_int(p, item(p, id, 4)) < 0)
        return refuse(p, "a persistent id that is no storage's");
    if (n == 6 && item(p, id, 5).kind != PICKLE_NONE)
        return refuse(p, "a storage that is part of another one");
    return ERR_OK;
}

static int load_persistent(struct pickle *p) {
    const struct pickle_value *id = NULL;
    int err = top(p, 1, &id);
    if (!err)
        err = check_storage(p, *id);
    if (err)
        return err;
    p->stack[p->n_stack - 1].kind = PICKLE_STORAGE;
    return ERR_OK;
}

// Attributes of a dict are not wanted; nothing else has any.
static int build(struct pickle *p) {
    const struct pickle_value *two = NULL;
    int err = top(p, 2, &two);
    if (err)
        return err;
    if (two[0].kind != PICKLE_DICT || two[1].kind != PICKLE_DICT)
        return refuse(p, "it builds an object");
    p->n_stack--;
    return ERR_OK;
}

// ---- instructions ----

static int protocol(struct pickle *p) {
    uint32_t version = 0;
    int err = take_number(p, 1, &version);
    if (err || version == 2)
        return err;
    return err_set(ERR_FORMAT, "%s: pickle protocol %u; torch.save writes 2 unless told otherwise",
                   p->what, version);
}

static int push_passed(struct pickle *p, enum pickle_kind kind, int err) {
    return err ? err : push(p, value(kind, p->op));
}

static int push_fixed(struct pickle *p, enum pickle_kind kind, uint32_t bytes) {
    int err = need(p, bytes);
    if (err)
        return err;
    p->at += bytes;
    return push(p, value(kind, p->op));
}

static int push_long(struct pickle *p) {
    int err = pass(p, 1);
    if (!err && p->at - p->op > 2 + 8)
        return refuse(p, "an integer of more than 64 bits");
    return push_passed(p, PICKLE_INT, err);
}

static int push_value(struct pickle *p, uint8_t opcode) {
    switch (opcode) {
    case 'N':
        return push(p, value(PICKLE_NONE, 0));
    case 0x88: // NEWTRUE
    case 0x89: // NEWFALSE
        return push(p, value(PICKLE_BOOL, p->op));
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
        return push_passed(p, PICKLE_TEXT, pass(p, 4));
    case 'U':
        return push_passed(p, PICKLE_TEXT, pass(p, 1));
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
        return make_tuple(p, 0);
    case 0x85: // TUPLE1
    case 0x86:
    case 0x87:
        return make_tuple(p, opcode - 0x84u);
    case 't':
        return make_marked_tuple(p);
    case '}':
        return push_chain(p, PICKLE_DICT);
    case ']':
        return push_chain(p, PICKLE_LIST);
    case 's':
        return set_items(p, PICKLE_DICT, 2, false);
    case 'u':
        return set_marked_items(p, PICKLE_DICT);
    case 'a':
        return set_items(p, PICKLE_LIST, 1, false);
    case 'e':
        return set_marked_items(p, PICKLE_LIST);
    default:
        return push_value(p, opcode);
    }
}

static int run(struct pickle *p, uint8_t opcode) {
    switch (opcode) {
    case 0x80:
        return protocol(p);
    case '.':
        p->stopped = true;
        return ERR_OK;
    case '(':
        return push(p, value(PICKLE_MARK, 0));
    case 'c':
        return push_name(p);
    case 'q':
        return put(p, 1);
    case 'r':
        return put(p, 4);
    case 'h':
        return get(p, 1);
    case 'j':
        return get(p, 4);
    case 'R':
        return reduce(p);
    case 'Q':
        return load_persistent(p);
    case 'b':
        return build(p);
    default:
        return run_container(p, opcode);
    }
}

static int run_all(struct pickle *p) {
    int err = ERR_OK;
    while (!err && !p->stopped) {
        if (p->at == p->size)
            return err_set(ERR_FORMAT, "%s: it ends before its end (STOP), at byte %u", p->what,
                           p->at);
        p->op = p->at++;
        err = run(p, p->text[p->op]);
    }
    if (!err && (p->n_stack != 1 || p->stack[0].kind == PICKLE_MARK))
        return refuse(p, "something else than one value is left");
    return err;
}

int pickle_read(const char *what, const uint8_t *text, size_t size, struct pickle **ret_pickle,
                size_t *ret_used) {
    struct pickle *p = xcalloc(1, sizeof *p);
    p->what = what;
    p->text = text;
    p->size = (uint32_t)MIN(size, (size_t)PICKLE_BYTES_MAX);
    p->nodes_max =
        MIN(NODES_MAX, 2 * p->size + 2);  // an instruction takes 3 at most, with its items
    p->memo_max = MIN(MEMO_MAX, p->size); // each of them takes 2 bytes
    p->nodes = xmalloc(p->nodes_max * sizeof *p->nodes);
    p->memo = xmalloc((p->memo_max + 1) * sizeof *p->memo);
    p->n_nodes = 1;
    for (uint32_t i = 0; i < p->memo_max; i++)
        p->memo[i] = value(NOTHING, 0);
    int err = run_all(p);
    free(p->memo);
    p->memo = NULL;
    if (err) {
        if (err == ERR_FORMAT && size > PICKLE_BYTES_MAX && p->at + 16 >= p->size)
            err = too_large(p, "bytes", PICKLE_BYTES_MAX);
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

// ---- looking at the result ----

struct pickle_value pickle_root(const struct pickle *p) {
    return p->stack[0];
}

int64_t pickle_int(const struct pickle *p, struct pickle_value v) {
    const uint8_t *at = p->text + v.at;
    switch (*at) {
    case 0x88: // NEWTRUE
        return 1;
    case 'K':
        return at[1];
    case 'M':
        return (int64_t)little_endian(at + 1, 2);
    case 'J':
        return (int32_t)little_endian(at + 1, 4);
    case 0x8a: { // LONG1, two's complement
        int n = at[1];
        uint64_t u = little_endian(at + 2, n);
        if (n && n < 8 && at[1 + n] & 0x80)
            u |= UINT64_MAX << (8 * n);
        return (int64_t)u;
    }
    default:
        return 0; // NEWFALSE
    }
}

const char *pickle_text(const struct pickle *p, struct pickle_value v, size_t *ret_size) {
    const uint8_t *at = p->text + v.at;
    int length_bytes = *at == 'U' ? 1 : 4;
    *ret_size = little_endian(at + 1, length_bytes);
    return (const char *)at + 1 + length_bytes;
}

bool pickle_is_text(const struct pickle *p, struct pickle_value v, const char *text) {
    if (v.kind != PICKLE_TEXT)
        return false;
    size_t size;
    const char *bytes = pickle_text(p, v, &size);
    return size == strlen(text) && !memcmp(bytes, text, size);
}

bool pickle_next(const struct pickle *p, struct pickle_value dict, uint32_t *cursor,
                 struct pickle_entry *ret_entry) {
    uint32_t at = *cursor ? p->nodes[*cursor + 2].at : p->nodes[dict.at].at;
    if (!at)
        return false;
    *cursor = at;
    *ret_entry = (struct pickle_entry){p->nodes[at], p->nodes[at + 1]};
    return true;
}

void pickle_storage(const struct pickle *p, struct pickle_value v, struct pickle_storage *ret) {
    const struct pickle_name *type = &pickle_names[item(p, v, 1).at];
    *ret = (struct pickle_storage){.type_name = type->name,
                                   .readable = type->readable,
                                   .type = type->type,
                                   .element_bytes = type->element_bytes,
                                   .count = (uint64_t)pickle_int(p, item(p, v, 4))};
    ret->key = pickle_text(p, item(p, v, 2), &ret->key_size);
}

bool pickle_next_storage(const struct pickle *p, uint32_t *cursor, struct pickle_storage *ret) {
    for (uint32_t i = *cursor + 1; i < p->n_nodes; i++)
        if (p->nodes[i].kind == PICKLE_STORAGE) {
            pickle_storage(p, p->nodes[i], ret);
            *cursor = i;
            return true;
        }
    return false;
}

void pickle_tensor(const struct pickle *p, struct pickle_value v, struct pickle_tensor *ret) {
    struct pickle_value sizes = item(p, v, 2), strides = item(p, v, 3);
    *ret = (struct pickle_tensor){.offset = (uint64_t)pickle_int(p, item(p, v, 1)),
                                  .rank = (int)tuple_size(p, sizes)};
    pickle_storage(p, item(p, v, 0), &ret->storage);
    for (int i = 0; i < MIN(ret->rank, WEIGHTS_RANK_MAX); i++) {
        ret->dims[i] = pickle_int(p, item(p, sizes, (uint32_t)i));
        ret->strides[i] = pickle_int(p, item(p, strides, (uint32_t)i));
    }
}
