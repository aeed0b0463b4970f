// What a model sets where nobody else has: the RECIPE lines of config.def.
#include <string.h>

#include "base/err.h"
#include "config/key.h"

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
        if (config_origin(d, key, domain)->layer > 0)
            continue;
        config_value_parse(key, r->value, &value);
        if (!config_value_store(d->config, key, domain, &value, problem, sizeof problem))
            BUG("recipe of %s: %s", r->model, problem);
    }
}
