// Walks IN, names the outputs, and decides about those that exist. Nothing is translated here.
#include "translate/file_list.h"

#include <dirent.h>
#include <fcntl.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "image/format.h"
#include "translate/scratch.h"

// State of the walk through IN. `taken` is a search tree of the output paths so far.
struct walk {
    const struct file_list_options *options;
    const char *format;
    struct file_list *list;
    void *taken;
    struct stat out; // the folder OUT, if it exists
    bool has_out;
    size_t in_skip, out_skip; // of paths, to get names relative to IN and OUT
};

static bool ends_in(const char *name, const char *const *ends, size_t n) {
    const char *dot = strrchr(name, '.');
    // A dot in front of a name makes it hidden; it begins no ending.
    for (size_t i = 0; dot && dot != name && dot[-1] != '/' && i < n; i++)
        if (strcasecmp(dot + 1, ends[i]) == 0)
            return true;
    return false;
}

bool file_list_is_jpeg(const char *path) {
    static const char *const ends[] = {"jpg", "jpeg"};
    return ends_in(path, ends, COUNT(ends));
}

static bool is_png(const char *path) {
    static const char *const ends[] = {"png"};
    return ends_in(path, ends, COUNT(ends));
}

static int by_text(const void *a, const void *b) {
    return strcmp(a, b);
}

static void keep_node(void *text) {
    // The items own the texts of the tree.
}

static bool is_taken(struct walk *w, const char *out) {
    return tfind(out, &w->taken, by_text) != NULL;
}

// Takes ownership of both texts.
static void add_item(struct walk *w, char *in, char *out) {
    struct file_list *l = w->list;
    // At powers of two and at 0 the list is full.
    if (!(l->n & (l->n - 1)))
        l->items = xrealloc(l->items, (size_t)(l->n ? 2 * l->n : 1) * sizeof *l->items);
    l->items[l->n++] = (struct file_list_item){in, out, in + w->in_skip, out + w->out_skip};
    // The tree holds the pointer; `out` lives as long as the list.
    if (!tsearch(out, &w->taken, by_text))
        BUG("no memory for a path");
}

// Whether `out` belongs to another input than `in`: one in the list, or a recorded one.
static bool is_others(struct walk *w, const char *in, const char *out) {
    const char *owner = output_record_input(w->list->record, out + w->out_skip);
    return is_taken(w, out) || (owner && strcmp(owner, in + w->in_skip) != 0);
}

// The output that was made from `in` before. NULL: none in the present format.
static char *recorded_output(struct walk *w, const char *in) {
    const char *name = output_record_output(w->list->record, in + w->in_skip);
    const char *dot = name ? strrchr(name, '.') : NULL;
    // Another --format makes new outputs beside the old ones.
    if (!dot || strcmp(dot + 1, w->format) != 0)
        return NULL;
    char *out = xasprintf("%s/%s", w->options->out, name);
    if (!is_taken(w, out))
        return out;
    free(out);
    return NULL;
}

// Takes ownership of `in`. Names tried: b.png for b.jpg, then b.jpg.png, then b.jpg-2.png, ...
static void add_named(struct walk *w, char *in, const char *name, const char *folder) {
    char *out = recorded_output(w, in);
    for (int i = 0; !out; i++) {
        if (i == 0)
            out = xasprintf("%s/%.*s.%s", folder, (int)image_stem_length(name), name, w->format);
        else if (i == 1)
            out = xasprintf("%s/%s.%s", folder, name, w->format);
        else
            out = xasprintf("%s/%s-%d.%s", folder, name, i, w->format);
        // Ends, since each name is taken by at most one of finitely many inputs.
        if (is_others(w, in, out)) {
            free(out);
            out = NULL;
        }
    }
    add_item(w, in, out);
}

// Makes a folder of outputs, and creates a file in it: a folder that cannot be written is found
// before anything is translated.
static int make_folder(const char *folder) {
    int err = fs_mkdirs(folder, 0755);
    return err ? err : scratch_probe(folder);
}

