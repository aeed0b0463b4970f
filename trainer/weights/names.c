// Conversions of the names in a file: prefixes of wrappers and of whole models, stale statistics.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "base/util.h"
#include "weights/file.h"

#define NETS_SHOWN 16

// Removes the entries whose storage is -1. Returns their number.
static int drop_marked(struct weights *w) {
    int kept = 0, n = w->count;
    for (int i = 0; i < n; i++)
        if (w->entries[i].storage >= 0)
            w->entries[kept++] = w->entries[i];
        else
            free((char *)w->entries[i].tensor.name);
    w->count = kept;
    return n - kept;
}

// ---- prefixes ----

// Whether the name begins with `size` letters of `prefix` and a dot, and goes on.
static bool has_prefix(const char *name, const char *prefix, size_t size) {
    return strncmp(name, prefix, size) == 0 && name[size] == '.' && name[size + 1];
}

static void strip_prefix(struct weights *w, size_t size) {
    for (int i = 0; i < w->count; i++) {
        char *name = (char *)w->entries[i].tensor.name; // owned by w
        memmove(name, name + size + 1, strlen(name + size + 1) + 1);
    }
}

// torch.nn.DataParallel and torch.compile wrap a net, also one in the other.
static void strip_wrappers(struct weights *w) {
    static const char *const wrappers[] = {"module", "_orig_mod"};
    for (size_t k = 0; k < COUNT(wrappers); k++) {
        size_t size = strlen(wrappers[k]);
        bool all = w->count > 0;
        for (int i = 0; i < w->count && all; i++)
            all = has_prefix(w->entries[i].tensor.name, wrappers[k], size);
        if (!all)
            continue;
        strip_prefix(w, size);
        weights_note(w, "\"%s.\" taken off every name", wrappers[k]);
        k = (size_t)-1; // from the first again
    }
}

// Length of the first part of a name if that is a net in a whole model: "netG_A" of
// "netG_A.model.1.weight". 0: it is not.
static size_t net_prefix(const char *name) {
    static const char *const words[] = {"netG", "netD", "netF", "G", "D", "gen", "generator"};
    size_t size = strcspn(name, ".");
    if (!name[size])
        return 0;
    for (size_t i = 0; i < COUNT(words); i++) {
        size_t n = strlen(words[i]);
        if (size >= n && strncmp(name, words[i], n) == 0 && (size == n || name[n] == '_'))
            return size;
    }
    return 0;
}

// "netG_A, netG_B": every net, or only those that `chosen` names. Returns their number.
static int list_nets(const struct weights *w, const char *chosen, char **ret_list,
                     const char **ret_first) {
    struct text list = {0};
    int n = 0;
    for (int i = 0; i < w->count; i++) {
        const char *name = w->entries[i].tensor.name;
        size_t size = net_prefix(name);
        bool is_new = size > 0;
        // Quadratic in the tensors, of which there are at most 1024.
        for (int k = 0; k < i && is_new; k++)
            is_new = !has_prefix(w->entries[k].tensor.name, name, size);
        // A choice of "G_A" also means "netG_A", the name in whole models.
        bool fits = !chosen || (size == strlen(chosen) && strncmp(name, chosen, size) == 0) ||
                    (size == strlen(chosen) + 3 && strncmp(name, "net", 3) == 0 &&
                     strncmp(name + 3, chosen, size - 3) == 0);
        if (!is_new || !fits)
            continue;
        // The caller reads the prefix from the first name that fits.
        if (n++ == 0)
            *ret_first = name;
        if (n <= NETS_SHOWN)
            text_add(&list, "%s%.*s", n > 1 ? ", " : "", (int)size, name);
    }
    text_add_bytes(&list, "", 0); // not NULL if there are none
    *ret_list = list.bytes;
    return n;
}

// Takes one net out of the state dict of a whole model. FILE#netG_A or FILE#G_A chooses it.
static int choose_net(struct weights *w) {
    const char *first = NULL;
    char *all, *list;
    // All nets are listed for the message even if a name was chosen.
    int n = list_nets(w, NULL, &all, &first), err = ERR_OK;
    int fitting = w->chosen ? list_nets(w, w->chosen, &list, &first) : n;
    if (w->chosen)
        free(list);
    if (w->chosen && fitting != 1)
        err = err_set(ERR_FORMAT, "'%s' holds no state dict named '%s'%s%s", w->path, w->chosen,
                      n ? "; its nets: " : "", all);
    else if (n > 1 && fitting != 1)
        err = err_set(ERR_FORMAT, "'%s' holds several nets (%s); choose with '%s#NAME'", w->path,
                      all, w->path);
    free(all);
    // A file without such prefixes is a single net already.
    if (err || !n)
        return err;
    // A copy, since strip_prefix overwrites the name that it is taken from.
    char *prefix = xasprintf("%.*s", (int)net_prefix(first), first);
    size_t size = strlen(prefix);
    for (int i = 0; i < w->count; i++)
        if (!has_prefix(w->entries[i].tensor.name, prefix, size))
            w->entries[i].storage = -1;
    int dropped = drop_marked(w);
    strip_prefix(w, size);
    weights_note(w, "\"%s.\" taken off every name", prefix);
    if (dropped)
        weights_note(w, "%d tensors outside of %s are left out", dropped, prefix);
    free(prefix);
    return ERR_OK;
}

// ---- statistics that nothing reads ----

static bool ends_in(const char *name, const char *end) {
    size_t n = strlen(name), m = strlen(end);
    return n > m && strcmp(name + n - m, end) == 0;
}

static bool is_statistic(const char *name) {
    return ends_in(name, ".running_mean") || ends_in(name, ".running_var") ||
           ends_in(name, ".num_batches_tracked");
}

// A batch norm has a weight beside its statistics, an instance norm does not.
static bool is_stale(const struct weights *w, const char *name) {
    char beside[WEIGHTS_NAME_MAX + 16];
    if (!is_statistic(name))
        return false;
    (void)snprintf(beside, sizeof beside, "%.*s.weight", (int)(strrchr(name, '.') - name), name);
    return !weights_find(w, beside);
}

static void drop_stale(struct weights *w) {
    int dropped;
    for (int i = 0; i < w->count; i++)
        // Marked first and dropped later: is_stale still searches the whole list.
        w->entries[i].storage = is_stale(w, w->entries[i].tensor.name) ? -1 : w->entries[i].storage;
    dropped = drop_marked(w);
    if (dropped)
        weights_note(w, "%d running statistics of instance norms dropped: nothing reads them",
                     dropped);
}

// ---- the whole ----

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int check_names(const struct weights *w) {
    const char **names = xcalloc((size_t)w->count + 1, sizeof *names);
    const char *twice = NULL;
    for (int i = 0; i < w->count; i++)
        names[i] = w->entries[i].tensor.name;
    qsort(names, (size_t)w->count, sizeof *names, by_name);
    for (int i = 1; i < w->count; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            twice = names[i];
    free(names);
    return twice ? err_set(ERR_FORMAT, "'%s' holds %s twice", w->path, twice) : ERR_OK;
}

int weights_convert_names(struct weights *w) {
    strip_wrappers(w);
    int err = choose_net(w);
    if (err)
        return err;
    strip_wrappers(w); // of a net inside the model
    drop_stale(w);
    return check_names(w);
}
