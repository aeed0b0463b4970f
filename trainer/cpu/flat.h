// flat - arrays in a fixed number of parts, so that sums do not depend on the number of threads.
#ifndef CPU_FLAT_H
#define CPU_FLAT_H

#include <stddef.h>

#include "base/util.h"

// Many more than cores, so that parts can be shared out evenly.
enum { CPU_PARTS = 256 };

// Where a part begins; part CPU_PARTS is the end.
// The first count % CPU_PARTS parts have one element more than the others.
static inline size_t cpu_part_begin(size_t count, int part) {
    return count / CPU_PARTS * part + MIN((size_t)part, count % CPU_PARTS);
}

#endif
