// exec - any executable as a curator. It reads the candidates from stdin, one JSON object a line,
//
//   {"path":"trainA/1.jpg","root":"/data","w":256,"h":256,"bytes":12345}
//
// and answers on stdout, in any order, a line for each:
//
//   {"path":"trainA/1.jpg","keep":false,"reason":"dark","score":12.5}
//
// reason and score may be left out. What it writes to stderr goes into the log.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <yajl/yajl_gen.h>
#include <yajl/yajl_tree.h>

#include "base/err.h"
#include "base/script.h"
#include "base/text.h"
#include "base/util.h"
#include "kinds/curators.h"
#include "kinds/folder.h"

struct verdict_reader {
    struct curation *c;
    bool *answered; // one per picture of the list
    size_t answers;
};

static int scan_candidates(struct curation *c) {
    // The digest of the script's file. Its other inputs are not known here.
    int err = curation_depends_on(c, c->settings->command);
    return err ? err : folder_scan(c);
}

// ---- candidates ----

static void put_text(yajl_gen g, const char *text) {
    (void)yajl_gen_string(g, (const unsigned char *)text, strlen(text)); // checked by caller
}

static void put_number(yajl_gen g, const char *key, uint64_t value) {
    put_text(g, key);
    (void)yajl_gen_integer(g, (long long)value); // fails only if the generator is full or misused
}

// Adds one line. False if the name is not UTF-8: JSON has no other strings.
static bool add_candidate(struct text *t, const char *root, const struct picture *p) {
    const unsigned char *text;
    size_t size;
    // A generator for each line: it takes nothing more after one document.
    yajl_gen g = yajl_gen_alloc(NULL);
    (void)yajl_gen_config(g, yajl_gen_validate_utf8, 1); // cannot fail: yajl has this option
    (void)yajl_gen_map_open(g);
    put_text(g, "path");
    bool ok =
        yajl_gen_string(g, (const unsigned char *)p->path, strlen(p->path)) == yajl_gen_status_ok;
    put_text(g, "root");
    ok = ok && yajl_gen_string(g, (const unsigned char *)root, strlen(root)) == yajl_gen_status_ok;
    put_number(g, "w", (uint64_t)p->w);
    put_number(g, "h", (uint64_t)p->h);
    put_number(g, "bytes", p->size);
    (void)yajl_gen_map_close(g);
    if (ok && yajl_gen_get_buf(g, &text, &size) == yajl_gen_status_ok)
        text_add(t, "%.*s\n", (int)size, (const char *)text);
    yajl_gen_free(g);
    return ok;
}

static struct text candidates(struct curation *c) {
    struct text t = {0};
    // An empty input, not NULL.
    text_add(&t, "%s", ""); // there may be none
    for (size_t i = 0; i < c->walk.found.count; i++) {
        struct picture *p = &c->walk.found.items[i];
        // Held-out folders are not judged by the script.
        if (picture_is_good(p) && !add_candidate(&t, c->root, p))
            picture_reject(p, "not_utf8", NAN, "a name that is not UTF-8 cannot be said in JSON");
    }
    return t;
}

// ---- verdicts ----

static yajl_val member(yajl_val object, const char *key, yajl_type type) {
    const char *path[] = {key, NULL};
    return yajl_tree_get(object, path, type);
}

static int refuse_line(const struct verdict_reader *x, const char *line, const char *what) {
    return err_set(ERR_DATA, "'%s' wrote \"%.200s\": %s", x->c->settings->command, line, what);
}

static int apply_verdict(struct verdict_reader *x, const char *line, yajl_val v) {
    yajl_val path = member(v, "path", yajl_t_string), keep = member(v, "keep", yajl_t_any);
    yajl_val reason = member(v, "reason", yajl_t_string);
    yajl_val score = member(v, "score", yajl_t_number);
    // yajl_tree_get with yajl_t_any takes any type; only booleans are meant here.
    if (!path || !keep || !(YAJL_IS_TRUE(keep) || YAJL_IS_FALSE(keep)))
        return refuse_line(x, line, "\"path\" and \"keep\": true or false are needed");
    struct picture *p = pictures_find(&x->c->walk.found, path->u.string);
    // Pictures lie in one array, so the pointer gives the index.
    size_t index = p ? (size_t)(p - x->c->walk.found.items) : 0;
    // Asked before picture_is_good: a second verdict for a rejected picture is still a second one.
    if (p && x->answered[index])
        return refuse_line(x, line, "the picture has a verdict already");
    if (!p || !picture_is_good(p))
        return refuse_line(x, line, "no such candidate");
    x->answered[index] = true;
    x->answers++;

    // yajl offers a whole number as a double too.
    p->score = score && YAJL_IS_DOUBLE(score) ? YAJL_GET_DOUBLE(score) : NAN;
    if (YAJL_IS_FALSE(keep))
        picture_reject(p, reason ? reason->u.string : "script", p->score, "%s", "");
    return ERR_OK;
}

static int take_line(void *context, const char *line) {
    struct verdict_reader *x = context;
    char problem[256];
    // Blank lines are passed over; scripts print them easily.
    if (!*line)
        return ERR_OK;
    yajl_val v = yajl_tree_parse(line, problem, sizeof problem);
    if (!v)
        return refuse_line(x, line, "not JSON");
    int err = YAJL_IS_OBJECT(v) ? apply_verdict(x, line, v) : refuse_line(x, line, "not an object");
    yajl_tree_free(v);
    return err;
}

static void pass_on_line(void *context, const char *line) {
    const struct verdict_reader *x = context;
    curation_say(x->c, "info", "script", "%s: %s", picture_name(x->c->settings->command), line);
}

static int check_complete(const struct verdict_reader *x) {
    size_t missing = 0, first = 0, asked = x->answers;
    const struct pictures *list = &x->c->walk.found;
    // Backwards, so that `first` ends as the first by path.
    for (size_t i = list->count; i-- > 0;)
        if (picture_is_good(&list->items[i]) && !x->answered[i]) {
            missing++;
            first = i;
        }
    asked += missing;
    if (!missing)
        return ERR_OK;
    return err_set(ERR_DATA, "'%s' gave no verdict for '%s' (and %zu others of %zu candidates)",
                   x->c->settings->command, list->items[first].path, missing - 1, asked);
}

static int review_by_script(struct curation *c) {
    struct text text = candidates(c);
    struct verdict_reader x = {.c = c, .answered = xcalloc(c->walk.found.count, sizeof(bool))};
    const char *const argv[] = {c->settings->command, NULL};
    struct script_job job = {
        // The whole input is in memory: script_run writes and reads at the same time.
        .command = c->settings->command,
        .argv = argv,
        .folder = c->workdir,
        .input = text.bytes,
        .input_size = text.size,
        .timeout_us = c->settings->timeout_s * 1000000,
        .timeout_name = "curator's timeout_s",
        .cancel = c->cancel,
        .context = &x,
        .take = take_line,
        .complain = pass_on_line,
    };
    int err = script_run(&job);
    if (!err)
        // Only after the script has ended can an answer be missing.
        err = check_complete(&x);
    free(x.answered);
    free(text.bytes);
    return err;
}

const struct curator curator_exec = {
    .name = "exec",
    .help =
        "your own executable decides: candidates as JSON lines on stdin, verdicts on stdout.\n"
        "           Settings: command, timeout_s, include, exclude, recursive, min_side, max_side, "
        "limit",
    .scan = scan_candidates,
    .review = review_by_script,
};
