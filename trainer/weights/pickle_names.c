// The two tables of the pickle reader: all opcodes, for messages, and the few names that may be
// used.
#include "weights/pickle_names.h"

#include <string.h>

#include "base/util.h"

// Source: CPython, Lib/pickletools.py.
static const char *const opcodes[256] = {
    ['('] = "MARK",
    ['.'] = "STOP",
    ['0'] = "POP",
    ['1'] = "POP_MARK",
    ['2'] = "DUP",
    ['F'] = "FLOAT",
    ['I'] = "INT",
    ['J'] = "BININT",
    ['K'] = "BININT1",
    ['L'] = "LONG",
    ['M'] = "BININT2",
    ['N'] = "NONE",
    ['P'] = "PERSID",
    ['Q'] = "BINPERSID",
    ['R'] = "REDUCE",
    ['S'] = "STRING",
    ['T'] = "BINSTRING",
    ['U'] = "SHORT_BINSTRING",
    ['V'] = "UNICODE",
    ['X'] = "BINUNICODE",
    ['a'] = "APPEND",
    ['b'] = "BUILD",
    ['c'] = "GLOBAL",
    ['d'] = "DICT",
    ['}'] = "EMPTY_DICT",
    ['e'] = "APPENDS",
    ['g'] = "GET",
    ['h'] = "BINGET",
    ['i'] = "INST",
    ['j'] = "LONG_BINGET",
    ['l'] = "LIST",
    [']'] = "EMPTY_LIST",
    ['o'] = "OBJ",
    ['p'] = "PUT",
    ['q'] = "BINPUT",
    ['r'] = "LONG_BINPUT",
    ['s'] = "SETITEM",
    ['t'] = "TUPLE",
    [')'] = "EMPTY_TUPLE",
    ['u'] = "SETITEMS",
    ['G'] = "BINFLOAT",
    ['B'] = "BINBYTES",
    ['C'] = "SHORT_BINBYTES",
    [0x80] = "PROTO",
    [0x81] = "NEWOBJ",
    [0x82] = "EXT1",
    [0x83] = "EXT2",
    [0x84] = "EXT4",
    [0x85] = "TUPLE1",
    [0x86] = "TUPLE2",
    [0x87] = "TUPLE3",
    [0x88] = "NEWTRUE",
    [0x89] = "NEWFALSE",
    [0x8a] = "LONG1",
    [0x8b] = "LONG4",
    [0x8c] = "SHORT_BINUNICODE",
    [0x8d] = "BINUNICODE8",
    [0x8e] = "BINBYTES8",
    [0x8f] = "EMPTY_SET",
    [0x90] = "ADDITEMS",
    [0x91] = "FROZENSET",
    [0x92] = "NEWOBJ_EX",
    [0x93] = "STACK_GLOBAL",
    [0x94] = "MEMOIZE",
    [0x95] = "FRAME",
    [0x96] = "BYTEARRAY8",
    [0x97] = "NEXT_BUFFER",
    [0x98] = "READONLY_BUFFER",
};

const char *pickle_opcode_name(uint8_t opcode) {
    return opcodes[opcode] ? opcodes[opcode] : "";
}

#define STORAGE(name, bytes)                                                                       \
    { "torch", name, PICKLE_STORAGE_TYPE, bytes, false, WEIGHTS_F32 }
#define READABLE(name, bytes, type)                                                                \
    { "torch", name, PICKLE_STORAGE_TYPE, bytes, true, type }

// Types outside of READABLE occur in files beside the weights, so they may be named but not read.
const struct pickle_name pickle_names[] = {
    {.module = "collections", .name = "OrderedDict", .role = PICKLE_ORDERED_DICT},
    {.module = "torch._utils", .name = "_rebuild_tensor_v2", .role = PICKLE_REBUILD_TENSOR},
    {.module = "torch._utils", .name = "_rebuild_tensor", .role = PICKLE_REBUILD_TENSOR},
    {.module = "torch._utils", .name = "_rebuild_parameter", .role = PICKLE_REBUILD_PARAMETER},
    READABLE("FloatStorage", 4, WEIGHTS_F32),
    READABLE("HalfStorage", 2, WEIGHTS_F16),
    READABLE("BFloat16Storage", 2, WEIGHTS_BF16),
    READABLE("DoubleStorage", 8, WEIGHTS_F64),
    READABLE("LongStorage", 8, WEIGHTS_I64),
    STORAGE("IntStorage", 4),
    STORAGE("ShortStorage", 2),
    STORAGE("CharStorage", 1),
    STORAGE("ByteStorage", 1),
    STORAGE("BoolStorage", 1),
};

static bool same(const char *text, size_t size, const char *word) {
    return strlen(word) == size && memcmp(text, word, size) == 0;
}

int pickle_name_find(const char *module, size_t module_size, const char *name, size_t name_size) {
    for (size_t i = 0; i < COUNT(pickle_names); i++)
        if (same(module, module_size, pickle_names[i].module) &&
            same(name, name_size, pickle_names[i].name))
            return (int)i;
    return -1;
}
