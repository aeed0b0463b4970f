// Kind pool: the exchange rule of the replay pool.
#include "golden.h"

void case_pool(struct judge *j, yajl_val c) {
    judge_skip(j, "the pool's exchange rule is not linked yet");
}
