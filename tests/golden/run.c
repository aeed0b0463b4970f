// Runs all cases of a file.
#include <stdio.h>
#include <string.h>

#include "golden/golden.h"

static void count(struct golden_totals *t, const struct golden_case *j) {
    if (j->failures) {
        t->failed++;
    } else if (j->skip[0]) {
        t->skipped++;
        printf("SKIP %s: %s\n", j->name, j->skip);
    } else {
        t->passed++;
    }
    (void)fflush(stdout); // a report that the next case may outlive
}

// False if no function checks such a case.
static bool run_case(struct golden_case *j, const struct golden_kind *kinds, const struct json *c) {
    const char *kind = json_text(c, "kind", "");

    for (; kinds->name; kinds++)
        if (strcmp(kinds->name, kind) == 0) {
            if (kinds->run)
                kinds->run(j, c);
            return kinds->run != NULL;
        }
    golden_complain(j, "unknown kind \"%s\"", kind);
    return true;
}

void golden_run(const struct golden_case *how, const struct golden_kind *kinds,
                const struct json *file, struct golden_totals *t) {
    struct golden_case hash = *how;
    const struct json *cases = json_get(file, "cases");

    if (json_get(file, "hash_check")) {
        case_hash(&hash, json_get(file, "hash_check"));
        count(t, &hash);
    }
    for (int i = 0; i < json_count(cases); i++) {
        const struct json *c = json_at(cases, i);
        struct golden_case j = *how;
        j.name = json_text(c, "name", "(no name)");
        if (run_case(&j, kinds, c))
            count(t, &j);
        else
            t->apart++;
    }
}
