// golden - judges the program against known answers.
//
//   golden --device cpu [--winograd auto|off|f2|f4] FILE.json...
//
// Runs every case of every file. Prints `SKIP name: why` for what is out of scope, `FAIL name: ...`
// for a wrong answer, at last `N passed, N failed, N skipped`. Exit status 0 iff none failed.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden.h"
#include "util.h"

static const struct {
    const char *kind;
    void (*run)(struct judge *j, yajl_val c); // NULL: known, not built
} kinds[] = {
    {"forward", case_forward},
    {"backward", case_forward},
    {"cycle_gan", case_training},
    {"adam", case_adam},
    {"lr", case_lr},
    {"gan_loss", case_gan_loss},
    {"init", case_init},
    {"pool", case_pool},
    {"image", case_image},
    {"pix2pix", case_training},
    {"cut", case_training},
    {"patchnce", case_patchnce},
    {"gradient_penalty", case_gradient_penalty},
};

struct totals {
    int passed, failed, skipped;
};

static void count(struct totals *t, const struct judge *j) {
    if (j->failures) {
        t->failed++;
    } else if (j->skip[0]) {
        t->skipped++;
        printf("SKIP %s: %s\n", j->name, j->skip);
    } else {
        t->passed++;
    }
    (void)fflush(stdout); // a report that the next case may outlive
}

static void run_case(struct judge *j, yajl_val c) {
    const char *kind = json_text(c, "kind", "");

    for (unsigned i = 0; i < COUNT(kinds); i++)
        if (strcmp(kinds[i].kind, kind) == 0) {
            if (kinds[i].run)
                kinds[i].run(j, c);
            else
                judge_skip(j, "%s is not built yet", kind);
            return;
        }
    judge_complain(j, "unknown kind \"%s\"", kind);
}

static char *read_file(const char *path) {
    FILE *f = fopen(path, "rb");
    char *text = NULL;
    size_t size = 0, room = 0, got;

    if (!f)
        return NULL;
    do {
        room += 1 << 20;
        text = xrealloc(text, room + 1);
        got = fread(text + size, 1, room - size, f);
        size += got;
    } while (got);
    text[size] = 0;
    (void)fclose(f); // only read
    return text;
}

static void run_cases(const struct judge *how, yajl_val file, struct totals *t) {
    struct judge hash = *how;
    yajl_val cases = json_get(file, "cases");

    if (json_get(file, "hash_check")) {
        judge_hash(&hash, json_get(file, "hash_check"));
        count(t, &hash);
    }
    for (int i = 0; i < json_count(cases); i++) {
        yajl_val c = json_at(cases, i);
        struct judge j = *how;
        j.name = json_text(c, "name", "(no name)");
        run_case(&j, c);
        count(t, &j);
    }
}

static void run_file(const struct judge *how, const char *path, struct totals *t) {
    char *text = read_file(path), message[256] = "cannot be read";
    yajl_val file = text ? yajl_tree_parse(text, message, sizeof message) : NULL;

    if (!file || strcmp(json_text(file, "schema", ""), "golden-1") != 0) {
        t->failed++;
        printf("FAIL %s: %s\n", path, file ? "its schema is not golden-1" : message);
    } else {
        run_cases(how, file, t);
    }
    yajl_tree_free(file);
    free(text);
}

int main(int argc, char **argv) {
    struct judge how = {.name = "hash_check", .device = "cpu", .winograd = "auto"};
    struct totals t = {0};

    if (argc < 2) {
        (void)fprintf(stderr, "golden [--device cpu|cuda] [--winograd auto|off|f2|f4] "
                              "FILE.json...\n");
        return 2;
    }
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--device") == 0 && i + 1 < argc)
            how.device = argv[++i];
        else if (strcmp(argv[i], "--winograd") == 0 && i + 1 < argc)
            how.winograd = argv[++i];
        else
            run_file(&how, argv[i], &t);
    printf("%d passed, %d failed, %d skipped\n", t.passed, t.failed, t.skipped);
    return t.failed != 0;
}
