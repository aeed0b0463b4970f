// Both containers of PyTorch share this: which dict holds the net, and where its tensors are.
#include "weights/pth.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "base/util.h"

#define NAMES_SHOWN 20

// ---- storages ----

int pth_storage_add(struct pth_storages *s, const char *what, const struct pickle_storage *p,
                    int *ret_i) {
    struct pth_storage new = {.element_bytes = p->element_bytes, .count = p->count};
    if (p->key_size < 1 || p->key_size > PTH_KEY_MAX || memchr(p->key, 0, p->key_size))
        return err_set(ERR_FORMAT, "%s: a storage's key of %zu bytes", what, p->key_size);
    // An element has at most 8 bytes, so size in bytes cannot overflow later.
    if (p->count > (UINT64_MAX >> 8))
        return err_set(ERR_FORMAT, "%s: a storage of %llu elements", what,
                       (unsigned long long)p->count);
    memcpy(new.key, p->key, p->key_size);
    for (int i = 0; i < s->count; i++) {
        const struct pth_storage *old = &s->items[i];
        // Tied weights share a storage, and then its key comes up again.
        if (strcmp(old->key, new.key) != 0)
            continue;
        if (old->element_bytes != new.element_bytes || old->count != new.count)
            return err_set(ERR_FORMAT, "%s: storage %s is of two types or sizes", what, new.key);
        *ret_i = i;
        return ERR_OK;
    }
    if (s->count == PTH_STORAGES_MAX)
        return err_set(ERR_LIMIT, "%s: more than %d storages", what, PTH_STORAGES_MAX);
    if (s->count == s->capacity) {
        s->capacity = MAX(32, s->capacity + s->capacity / 2);
        s->items = xrealloc(s->items, (size_t)s->capacity * sizeof *s->items);
    }
    s->items[s->count] = new;
    *ret_i = s->count++;
    return ERR_OK;
}

void pth_storages_fini(struct pth_storages *s) {
    free(s->items);
    *s = (struct pth_storages){0};
}

// ---- which dict ----

static int count_tensors(const struct pickle *p, struct pickle_value dict) {
    struct pickle_entry e;
    uint32_t cursor = 0;
    int n = 0;
    // Only tensors directly in the dict count. A value may contain itself, so no recursion.
    while (dict.kind == PICKLE_DICT && pickle_next(p, dict, &cursor, &e))
        n += e.value.kind == PICKLE_TENSOR;
    return n;
}

static bool is_listable(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (text[i] < ' ' || text[i] > '~')
            return false;
    return size > 0 && size <= WEIGHTS_NAME_MAX;
}

// "a, b": the dicts with tensors, or else every name there is. Caller frees.
static char *list_names(const struct pickle *p, bool with_tensors) {
    struct pickle_entry e;
    uint32_t cursor = 0;
    char *list;
    size_t size, n = 0;
    FILE *out = text_open(&list, &size);
    while (n < NAMES_SHOWN && pickle_next(p, pickle_root(p), &cursor, &e)) {
        if (e.key.kind != PICKLE_TEXT || (with_tensors && !count_tensors(p, e.value)))
            continue;
        const char *key = pickle_text(p, e.key, &size);
        if (is_listable(key, size))
            fprintf(out, "%s%.*s", n++ ? ", " : "", (int)size, key);
    }
    text_close(out);
    return list;
}

static int refuse_dict(const struct weights *w, const struct pickle *p, int n) {
    char *names = list_names(p, n > 0);
    int err = n ? err_set(ERR_FORMAT, "'%s' holds several state dicts (%s); choose with '%s#NAME'",
                          w->path, names, w->path)
                : err_set(ERR_FORMAT, "'%s' holds no state dict; its names: %s", w->path, names);
    free(names);
    return err;
}

// The dict below the root with tensors that is called `name`, and the number of all such dicts.
static struct pickle_value find_below(const struct pickle *p, const char *name,
                                      struct pickle_value *ret_last, int *ret_n) {
    struct pickle_value named = {0, 0};
    struct pickle_entry e;
    uint32_t cursor = 0;
    *ret_n = 0;
    while (pickle_next(p, pickle_root(p), &cursor, &e)) {
        if (!count_tensors(p, e.value))
            continue;
        ++*ret_n;
        *ret_last = e.value;
        if (pickle_is_text(p, e.key, name))
            named = e.value;
    }
    return named;
}

// The dict that was chosen by #NAME, "state_dict", or the only one. A NAME that is no dict may
// still be a net inside of the dict (names.c).
static int choose_below(struct weights *w, const struct pickle *p, struct pickle_value *ret) {
    struct pickle_value only = {0, 0}, named = {0, 0};
    const char *name = w->chosen;
    int n = 0;
    if (name)
        named = find_below(p, name, &only, &n);
    // Node 0 is unused, so a value at 0 means that none was found.
    if (named.at) {
        w->chosen = NULL;
    } else {
        name = "state_dict";
        named = find_below(p, name, &only, &n);
    }
    // Without a name, only a single dict is clear.
    if (!named.at && n != 1)
        return w->chosen
                   ? err_set(ERR_FORMAT, "'%s' holds no state dict named '%s'", w->path, w->chosen)
                   : refuse_dict(w, p, n);
    *ret = named.at ? named : only;
    weights_note(w, "taken from the dict %s in it", named.at ? name : "that is the only one");
    return ERR_OK;
}

