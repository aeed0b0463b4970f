// pickle_machine - the stack machine that a pickle is a program for; pickle.c, pickle_run.c,
// pickle_calls.c and pickle_machine.c share it and nobody else sees it.
//
// pickle_machine.c moves values between text, stack, nodes and memo; pickle_calls.c knows what the
// names mean; pickle_run.c chooses by the instruction; pickle.c begins it and looks at the result.
// Everything here fails with ERR_FORMAT (the text names the instruction and its byte) or ERR_LIMIT.
#ifndef PICKLE_MACHINE_H
#define PICKLE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weights/pickle.h"

#define MACHINE_NODES_MAX 32768u // of 8 bytes
#define MACHINE_MEMO_MAX 16384u
#define MACHINE_STACK_MAX 4096u
#define MACHINE_NOTHING UINT32_MAX // kind of a memo slot that was never put

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
    struct pickle_value stack[MACHINE_STACK_MAX];
};

int machine_refuse(const struct pickle *p, const char *why);
int machine_too_large(const struct pickle *p, const char *what, uint32_t max);

static inline struct pickle_value machine_value(enum pickle_kind kind, uint32_t at) {
    return (struct pickle_value){kind, at};
}

// ---- text ----

// Whether so many bytes are left.
int machine_need(struct pickle *p, uint32_t bytes);
uint64_t machine_little_endian(const uint8_t *bytes, int n);
int machine_take_number(struct pickle *p, int bytes, uint32_t *ret);
// A text's or long's length, and its bytes passed over.
int machine_pass(struct pickle *p, int length_bytes);

// ---- stack and nodes ----

int machine_push(struct pickle *p, struct pickle_value v);
// The topmost `n` values, none of them a mark.
int machine_top(const struct pickle *p, uint32_t n, const struct pickle_value **ret);
// Replaces the topmost `n` values by a tuple of them; `marked`: all behind the mark, and that.
int machine_make_tuple(struct pickle *p, uint32_t n);
int machine_make_marked_tuple(struct pickle *p);
uint32_t machine_tuple_size(const struct pickle *p, struct pickle_value v);
struct pickle_value machine_item(const struct pickle *p, struct pickle_value tuple, uint32_t i);
// An empty dict or list.
int machine_make_chain(struct pickle *p, enum pickle_kind kind, struct pickle_value *ret);
int machine_push_chain(struct pickle *p, enum pickle_kind kind);
int machine_append(struct pickle *p, struct pickle_value chain, struct pickle_value key,
                   struct pickle_value v);
// Puts the topmost n values (pairs for a dict) into what lies below them; `mark`: one in between.
int machine_set_items(struct pickle *p, enum pickle_kind kind, uint32_t n, bool mark);
int machine_set_marked_items(struct pickle *p, enum pickle_kind kind);

// ---- memo; the slot's number has so many bytes ----

int machine_put(struct pickle *p, int bytes);
int machine_get(struct pickle *p, int bytes);

// ---- names, calls, persistent ids ----

int machine_push_name(struct pickle *p);
// Calls a name with the arguments above it.
int machine_reduce(struct pickle *p);
int machine_load_persistent(struct pickle *p);
int machine_build(struct pickle *p);

// Runs it to its end, which leaves one value on the stack.
int machine_run(struct pickle *p);

#endif