static int visible(const struct dirent *e) {
    return e->d_name[0] != '.';
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

// Whether an image below `folder` is not one of our outputs. Names in the record begin at `skip`.
static bool holds_originals(const struct walk *w, const char *folder, size_t skip) {
    struct dirent **entries = NULL;
    int n = scandir(folder, &entries, visible, by_name);
    bool found = false;
    for (int i = 0; i < n; i++) {
        char *path = xasprintf("%s/%s", folder, entries[i]->d_name);
        if (!found && fs_is_dir(path))
            found = holds_originals(w, path, skip);
        else if (!found)
            found = image_is_candidate(AT_FDCWD, path) &&
                    !output_record_input(w->list->record, path + skip);
        free(path);
        free(entries[i]);
    }
    free(entries);
    return found;
}

static int refuse_out(const struct walk *w) {
    return err_set(
        ERR_USAGE,
        "OUT '%s' holds pictures that are to be translated; name another folder, so that "
        "no original is replaced",
        w->options->out);
}

static int list_folder(struct walk *w, const char *in, const char *out);

// Takes ownership of `path`.
static int visit_entry(struct walk *w, char *path, const char *name, const char *out) {
    struct stat st;
    // Links to folders could form a circle; links to images are fine.
    if (lstat(path, &st) || S_ISLNK(st.st_mode) || !S_ISDIR(st.st_mode)) {
        w->list->linked += w->options->recursive && fs_is_dir(path);
        if (!fs_is_dir(path) && image_is_candidate(AT_FDCWD, path))
            add_named(w, path, name, out);
        else
            free(path);
        return ERR_OK;
    }
    // By device and inode: OUT may be written in several ways.
    bool is_out = w->has_out && st.st_dev == w->out.st_dev && st.st_ino == w->out.st_ino;
    int err = ERR_OK;
    // The walk skips OUT, so originals in it would be missed.
    if (is_out && w->options->recursive && holds_originals(w, path, strlen(path) + 1))
        err = refuse_out(w);
    if (w->options->recursive && !is_out) {
        char *below = xasprintf("%s/%s", out, name);
        err = list_folder(w, path, below);
        free(below);
    }
    free(path);
    return err;
}

static int list_folder(struct walk *w, const char *in, const char *out) {
    struct dirent **entries = NULL;
    int n = scandir(in, &entries, visible, by_name), before = w->list->n, err = ERR_OK;
    if (n < 0)
        return fs_failed("read folder", in);
    for (int i = 0; i < n; i++) {
        if (!err)
            err =
                visit_entry(w, xasprintf("%s/%s", in, entries[i]->d_name), entries[i]->d_name, out);
        free(entries[i]);
    }
    free(entries);
    // Only folders that get an output are made.
    return err || w->list->n == before ? err : make_folder(out);
}

// The folder that a path is in; the caller frees it.
static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? xasprintf("%.*s", (int)MAX(slash - path, 1), path) : xstrdup(".");
}

static int list_single(struct walk *w) {
    const struct file_list_options *o = w->options;
    if ((is_png(o->out) || file_list_is_jpeg(o->out)) && !fs_is_dir(o->out)) {
        add_item(w, xstrdup(o->in), xstrdup(o->out));
        char *folder = folder_of(o->out);
        int err = make_folder(folder);
        free(folder);
        return err;
    }
    const char *slash = strrchr(o->in, '/');
    int err = output_record_open(o->out, &w->list->record);
    if (err)
        return err;
    w->in_skip = slash ? (size_t)(slash + 1 - o->in) : 0;
    // The record holds names relative to OUT, so the folder can be moved.
    w->out_skip = strlen(o->out) + 1;
    add_named(w, xstrdup(o->in), o->in + w->in_skip, o->out);
    return make_folder(o->out);
}

static int choose_format(struct walk *w) {
    const struct file_list_options *o = w->options;
    bool jpeg = file_list_is_jpeg(o->out), is_file = jpeg || is_png(o->out);
    w->format = o->format ? o->format : o->usual;
    if (!is_file || fs_is_dir(o->in) || fs_is_dir(o->out) || !o->format ||
        jpeg == (strcmp(o->format, "jpg") == 0))
        return ERR_OK;
    return err_set(ERR_USAGE, "--format %s, but the name of '%s' says otherwise", o->format,
                   o->out);
}

