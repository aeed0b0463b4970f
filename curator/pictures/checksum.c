// checksum - the last line of the cache files, and their hex coding. Hex keeps spaces and newlines
// in texts from breaking the line format.
#include "pictures/checksum.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/digest.h"

// "digest ", 64 hex digits, newline.
#define LINE_BYTES (7 + 64 + 1)

static void last_line(const char *bytes, size_t size, char ret[LINE_BYTES + 1]) {
    uint8_t digest[32];
    char hex[65];
    digest_bytes(bytes, size, digest);
    digest_hex(digest, hex);
    (void)snprintf(ret, LINE_BYTES + 1, "digest %s\n", hex); // fits
}

void checksum_seal(struct text *t) {
    char line[LINE_BYTES + 1];
    last_line(t->bytes, t->size, line);
    text_add(t, "%s", line);
}

bool checksum_holds(const char *bytes, size_t *size) {
    char line[LINE_BYTES + 1];
    // A file cut short has no such line.
    if (*size < LINE_BYTES)
        return false;
    last_line(bytes, *size - LINE_BYTES, line);
    if (memcmp(bytes + *size - LINE_BYTES, line, LINE_BYTES) != 0)
        return false;
    // The caller's size then covers the lines alone.
    *size -= LINE_BYTES;
    return true;
}

void checksum_add_hex(struct text *t, const void *bytes, size_t size) {
    static const char digits[] = "0123456789abcdef";
    const uint8_t *from = bytes;
    for (size_t i = 0; i < size; i++) {
        char pair[2] = {digits[from[i] >> 4], digits[from[i] & 15]};
        text_add_bytes(t, pair, sizeof pair);
    }
}

static int digit_of(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool checksum_take_hex(char **at, size_t size, void *ret_bytes) {
    uint8_t *to = ret_bytes;
    for (size_t i = 0; i < size; i++) {
        // The second digit is read only after a valid first one: a 0 may end the text there.
        int high = digit_of(**at), low = high < 0 ? -1 : digit_of((*at)[1]);
        if (low < 0)
            return false;
        to[i] = (uint8_t)(high << 4 | low);
        *at += 2;
    }
    return true;
}
