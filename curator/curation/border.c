#include "curation/border.h"

#include <stdlib.h>
#include <string.h>

#include "curation/duplicates.h"
#include "pictures/check.h"

enum { RANKS = 8 }; // on each side of the cut

static const char *near_rank(const struct curation *c, const struct picture *p) {
    size_t keep = c->curator->rank ? c->curator->keep(c->settings) : 0;
    if (!keep || keep >= c->ranked || !p->rank)
        return "";
    return p->rank + RANKS > keep && p->rank <= keep + RANKS ? c->curator->keep_name : "";
}

static bool near_twin(const struct curation *c, const struct picture *p) {
    int bits = (int)c->settings->near_duplicates;
    return bits && p->twin && abs(p->twin_bits - bits) <= DUPLICATES_BORDER;
}

const char *border_of(const struct curation *c, const struct picture *p) {
    double margin;
    if (!p->known)
        return "";
    const struct check *nearest = check_nearest(c->settings, p, &margin);
    bool close = nearest && margin <= CHECK_BORDER;
    if (p->verdict != VERDICT_REJECT && close)
        return nearest->setting;
    if (p->verdict == VERDICT_REJECT && close && strcmp(p->reason, nearest->reason) == 0)
        return nearest->setting;
    if ((p->verdict != VERDICT_REJECT || strcmp(p->reason, "near_duplicate") == 0) &&
        near_twin(c, p))
        return "near_duplicates";
    return p->verdict != VERDICT_REJECT || strcmp(p->reason, "rank") == 0 ? near_rank(c, p) : "";
}
