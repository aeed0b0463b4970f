// golden - checks the program against known answers.
//
//   golden --device cpu [--dtype fp32] [--winograd auto|off|f2|f4] FILE.json...
//   golden --pack OUT FILE.json
//
// Runs every case of every file, JSON or packed. Prints `SKIP name: why` for what is out of scope,
// `FAIL name: ...` for a wrong answer, at last `N passed, N failed, N skipped`. Exit status 0 iff
// none failed. --pack writes the packed form of a file (json.h).
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fs.h"
#include "golden/golden.h"

#define FILE_MAX ((size_t)1 << 30)

static const struct golden_kind kinds[] = {
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
    {NULL, NULL},
};

static struct json *read_tree(const char *path, char *message, size_t size) {
    uint8_t *bytes;
    size_t length;
    struct json *tree;

    if (fs_read(path, FILE_MAX, &bytes, &length)) {
        (void)snprintf(message, size, "%s", err_text());
        return NULL;
    }
    (void)snprintf(message, size, "it is cut or damaged");
    tree = json_is_packed(bytes, length) ? json_unpack(bytes, length)
                                         : json_parse((char *)bytes, message, size);
    free(bytes);
    return tree;
}

static void run_file(const struct golden_case *how, const char *path, struct golden_totals *t) {
    char message[256];
    struct json *file = read_tree(path, message, sizeof message);

    if (!file || strcmp(json_text(file, "schema", ""), "golden-1") != 0) {
        t->failed++;
        printf("FAIL %s: %s\n", path, file ? "its schema is not golden-1" : message);
    } else {
        golden_run(how, kinds, file, t);
    }
    json_free(file);
}

static int pack(const char *to, const char *from) {
    char message[256];
    struct json *tree = read_tree(from, message, sizeof message);
    size_t size = 0;
    void *bytes;

    if (!tree) {
        (void)fprintf(stderr, "golden: %s: %s\n", from, message);
        return 1;
    }
    bytes = json_pack(tree, &size);
    int err = fs_write_atomic(to, bytes, size);
    if (err)
        (void)fprintf(stderr, "golden: %s\n", err_text());
    free(bytes);
    json_free(tree);
    return err ? 1 : 0;
}

int main(int argc, char **argv) {
    struct golden_case how = {.name = "hash_check", .device = "cpu", .winograd = "auto"};
    struct golden_totals t = {0};

    if (argc < 2) {
        (void)fprintf(stderr, "golden [--device cpu|cuda] [--dtype fp32|tf32|bf16] "
                              "[--winograd auto|off|f2|f4] FILE.json...\n"
                              "golden --pack OUT FILE.json\n");
        return 2;
    }
    if (argc == 4 && strcmp(argv[1], "--pack") == 0)
        return pack(argv[2], argv[3]);
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--device") == 0 && i + 1 < argc)
            how.device = argv[++i];
        else if (strcmp(argv[i], "--dtype") == 0 && i + 1 < argc)
            how.dtype = argv[++i];
        else if (strcmp(argv[i], "--winograd") == 0 && i + 1 < argc)
            how.winograd = argv[++i];
        else
            run_file(&how, argv[i], &t);
    printf("%d passed, %d failed, %d skipped\n", t.passed, t.failed, t.skipped);
    return t.failed != 0;
}