static int list_tree(struct walk *w) {
    const struct file_list_options *o = w->options;
    int err = output_record_open(o->out, &w->list->record);
    w->in_skip = strlen(o->in) + 1;
    w->out_skip = strlen(o->out) + 1;
    return err ? err : list_folder(w, o->in, o->out);
}

static bool is_same_file(const char *a, const char *b) {
    struct stat x, y;
    return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

// Outputs must not replace inputs, nor lie among them: OUT is neither IN nor the folder of IN.
static int check_places(const struct walk *w) {
    const struct file_list_options *o = w->options;
    bool is_file = (is_png(o->out) || file_list_is_jpeg(o->out)) && !fs_is_dir(o->out);
    char *folder = fs_is_dir(o->in) ? xstrdup(o->in) : folder_of(o->in);
    bool same =
        !fs_is_dir(o->in) && is_file ? is_same_file(o->in, o->out) : is_same_file(folder, o->out);
    free(folder);
    return same ? refuse_out(w) : ERR_OK;
}

static int list_all(struct walk *w) {
    const struct file_list_options *o = w->options;
    int err = choose_format(w);
    if (err)
        return err;
    if (!fs_exists(o->in))
        return err_set(ERR_IO, "there is no '%s'", o->in);
    w->has_out = stat(o->out, &w->out) == 0;
    err = check_places(w);
    if (!err)
        err = fs_is_dir(o->in) ? list_tree(w) : list_single(w);
    if (!err && !w->list->n)
        err = err_set(ERR_IO, "no pictures in '%s'%s", o->in,
                      o->recursive ? "" : "; --recursive looks into its folders too");
    return err;
}

static void item_fini(struct file_list_item *i) {
    free(i->in);
    free(i->out);
}

// Whether an existing output was made from the present bytes of its input. An output without a
// record is kept too: an earlier version of this program, or a killed one, has made it.
static bool is_kept(const struct file_list *l, const struct file_list_item *i) {
    return !l->record || !output_record_input(l->record, i->out_name) ||
           output_record_is_current(l->record, i->in_name, i->in);
}

// Refuses, keeps or ignores outputs that exist already.
static int treat_existing(struct file_list *l, enum file_list_existing existing) {
    int kept = 0, n = l->n;
    char *example = NULL;
    for (int i = 0; existing != FILE_LIST_REPLACE && i < n; i++) {
        bool there = fs_exists(l->items[i].out);
        // --resume counts what is kept, a refusal all that exist.
        l->present += there && (existing != FILE_LIST_KEEP || is_kept(l, &l->items[i]));
        if (there && !example)
            example = xstrdup(l->items[i].out);
        if (there && existing == FILE_LIST_KEEP && is_kept(l, &l->items[i]))
            item_fini(&l->items[i]);
        else
            l->items[kept++] = l->items[i];
    }
    if (existing != FILE_LIST_REPLACE)
        l->n = kept;
    int err = existing == FILE_LIST_REFUSE && l->present
                  ? err_set(ERR_USAGE,
                            "%d of %d outputs are there already, '%s' for one: --resume leaves "
                            "them as they are and makes the rest, --force replaces them",
                            l->present, n, example)
                  : ERR_OK;
    free(example);
    return err;
}

int file_list_make(const struct file_list_options *options, struct file_list *ret) {
    struct file_list list = {0};
    struct walk w = {.options = options, .list = &list};
    int err = list_all(&w);
    // Before treat_existing, which frees texts that the tree refers to.
    tdestroy(w.taken, keep_node);
    if (!err)
        err = treat_existing(&list, options->existing);
    if (err) {
        file_list_fini(&list);
        return err;
    }
    *ret = list;
    return ERR_OK;
}

void file_list_fini(struct file_list *l) {
    for (int i = 0; i < l->n; i++)
        item_fini(&l->items[i]);
    free(l->items);
    output_record_close(l->record);
    *l = (struct file_list){0};
}
