// draft - problems and origins of a configuration while its layers are read.
#include "config/draft.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "config/value.h"

void config_problems_fini(struct config_problems *problems) {
    free(problems->items);
    *problems = (struct config_problems){0};
}

void config_blame(struct config_draft *d, const char *where, const char *format, ...) {
    struct config_problems *p = d->problems;
    va_list arguments;
    p->items = xrealloc(p->items, (size_t)(p->count + 1) * sizeof *p->items);
    struct config_problem *item = &p->items[p->count++];
    // Both texts are cut: a problem is for a person.
    (void)text_copy(item->where, sizeof item->where, where);
    va_start(arguments, format);
    vsnprintf(item->text, sizeof item->text, format, arguments);
    va_end(arguments);
}

struct config_origin *config_origin(const struct config_draft *d, const struct config_key *key,
                                    int domain) {
    // A table for A and B; keys outside the curators use the first of the two only.
    return &d->origins[(key - config_keys) * 2 + domain];
}

void config_draft_init(struct config_draft *d, struct config_problems *problems) {
    *problems = (struct config_problems){0};
    d->config = config_new();
    d->origins = xcalloc((size_t)config_key_count * 2, sizeof *d->origins);
    d->problems = problems;
}

void config_draft_fini(struct config_draft *d) {
    for (int i = 0; i < config_key_count * 2; i++)
        free(d->origins[i].where);
    free(d->origins);
    config_free(d->config);
    *d = (struct config_draft){0};
}

int config_draft_end(struct config_draft *d, struct config **ret_config) {
    const struct config_problems *problems = d->problems;
    // Moved out, so that the end below does not free it.
    if (problems->count == 0) {
        *ret_config = d->config;
        d->config = NULL;
    }
    config_draft_fini(d);
    if (problems->count == 0)
        return ERR_OK;
    return err_set(ERR_CONFIG, "%s: %s%s", problems->items[0].where, problems->items[0].text,
                   problems->count > 1 ? " (and more)" : "");
    // The first problem is the text of the error; callers print all of them.
}

#define RECIPE(model, path, value) {model, path, value},
const struct config_recipe config_recipes[] = {
#include "config/config.def"
    {NULL, NULL, NULL},
};

void config_take_recipe(struct config_draft *d) {
    for (const struct config_recipe *r = config_recipes; r->model; r++) {
        struct config_value value;
        char problem[200];
        int domain;
        if (strcmp(r->model, d->config->trainer.model) != 0)
            continue;
        const struct config_key *key = config_key_find(r->path, &domain);
        if (!key)
            BUG("recipe of %s: no setting %s", r->model, r->path);
        // A value of any layer wins over the model's default.
        if (config_origin(d, key, domain)->layer > 0)
            continue;
        config_value_parse(key, r->value, &value);
        // A recipe is part of the program, so a wrong one is a bug.
        if (!config_value_store(d->config, key, domain, &value, problem, sizeof problem))
            BUG("recipe of %s: %s", r->model, problem);
    }
}
