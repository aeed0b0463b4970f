// Writes and reads state.json, the file of a checkpoint that names all others with their digests.
#include "checkpoint/state.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yajl/yajl_tree.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/text.h"
#include "base/util.h"

#define STATE_BYTES_MAX 65536

void state_add_file(struct state *s, const char *name, const char *digest) {
    struct state_file *f = &s->files[s->n_files];

    if (s->n_files == STATE_FILES_MAX)
        BUG("more than %d files in a checkpoint", STATE_FILES_MAX);
    if (!text_copy(f->name, sizeof f->name, name) ||
        !text_copy(f->digest, sizeof f->digest, digest))
        BUG("file '%s'", name);
    s->n_files++;
}

const char *state_digest(const struct state *s, const char *name) {
    for (int i = 0; i < s->n_files; i++)
        if (strcmp(s->files[i].name, name) == 0)
            return s->files[i].digest;
    return NULL;
}

static void write_manifest(FILE *out, const char *domain, const struct manifest_summary *m) {
    fprintf(out, "    \"%s\": {\"digest\": \"%s\", \"count\": %llu, \"held_out\": %llu}", domain,
            m->digest, (unsigned long long)m->count, (unsigned long long)m->held_out);
}

// 17 digits represent every double exactly.
static void write_plateau(FILE *out, const struct plateau *p) {
    if (p->values || p->epochs)
        fprintf(out,
                "  \"plateau\": {\"values\": %llu, \"sum\": %.17g, \"epochs\": %llu, "
                "\"best\": %.17g, \"bad\": %llu, \"drops\": %llu},\n",
                (unsigned long long)p->values, p->sum, (unsigned long long)p->epochs, p->best,
                (unsigned long long)p->bad, (unsigned long long)p->drops);
}

static void write_best(FILE *out, const struct best *b) {
    if (b->step)
        fprintf(out, "  \"best\": {\"metric\": \"%s\", \"step\": %llu, \"value\": %.17g},\n",
                b->metric, (unsigned long long)b->step, b->value);
}

static void write_init(FILE *out, const struct state *s) {
    for (int i = 0; i < s->n_init; i++)
        fprintf(out, "%s\"%s\": \"%s\"%s", i ? ", " : "  \"init\": {", s->init[i].net,
                s->init[i].digest, i + 1 == s->n_init ? "},\n" : "");
}

int state_save(const struct state *s, const char *path) {
    char *text = NULL;
    size_t size = 0;
    int err;
    FILE *out = text_open(&text, &size);
    fprintf(out, "{\n  \"format\": 1,\n  \"step\": %llu,\n  \"epoch\": %llu,\n",
            (unsigned long long)s->step, (unsigned long long)s->epoch);
    fprintf(out, "  \"batch\": %llu,\n  \"images\": %llu,\n", (unsigned long long)s->batch,
            (unsigned long long)s->images);
    fprintf(out, "  \"scheduled\": %llu,\n", (unsigned long long)s->scheduled);
    fprintf(out, "  \"device\": \"%s\",\n", s->device);
    // The reader takes fp32 where the field is missing.
    if (s->dtype[0] && strcmp(s->dtype, "fp32") != 0)
        fprintf(out, "  \"dtype\": \"%s\",\n", s->dtype);
    write_plateau(out, &s->plateau);
    write_best(out, &s->best);
    write_init(out, s);
    fputs("  \"manifests\": {\n", out);
    write_manifest(out, "A", &s->manifest[0]);
    fputs(",\n", out);
    write_manifest(out, "B", &s->manifest[1]);
    fputs("\n  },\n  \"files\": {", out);
    for (int i = 0; i < s->n_files; i++)
        fprintf(out, "%s\n    \"%s\": \"%s\"", i ? "," : "", s->files[i].name, s->files[i].digest);
    fputs("\n  }\n}\n", out);
    text_close(out);
    // Written last in a checkpoint (write.c): its presence means that all is there.
    err = fs_write_atomic(path, text, size);
    free(text);
    return err;
}

// ---- reading; `wrong` is a field that is missing or invalid ----

struct reader {
    yajl_val root;
    const char *wrong;
};

static yajl_val find_value(struct reader *r, const char *a, const char *b, const char *c) {
    const char *path[] = {a, b, c, NULL};

    return yajl_tree_get(r->root, path, yajl_t_any);
}

static uint64_t read_number(struct reader *r, const char *a, const char *b, const char *c) {
    yajl_val v = find_value(r, a, b, c);

    if (!v || !YAJL_IS_INTEGER(v) || YAJL_GET_INTEGER(v) < 0) {
        // The last wrong field is reported; reading goes on, so callers need no checks.
        r->wrong = c ? c : a;
        return 0;
    }
    return (uint64_t)YAJL_GET_INTEGER(v);
}

static void read_text(struct reader *r, yajl_val v, const char *name, char *ret, size_t size) {
    if (!v || !YAJL_IS_STRING(v) || !text_copy(ret, size, YAJL_GET_STRING(v)))
        r->wrong = name;
}

static bool is_digest(const char *t) {
    return strlen(t) == 64 && strspn(t, "0123456789abcdef") == 64;
}

static void read_manifest(struct reader *r, const char *domain, struct manifest_summary *ret) {
    read_text(r, find_value(r, "manifests", domain, "digest"), "manifests", ret->digest,
              sizeof ret->digest);
    ret->count = read_number(r, "manifests", domain, "count");
    ret->held_out = read_number(r, "manifests", domain, "held_out");
}

