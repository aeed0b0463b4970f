// Kind pool: the exchange rule of the replay pool, on numbers for pictures.
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "golden/golden.h"
#include "replay_rule.h"

struct test_table {
    uint64_t capacity, filled;
    long long *slots;
    const struct json *draws;
    int drawn;
};

static long long pass(struct test_table *t, long long id) {
    bool full = t->filled == t->capacity && t->capacity > 0;
    const struct json *draw = full ? json_at(t->draws, t->drawn++) : NULL;
    long long position = full ? json_int_at(draw, 1) : 0;
    struct replay_action a = replay_rule(t->capacity, t->filled, full ? json_number_at(draw, 0) : 0,
                                         position < 0 ? 0 : (uint64_t)position);
    long long back = a.gives ? t->slots[a.position] : id;

    if (a.stores) {
        t->slots[a.position] = id;
        if (a.position == t->filled)
            t->filled++;
    }
    return back;
}

static void check_ids(struct golden_case *j, const char *what, const struct json *want,
                      const long long *got, int count) {
    if (json_count(want) != count)
        golden_complain(j, "%s: %d numbers, the file has %d", what, count, json_count(want));
    for (int i = 0; i < count && i < json_count(want); i++)
        if (got[i] != json_int_at(want, i))
            golden_fail(j, what, (double)got[i], (double)json_int_at(want, i), 0);
}

static const struct json *find_check(const struct json *c, const char *q) {
    const struct json *checks = json_get(c, "check");

    for (int i = 0; i < json_count(checks); i++)
        if (strcmp(json_text(json_at(checks, i), "q", ""), q) == 0)
            return json_at(checks, i);
    return NULL;
}

void case_pool(struct golden_case *j, const struct json *c) {
    struct test_table t = {.capacity = (uint64_t)json_int(c, "size", 0),
                           .draws = json_get(c, "draws")};
    const struct json *in = json_get(c, "ids_in"), *out = json_get(find_check(c, "ids_out"), "ids");
    const struct json *checks = json_get(c, "check");

    for (int i = 0; i < json_count(checks); i++) {
        const char *q = json_text(json_at(checks, i), "q", "");
        if (strcmp(q, "ids_out") != 0 && strcmp(q, "slots") != 0)
            golden_complain(j, "unknown quantity \"%s\"", q);
    }
    t.slots = xcalloc(t.capacity + 1, sizeof *t.slots);
    for (int i = 0; i < json_count(in); i++) {
        int count = json_count(json_at(in, i));
        long long *got = xcalloc((size_t)count + 1, sizeof *got);
        for (int k = 0; k < count; k++)
            got[k] = pass(&t, json_int_at(json_at(in, i), k));
        check_ids(j, "ids_out", json_at(out, i), got, count);
        free(got);
    }
    check_ids(j, "slots", json_get(find_check(c, "slots"), "ints"), t.slots, (int)t.filled);
    free(t.slots);
}