static int choose_dict(struct weights *w, const struct pickle *p, struct pickle_value *ret) {
    struct pickle_value root = pickle_root(p);
    if (root.kind == PICKLE_TENSOR)
        return err_set(ERR_FORMAT, "'%s' holds one tensor and no names", w->path);
    if (root.kind != PICKLE_DICT)
        return err_set(ERR_FORMAT, "'%s' holds no dict of tensors", w->path);
    // A training checkpoint wraps the state dict, beside its epoch and optimizer.
    if (!count_tensors(p, root))
        return choose_below(w, p, ret);
    *ret = root;
    return ERR_OK;
}

// ---- tensors ----

// The number of elements from the first to the last. False if two indices share an element, or if
// it exceeds 2^62.
static bool span_of(const struct weights_entry *e, uint64_t *ret_span) {
    bool done[WEIGHTS_RANK_MAX] = {false};
    uint64_t span = 1;
    if (!e->tensor.count) {
        *ret_span = 0;
        return true;
    }
    for (int round = 0; round < e->tensor.rank; round++) { // by ascending stride
        int k = 0;
        while (done[k])
            k++;
        for (int i = k + 1; i < e->tensor.rank; i++)
            if (!done[i] && e->strides[i] < e->strides[k])
                k = i;
        done[k] = true;
        uint64_t further;
        // The stride of a dimension of size 1 is never used; PyTorch writes any value there.
        if (e->tensor.dims[k] == 1)
            continue;
        // A stride below the span of all smaller ones would let two indices meet.
        if ((uint64_t)e->strides[k] < span ||
            __builtin_mul_overflow((uint64_t)e->strides[k], (uint64_t)e->tensor.dims[k] - 1,
                                   &further) ||
            further > (UINT64_MAX >> 2))
            return false;
        span += further;
    }
    *ret_span = span;
    return true;
}

static int add_tensor(struct weights *w, const struct pickle *p, const struct pickle_entry *from,
                      struct pth_storages *s) {
    struct pickle_tensor t;
    struct weights_entry *e;
    size_t size;
    uint64_t span;
    pickle_tensor(p, from->value, &t);
    const char *name = pickle_text(p, from->key, &size);
    if (!is_listable(name, size))
        return err_set(ERR_FORMAT, "'%s' holds a tensor whose name cannot be shown", w->path);
    if (!t.storage.readable)
        return err_set(ERR_FORMAT, "'%s': %.*s is of type %s, which no weights have", w->path,
                       (int)size, name, t.storage.type_name);
    if (t.rank > WEIGHTS_RANK_MAX)
        return err_set(ERR_FORMAT, "'%s': %.*s has %d dimensions, more than %d", w->path, (int)size,
                       name, t.rank, WEIGHTS_RANK_MAX);
    int err = weights_add(w, name, size, t.storage.type, t.rank, t.dims, &e);
    if (!err)
        err = pth_storage_add(s, w->path, &t.storage, &e->storage);
    if (err)
        return err;
    e->offset = t.offset;
    memcpy(e->strides, t.strides, sizeof e->strides);
    if (!span_of(e, &span))
        return err_set(ERR_FORMAT, "'%s': elements of %s share a place (strides)", w->path,
                       e->tensor.name);
    // Compared by subtraction: offset + span could overflow.
    if (e->offset > t.storage.count || span > t.storage.count - e->offset)
        return err_set(ERR_FORMAT, "'%s': %s reaches beyond its storage of %llu elements", w->path,
                       e->tensor.name, (unsigned long long)t.storage.count);
    return ERR_OK;
}

// Otherwise a small file with many tensors on one storage would become a large net.
static int check_sum(const struct weights *w, const struct pth_storages *s) {
    uint64_t stored = 0, wanted = 0;
    for (int i = 0; i < s->count; i++)
        // Capped so that sums over at most 4096 storages or 1024 tensors stay below 2^64.
        stored += MIN(s->items[i].count * (uint64_t)s->items[i].element_bytes, UINT64_MAX >> 14);
    for (int i = 0; i < w->count; i++)
        wanted += MIN(w->entries[i].tensor.count *
                          (uint64_t)weights_element_bytes(w->entries[i].tensor.type),
                      UINT64_MAX >> 14);
    if (wanted <= stored)
        return ERR_OK;
    return err_set(ERR_FORMAT, "'%s': tensors of %llu bytes share storages of %llu", w->path,
                   (unsigned long long)wanted, (unsigned long long)stored);
}

static bool is_plain(const struct weights_tensor *t, const int64_t *strides) {
    int64_t stride = 1;
    for (int i = t->rank - 1; i >= 0; stride *= t->dims[i], i--)
        if (t->dims[i] > 1 && strides[i] != stride)
            return false;
    return true;
}

static void note_strides(struct weights *w) {
    int n = 0;
    for (int i = 0; i < w->count; i++)
        n += !is_plain(&w->entries[i].tensor, w->entries[i].strides);
    if (n)
        weights_note(w, "%d tensors of other strides become row-major", n);
}

int pth_list(struct weights *w, const struct pickle *p, struct pth_storages *s) {
    struct pickle_value dict = {0, 0};
    struct pickle_entry e;
    uint32_t cursor = 0;
    int others = 0, err = choose_dict(w, p, &dict);
    if (!err)
        err = weights_reserve(w, count_tensors(p, dict));
    while (!err && pickle_next(p, dict, &cursor, &e)) {
        if (e.value.kind != PICKLE_TENSOR)
            others++;
        else if (e.key.kind != PICKLE_TEXT)
            err = err_set(ERR_FORMAT, "'%s' holds a tensor without a name", w->path);
        else
            err = add_tensor(w, p, &e, s);
    }
    if (!err && others)
        weights_note(w, "%d entries of it are no tensors and are left out", others);
    if (!err)
        note_strides(w);
    return err ? err : check_sum(w, s);
}
