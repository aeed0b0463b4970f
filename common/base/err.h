// err - error codes, and the one text that describes the last error of a thread.
//
// Functions return ERR_OK or a negative enum err. The function in which a failure happens describes
// it once, with err_set. Callers pass the code on. Only main prints it (err_text) and exits
// (err_exit_code).
#ifndef ERR_H
#define ERR_H

#include <stdnoreturn.h>

enum err_index {
    ERR_INDEX_OK,
#define ERR(name, code, text) ERR_INDEX_##name,
#include "base/err.def"
#undef ERR
};

enum err {
    ERR_OK = 0,
#define ERR(name, code, text) ERR_##name = -ERR_INDEX_##name,
#include "base/err.def"
#undef ERR
};

// Stores the text for err_text of this thread, cut at 1023 bytes, and returns `err`.
int err_set(int err, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Puts "prefix: " before the stored text and returns `err`: for a caller that knows more.
int err_prefix(int err, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Clang's analyzer does not look into err.c: this tells it that both return `err`.
#ifdef __clang_analyzer__
#define err_set(err, ...) ((void)err_set((err), __VA_ARGS__), (err))
#define err_prefix(err, ...) ((void)err_prefix((err), __VA_ARGS__), (err))
#endif

// The text of the last err_set of this thread; "" before the first. Lent until the next call.
const char *err_text(void);

// "ERR_IO" and so on; "ERR_?" for any other number. For the messages of tests.
const char *err_name(int err);

// What a program that ends with this error returns to its parent: the second column of err.def.
int err_exit_code(int err);

// For a fault of the program itself: prints file, line and text, and aborts. In every build.
#define BUG(...) bug_at(__FILE__, __LINE__, __VA_ARGS__)
noreturn void bug_at(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
