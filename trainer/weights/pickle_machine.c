// Stack, memo and nodes of the pickle machine. Every index is checked here, so pickle_run.c cannot
// go out of bounds.
#include "weights/pickle_machine.h"

#include <string.h>

#include "base/err.h"
#include "weights/pickle_names.h"

int machine_refuse(const struct pickle *p, const char *why) {
    (void)err_set(ERR_FORMAT, "%s: %s (%s at byte %u)", p->what, why,
                  pickle_opcode_name(p->text[p->op]), p->op);
    return ERR_FORMAT;
}

int machine_too_large(const struct pickle *p, const char *what, uint32_t max) {
    return err_set(ERR_LIMIT, "%s: more than %u %s (byte %u)", p->what, max, what, p->op);
}

// ---- text ----

int machine_need(struct pickle *p, uint32_t bytes) {
    // at never exceeds size, so the difference cannot wrap; a sum could.
    if (p->size - p->at < bytes)
        return machine_refuse(p, "it ends in the middle of an instruction");
    return ERR_OK;
}

uint64_t machine_little_endian(const uint8_t *bytes, int n) {
    uint64_t v = 0;
    for (int i = n - 1; i >= 0; i--)
        v = v << 8 | bytes[i];
    return v;
}

int machine_take_number(struct pickle *p, int bytes, uint32_t *ret) {
    int err = machine_need(p, (uint32_t)bytes);
    if (err)
        return err;
    *ret = (uint32_t)machine_little_endian(p->text + p->at, bytes);
    p->at += (uint32_t)bytes;
    return ERR_OK;
}

int machine_pass(struct pickle *p, int length_bytes) {
    uint32_t length = 0;
    int err = machine_take_number(p, length_bytes, &length);
    if (!err)
        err = machine_need(p, length);
    if (!err)
        p->at += length;
    return err;
}

// ---- stack and nodes ----

int machine_push(struct pickle *p, struct pickle_value v) {
    if (p->n_stack == MACHINE_STACK_MAX)
        return machine_too_large(p, "values on the stack", MACHINE_STACK_MAX);
    p->stack[p->n_stack++] = v;
    return ERR_OK;
}

int machine_top(const struct pickle *p, uint32_t n, const struct pickle_value **ret) {
    if (p->n_stack < n)
        return machine_refuse(p, "there is nothing on the stack");
    for (uint32_t i = p->n_stack - n; i < p->n_stack; i++)
        // A mark must not become part of a tuple or a dict.
        if (p->stack[i].kind == PICKLE_MARK)
            return machine_refuse(p, "there is nothing on the stack behind the mark");
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
    return machine_refuse(p, "there is no mark on the stack");
}

static int take_nodes(struct pickle *p, uint32_t n, uint32_t *ret_at) {
    // n can be large, but n_nodes never exceeds nodes_max: no wrap.
    if (p->nodes_max - p->n_nodes < n)
        return machine_too_large(p, "values", p->nodes_max);
    *ret_at = p->n_nodes;
    p->n_nodes += n;
    return ERR_OK;
}

int machine_make_tuple(struct pickle *p, uint32_t n) {
    const struct pickle_value *items = NULL;
    uint32_t at = 0;
    int err = machine_top(p, n, &items);
    if (!err)
        err = take_nodes(p, n + 1, &at);
    if (err)
        return err;
    // The first node holds the count in place of a byte.
    p->nodes[at] = machine_value(PICKLE_NONE, n);
    if (n)
        memcpy(p->nodes + at + 1, items, n * sizeof *items);
    p->n_stack -= n;
    return machine_push(p, machine_value(PICKLE_TUPLE, at));
}

int machine_make_marked_tuple(struct pickle *p) {
    uint32_t n = 0;
    int err = behind_mark(p, &n);
    if (!err)
        err = machine_make_tuple(p, n);
    if (err)
        return err;
    p->stack[p->n_stack - 2] = p->stack[p->n_stack - 1]; // over the mark
    p->n_stack--;
    return ERR_OK;
}

uint32_t machine_tuple_size(const struct pickle *p, struct pickle_value v) {
    return p->nodes[v.at].at;
}

struct pickle_value machine_item(const struct pickle *p, struct pickle_value tuple, uint32_t i) {
    return p->nodes[tuple.at + 1 + i];
}

int machine_make_chain(struct pickle *p, enum pickle_kind kind, struct pickle_value *ret) {
    uint32_t at = 0;
    int err = take_nodes(p, 2, &at);
    if (err)
        return err;
    p->nodes[at] = p->nodes[at + 1] = machine_value(PICKLE_NONE, 0);
    *ret = machine_value(kind, at);
    return ERR_OK;
}

int machine_push_chain(struct pickle *p, enum pickle_kind kind) {
    struct pickle_value chain = {0, 0};
    int err = machine_make_chain(p, kind, &chain);
    return err ? err : machine_push(p, chain);
}

int machine_append(struct pickle *p, struct pickle_value chain, struct pickle_value key,
                   struct pickle_value v) {
    uint32_t at = 0;
    int err = take_nodes(p, 3, &at);
    if (err)
        return err;
    p->nodes[at] = key;
    p->nodes[at + 1] = v;
    p->nodes[at + 2] = machine_value(PICKLE_NONE, 0);
    // The chain keeps its last entry, so appending takes constant time.
    uint32_t last = p->nodes[chain.at + 1].at;
    if (last)
        p->nodes[last + 2].at = at;
    else
        p->nodes[chain.at].at = at;
    p->nodes[chain.at + 1].at = at;
    return ERR_OK;
}

int machine_set_items(struct pickle *p, enum pickle_kind kind, uint32_t n, bool mark) {
    const struct pickle_value *items = NULL;
    uint32_t step = kind == PICKLE_DICT ? 2 : 1;
    int err = machine_top(p, n, &items);
    if (err)
        return err;
    // The container lies below the items, and below the mark if there is one.
    if (p->n_stack < n + mark + 1 || p->stack[p->n_stack - n - mark - 1].kind != kind || n % step)
        return machine_refuse(p, "items for what is no list or dict");
    struct pickle_value chain = p->stack[p->n_stack - n - mark - 1];
    for (uint32_t i = 0; i < n && !err; i += step)
        err = machine_append(p, chain, step == 2 ? items[i] : machine_value(PICKLE_NONE, 0),
                             items[i + step - 1]);
    p->n_stack -= n + mark;
    return err;
}

int machine_set_marked_items(struct pickle *p, enum pickle_kind kind) {
    uint32_t n = 0;
    int err = behind_mark(p, &n);
    return err ? err : machine_set_items(p, kind, n, true);
}

// ---- memo ----

int machine_put(struct pickle *p, int bytes) {
    const struct pickle_value *v = NULL;
    uint32_t i = 0;
    int err = machine_take_number(p, bytes, &i);
    if (!err)
        err = machine_top(p, 1, &v);
    if (err)
        return err;
    // Slots are dense in files of torch.save; a sparse number is refused and not allocated.
    if (i >= p->memo_max)
        return machine_too_large(p, "values in the memo", p->memo_max);
    p->memo[i] = *v;
    return ERR_OK;
}

int machine_get(struct pickle *p, int bytes) {
    uint32_t i = 0;
    int err = machine_take_number(p, bytes, &i);
    if (err)
        return err;
    if (i >= p->memo_max || p->memo[i].kind == MACHINE_NOTHING)
        return machine_refuse(p, "it takes from the memo what was not put there");
    return machine_push(p, p->memo[i]);
}
