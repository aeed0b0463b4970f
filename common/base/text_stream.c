#include "base/text_stream.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"

FILE *text_open(char **ret_text, size_t *ret_size) {
    FILE *out = open_memstream(ret_text, ret_size);
    if (!out)
        BUG("open_memstream: %s", strerror(errno));
    return out;
}

void text_close(FILE *out) {
    if (fclose(out))
        BUG("open_memstream: %s", strerror(errno));
}
