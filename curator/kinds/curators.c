// The table stays by itself, so that a new kind is one file and one row here.
#include "kinds/curators.h"

#include <string.h>

#include "base/err.h"
#include "base/text.h"

// In the order of --help; NULL ends it.
static const struct curator *const table[] = {
    &curator_folder, &curator_celeba, &curator_anime, &curator_bdd100k,
    &curator_paired, &curator_exec,   NULL,
};

const struct curator *curator_find(const char *name) {
    const struct curator *const *c = table;
    while (*c && strcmp((*c)->name, name) != 0)
        c++;
    if (!*c)
        // The configuration has checked the name against its own list.
        BUG("no curator '%s'", name);
    return *c;
}

char *curators_help(void) {
    struct text t = {0};
    for (const struct curator *const *c = table; *c; c++)
        text_add(&t, "  %-8s %s\n", (*c)->name, (*c)->help);
    return t.bytes;
}
