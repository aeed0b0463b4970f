// What an exec curator's program answers: the script is replaced by one that says the input, line
// by line. After a success every candidate has been answered once.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/script.h"
#include "base/util.h"
#include "fuzz/fuzz.h"
#include "kinds/curators.h"

static const char *answers;
static size_t answers_size;

int script_run(const struct script_job *job) {
    const char *end = answers + answers_size;
    int err = ERR_OK;
    for (const char *at = answers; at < end && !err;) {
        size_t n = strcspn(at, "\n");
        if (n > SCRIPT_LINE_MAX)
            return err_set(ERR_DATA, "a line of %zu bytes", n);
        char *line = xasprintf("%.*s", (int)n, at);
        err = job->take(job->context, line);
        free(line);
        at += strlen(at) + 1 > n + 1 ? n + 1 : strlen(at) + 1;
    }
    return err;
}

static void say(void *context, const char *level, const char *code, const char *text) {
}

static void add(struct curation *c, const char *path) {
    struct picture *p = pictures_add(&c->walk.found);
    p->path = xstrdup(path);
    p->w = p->h = 16;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct config_curator settings = {.use = "exec", .command = "script", .timeout_s = 1};
    struct curation c = {.settings = &settings, .say = say, .root = "/data"};
    char *text = xasprintf("%.*s", (int)size, (const char *)bytes);
    add(&c, "a.jpg");
    add(&c, "b/\"c\".jpg");
    add(&c, "not\xffutf8.jpg");
    pictures_sort(&c.walk.found);
    answers = text;
    answers_size = strlen(text);
    if (curator_exec.review(&c) == ERR_OK)
        for (const char *name = "ab"; *name; name++)
            FUZZ_CHECK(memchr(text, *name, answers_size));
    for (size_t i = 0; i < c.walk.found.count; i++)
        FUZZ_CHECK(memchr(c.walk.found.items[i].reason, 0, sizeof c.walk.found.items[i].reason));
    walk_fini(&c.walk);
    free(text);
    return 0;
}

void fuzz_seeds(void) {
    fuzz_write_text("answers", "{\"path\":\"a.jpg\",\"keep\":true}\n\n"
                               "{\"path\":\"b/\\\"c\\\".jpg\",\"keep\":false,\"reason\":\"dark\","
                               "\"score\":-12.5e1,\"more\":[1,null,{\"x\":\"\\u00e9\"}]}\n");
    char *deep = xmalloc(SCRIPT_LINE_MAX);
    memset(deep, '[', SCRIPT_LINE_MAX);
    fuzz_write("deep", deep, SCRIPT_LINE_MAX);
    memset(deep + SCRIPT_LINE_MAX / 2, ']', SCRIPT_LINE_MAX / 2);
    fuzz_write("deep-closed", deep, SCRIPT_LINE_MAX);
    free(deep);
}
