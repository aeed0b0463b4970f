#include "base/err.h"
#include "weights/pickle_machine.h"
#include "weights/pickle_names.h"

static int protocol(struct pickle *p) {
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

static int run(struct pickle *p, uint8_t opcode) {
    switch (opcode) {
    case 0x80:
        return protocol(p);
    case '.':
        p->stopped = true;
        return ERR_OK;
    case '(':
        return machine_push(p, machine_value(PICKLE_MARK, 0));
    case 'c':
        return machine_push_name(p);
    case 'q':
        return machine_put(p, 1);
    case 'r':
        return machine_put(p, 4);
    case 'h':
        return machine_get(p, 1);
    case 'j':
        return machine_get(p, 4);
    case 'R':
        return machine_reduce(p);
    case 'Q':
        return machine_load_persistent(p);
    case 'b':
        return machine_build(p);
    default:
        return run_container(p, opcode);
    }
}

int machine_run(struct pickle *p) {
    int err = ERR_OK;
    while (!err && !p->stopped) {
        if (p->at == p->size)
            return err_set(ERR_FORMAT, "%s: it ends before its end (STOP), at byte %u", p->what,
                           p->at);
        p->op = p->at++;
        err = run(p, p->text[p->op]);
    }
    if (!err && (p->n_stack != 1 || p->stack[0].kind == PICKLE_MARK))
        return machine_refuse(p, "something else than one value is left");
    return err;
}