static void read_files(struct reader *r, struct state *s) {
    yajl_val v = find_value(r, "files", NULL, NULL);

    if (!v || !YAJL_IS_OBJECT(v) || YAJL_GET_OBJECT(v)->len > STATE_FILES_MAX) {
        r->wrong = "files";
        return;
    }
    for (size_t i = 0; i < YAJL_GET_OBJECT(v)->len; i++) {
        struct state_file *f = &s->files[s->n_files];

        // A '/' would let a checkpoint name files outside of its folder.
        if (!text_copy(f->name, sizeof f->name, YAJL_GET_OBJECT(v)->keys[i]) ||
            strchr(f->name, '/'))
            r->wrong = "files";
        read_text(r, YAJL_GET_OBJECT(v)->values[i], "files", f->digest, sizeof f->digest);
        if (!is_digest(f->digest))
            r->wrong = "files";
        s->n_files++;
    }
}

static double read_real(struct reader *r, const char *a, const char *b) {
    yajl_val v = find_value(r, a, b, NULL);

    if (!v || !YAJL_IS_NUMBER(v)) {
        r->wrong = a;
        return 0;
    }
    // %.17g prints 3.0 as 3. The text covers integers and fractions alike.
    return strtod(YAJL_GET_NUMBER(v), NULL);
}

static uint64_t plateau_number(struct reader *r, const char *name) {
    double value = read_real(r, "plateau", name);

    // Also refuses NaN. Below 2^53 every integer is exact in a double.
    if (!(value >= 0 && value < 1e15)) {
        r->wrong = "plateau";
        return 0;
    }
    return (uint64_t)value;
}

static void read_plateau(struct reader *r, struct plateau *ret) {
    if (!find_value(r, "plateau", NULL, NULL))
        return;
    ret->values = plateau_number(r, "values");
    ret->sum = read_real(r, "plateau", "sum");
    ret->epochs = plateau_number(r, "epochs");
    ret->best = read_real(r, "plateau", "best");
    ret->bad = plateau_number(r, "bad");
    ret->drops = plateau_number(r, "drops");
}

static void read_best(struct reader *r, struct best *ret) {
    if (!find_value(r, "best", NULL, NULL))
        return;
    ret->step = read_number(r, "best", "step", NULL);
    ret->value = read_real(r, "best", "value");
    read_text(r, find_value(r, "best", "metric", NULL), "best", ret->metric, sizeof ret->metric);
}

static void read_init(struct reader *r, struct state *s) {
    yajl_val v = find_value(r, "init", NULL, NULL);

    if (!v)
        return;
    if (!YAJL_IS_OBJECT(v) || YAJL_GET_OBJECT(v)->len > STATE_INIT_MAX) {
        r->wrong = "init";
        return;
    }
    for (size_t i = 0; i < YAJL_GET_OBJECT(v)->len; i++) {
        struct state_init *init = &s->init[s->n_init];

        if (!text_copy(init->net, sizeof init->net, YAJL_GET_OBJECT(v)->keys[i]))
            r->wrong = "init";
        read_text(r, YAJL_GET_OBJECT(v)->values[i], "init", init->digest, sizeof init->digest);
        if (!is_digest(init->digest))
            r->wrong = "init";
        s->n_init++;
    }
}

static void read_state(struct reader *r, struct state *s) {
    if (read_number(r, "format", NULL, NULL) != 1)
        r->wrong = "format";
    s->step = read_number(r, "step", NULL, NULL);
    s->epoch = read_number(r, "epoch", NULL, NULL);
    s->batch = read_number(r, "batch", NULL, NULL);
    s->images = read_number(r, "images", NULL, NULL);
    s->scheduled = read_number(r, "scheduled", NULL, NULL);
    read_text(r, find_value(r, "device", NULL, NULL), "device", s->device, sizeof s->device);
    (void)text_copy(s->dtype, sizeof s->dtype, "fp32"); // fits
    if (find_value(r, "dtype", NULL, NULL))
        read_text(r, find_value(r, "dtype", NULL, NULL), "dtype", s->dtype, sizeof s->dtype);
    read_plateau(r, &s->plateau);
    read_best(r, &s->best);
    read_init(r, s);
    read_manifest(r, "A", &s->manifest[0]);
    read_manifest(r, "B", &s->manifest[1]);
    read_files(r, s);
    // Epochs count from 1; retain.c subtracts 1.
    if (s->epoch < 1)
        r->wrong = "epoch";
}

int state_load(const char *path, struct state *ret_state) {
    struct reader r = {0};
    struct state s = {0};
    uint8_t *bytes;
    size_t size;
    char why[256];
    int err = fs_read(path, STATE_BYTES_MAX, &bytes, &size);

    if (err)
        return err;
    // yajl would stop at a zero byte and ignore the rest.
    if (strlen((char *)bytes) == size)
        r.root = yajl_tree_parse((char *)bytes, why, sizeof why);
    free(bytes);
    if (!r.root)
        return err_set(ERR_FORMAT, "'%s' is not JSON", path);
    read_state(&r, &s);
    yajl_tree_free(r.root);
    if (r.wrong)
        return err_set(ERR_FORMAT, "'%s': field '%s' is missing or wrong", path, r.wrong);
    *ret_state = s;
    return ERR_OK;
}
