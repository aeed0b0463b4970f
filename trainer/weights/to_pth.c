// Writes the zip archive and its pickle as torch.save does, without Python.
#include "weights/to_pth.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zip.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/text.h"
#include "base/util.h"

// ---- the pickle ----

// Opcode and four bytes, little-endian: BINUNICODE's length and BININT both look so.
static void put_number(struct text *t, char opcode, uint32_t value) {
    uint8_t bytes[5] = {(uint8_t)opcode, (uint8_t)value, (uint8_t)(value >> 8),
                        (uint8_t)(value >> 16), (uint8_t)(value >> 24)};
    text_add_bytes(t, bytes, sizeof bytes);
}

static void put_text(struct text *t, const char *text) {
    put_number(t, 'X', (uint32_t)strlen(text)); // BINUNICODE
    text_add(t, "%s", text);
}

static void put_name(struct text *t, const char *module, const char *name) {
    text_add(t, "c%s\n%s\n", module, name); // GLOBAL
}

static void put_empty_dict(struct text *t) {
    put_name(t, "collections", "OrderedDict");
    text_add(t, ")R"); // EMPTY_TUPLE, REDUCE
}

// Sizes, or the strides of a row-major tensor.
static void put_dims(struct text *t, const struct model_param *p, bool strides) {
    text_add(t, "("); // MARK
    for (int i = 0; i < p->rank; i++) {
        int64_t value = strides ? 1 : p->dims[i];
        // Row-major: the stride is the product of all later sizes.
        for (int k = i + 1; k < p->rank && strides; k++)
            value *= p->dims[k];
        put_number(t, 'J', (uint32_t)value); // BININT
    }
    text_add(t, "t"); // TUPLE
}

static void put_tensor(struct text *t, const struct model_param *p, int number) {
    static const char no_gradient[] = {(char)0x89}; // NEWFALSE
    char key[16];
    put_text(t, p->key);
    put_name(t, "torch._utils", "_rebuild_tensor_v2");
    text_add(t, "((");
    put_text(t, "storage");
    put_name(t, "torch", p->kind == PARAM_BATCHES ? "LongStorage" : "FloatStorage");
    (void)snprintf(key, sizeof key, "%d", number); // fits
    put_text(t, key);
    put_text(t, "cpu");
    put_number(t, 'J', (uint32_t)p->count);
    text_add(t, "tQ"); // TUPLE, BINPERSID
    put_number(t, 'J', 0);
    put_dims(t, p, false);
    put_dims(t, p, true);
    text_add_bytes(t, no_gradient, 1);
    put_empty_dict(t);
    // Closes the argument tuple and calls _rebuild_tensor_v2.
    text_add(t, "tR");
}

static void put_net(struct text *t, const struct model_param *params, int n) {
    text_add_bytes(t, "\x80\x02", 2); // PROTO 2
    put_empty_dict(t);
    text_add(t, "(");
    for (int i = 0; i < n; i++)
        put_tensor(t, &params[i], i);
    text_add(t, "u."); // SETITEMS, STOP
}

// ---- the archive ----

// Takes `bytes`. The time is fixed, so that the same weights give the same file.
static int add_file(zip_t *zip, const char *name, void *bytes, size_t size) {
    // The last argument makes libzip free `bytes`.
    zip_source_t *source = zip_source_buffer(zip, bytes, size, 1);
    zip_int64_t i = source ? zip_file_add(zip, name, source, ZIP_FL_ENC_UTF_8) : -1;
    if (i < 0) {
        if (source)
            zip_source_free(source);
        return err_set(ERR_IO, "archive: %s", zip_strerror(zip));
    }
    (void)zip_set_file_compression(zip, (zip_uint64_t)i, ZIP_CM_STORE, 0); // always known
    (void)zip_file_set_dostime(zip, (zip_uint64_t)i, 0, 0x21, 0);          // 1980-01-01
    return ERR_OK;
}

static int add_tensors(zip_t *zip, struct weights *w, const struct model_param *params, int n) {
    int err = ERR_OK;
    for (int i = 0; i < n && !err; i++) {
        const struct weights_tensor *t = weights_find(w, params[i].key); // weights_fit found it
        bool integers = params[i].kind == PARAM_BATCHES;
        size_t size = t->count * (integers ? sizeof(int64_t) : sizeof(float));
        void *data = xmalloc(size + 1);
        char name[40];
        (void)snprintf(name, sizeof name, "archive/data/%d", i); // fits
        err = integers ? weights_read_integers(w, t, data) : weights_read(w, t, data);
        if (err)
            free(data);
        else
            err = add_file(zip, name, data, size);
    }
    return err;
}

static int write_archive(struct weights *w, const struct model_param *params, int n,
                         const char *path) {
    struct text pickle = {0};
    int code = 0;
    zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &code);
    if (!zip)
        return fs_failed("open", path);
    put_net(&pickle, params, n);
    // torch.load expects all files below one folder, whose name is free.
    int err = add_file(zip, "archive/data.pkl", pickle.bytes, pickle.size);
    if (!err)
        err = add_file(zip, "archive/byteorder", xstrdup("little"), strlen("little"));
    if (!err)
        err = add_tensors(zip, w, params, n);
    if (!err)
        err = add_file(zip, "archive/version", xstrdup("3\n"), strlen("3\n"));
    if (!err && zip_close(zip) == 0) // writes beside and renames
        return ERR_OK;
    if (!err) {
        bool full = zip_error_system_type(zip_get_error(zip)) == ZIP_ET_SYS &&
                    zip_error_code_system(zip_get_error(zip)) == ENOSPC;
        err = err_set(full ? ERR_SPACE : ERR_IO, "write '%s': %s", path, zip_strerror(zip));
    }
    // Drops the archive in memory. The file at `path` stays as it was.
    zip_discard(zip);
    return err;
}

int weights_to_pth(struct weights *w, const struct recognised *r, const char *path) {
    struct net_options options = recognised_options(r);
    struct net *net;
    int err = r->role == RECOGNISED_GENERATOR ? generator_new(&options, &net)
                                              : discriminator_new(&options, &net);
    if (err)
        return err;
    struct model_net all = {
        .name = r->arch, .n_params = net_n_params(net), .params = net_params(net)};
    err = weights_fit(w, &all);
    if (!err)
        err = write_archive(w, net_params(net), net_n_params(net), path);
    net_free(net);
    return err;
}
