// pickle_machine - the stack machine that a pickle is a program for. Private to pickle*.c.
//
//   pickle_machine.c  moves values between text, stack, nodes and memo
//   pickle_run.c      runs the program: one instruction after the other, and the names it calls
//   pickle.c          reads the result
//
// Every function that can fail returns ERR_FORMAT or ERR_LIMIT. The error text names the
// instruction and its byte.
#ifndef PICKLE_MACHINE_H
#define PICKLE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weights/pickle.h"

#define MACHINE_NODES_MAX 32768u // of 8 bytes
#define MACHINE_MEMO_MAX 16384u
#define MACHINE_STACK_MAX 4096u
#define MACHINE_NOTHING UINT32_MAX // kind of an empty memo slot

// Values are on the stack and in the memo. Their contents are in the node array:
//   tuple           {count}, items
//   dict, list      {first entry}, {last entry}; an entry is key, value, {next entry}
//   storage, tensor the tuple they were made from
// Node 0 is unused, so index 0 ends a chain. Texts and numbers stay in the pickle's text.
struct pickle {
    const char *what;
    const uint8_t *text;
    uint32_t size, at, op; // op: start of the current instruction
    uint32_t n_stack, n_nodes, nodes_max, memo_max;
    bool stopped;
    struct pickle_value *nodes, *memo;
    struct pickle_value stack[MACHINE_STACK_MAX];
};

int machine_refuse(const struct pickle *p, const char *why);
int machine_too_large(const struct pickle *p, const char *what, uint32_t max);

static inline struct pickle_value machine_value(enum pickle_kind kind, uint32_t at) {
    return (struct pickle_value){kind, at};
}

// ---- text ----

// Fails unless `bytes` bytes are left.
int machine_need(struct pickle *p, uint32_t bytes);
uint64_t machine_little_endian(const uint8_t *bytes, int n);
int machine_take_number(struct pickle *p, int bytes, uint32_t *ret);
// Reads the length of a text or long and skips its bytes.
int machine_pass(struct pickle *p, int length_bytes);

// ---- stack and nodes ----

int machine_push(struct pickle *p, struct pickle_value v);
// The topmost `n` values. Fails if one of them is a mark.
int machine_top(const struct pickle *p, uint32_t n, const struct pickle_value **ret);
// Replaces the topmost `n` values by a tuple of them. The marked version takes all values above the
// topmost mark and removes the mark.
int machine_make_tuple(struct pickle *p, uint32_t n);
int machine_make_marked_tuple(struct pickle *p);
uint32_t machine_tuple_size(const struct pickle *p, struct pickle_value v);
struct pickle_value machine_item(const struct pickle *p, struct pickle_value tuple, uint32_t i);
// An empty dict or list.
int machine_make_chain(struct pickle *p, enum pickle_kind kind, struct pickle_value *ret);
int machine_push_chain(struct pickle *p, enum pickle_kind kind);
int machine_append(struct pickle *p, struct pickle_value chain, struct pickle_value key,
                   struct pickle_value v);
// Appends the topmost n values (pairs for a dict) to the list or dict below them. `mark`: a mark
// lies between.
int machine_set_items(struct pickle *p, enum pickle_kind kind, uint32_t n, bool mark);
int machine_set_marked_items(struct pickle *p, enum pickle_kind kind);

// ---- memo: `bytes` is the width of the slot number in the text ----

int machine_put(struct pickle *p, int bytes);
int machine_get(struct pickle *p, int bytes);

#endif
