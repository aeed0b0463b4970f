// utf8 - texts from file names may hold any bytes. They are escaped before they enter JSON or SQL,
// and can be turned back.
#include "base/utf8.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/util.h"

// Bytes of the character that the text begins with; 0 if that is none. Table 3-7 of the Unicode
// standard: the second byte's range depends on the first, all others are 80..BF.
static int character_bytes(const uint8_t *t) {
    // C0 and C1 would be overlong forms, and F5 and above are beyond U+10FFFF.
    int n = t[0] < 0x80   ? 1
            : t[0] < 0xc2 ? 0
            : t[0] < 0xe0 ? 2
            : t[0] < 0xf0 ? 3
            : t[0] < 0xf5 ? 4
                          : 0;
    // E0 and F0 exclude overlong forms, ED the surrogates, F4 what is above U+10FFFF.
    uint8_t low = t[0] == 0xe0 ? 0xa0 : t[0] == 0xf0 ? 0x90 : 0x80;
    uint8_t high = t[0] == 0xed ? 0x9f : t[0] == 0xf4 ? 0x8f : 0xbf;
    if (n > 1 && (t[1] < low || t[1] > high))
        return 0;
    for (int i = 2; i < n; i++) // the 0 at the end of the text is out of range too
        if (t[i] < 0x80 || t[i] > 0xbf)
            return 0;
    return n;
}

bool utf8_is_valid(const char *text) {
    const uint8_t *t = (const uint8_t *)text;
    while (*t) {
        int n = character_bytes(t);
        if (!n)
            return false;
        t += n;
    }
    return true;
}

char *utf8_escape(const char *bytes) {
    struct text t = {0};
    text_add(&t, "%s", "");
    for (const char *at = bytes; *at;) {
        int n = character_bytes((const uint8_t *)at);
        if (!n)
            text_add(&t, "\\x%02x", (uint8_t)*at);
        // The backslash is doubled, so that escaping can be undone.
        else if (*at == '\\')
            text_add(&t, "\\\\");
        else
            text_add_bytes(&t, at, (size_t)n);
        at += MAX(n, 1);
    }
    return t.bytes;
}

static int digit_of(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

char *utf8_unescape(const char *text) {
    // The result is never longer than the text.
    char *bytes = xstrdup(text), *to = bytes;
    for (const char *at = text; *at;) {
        bool hex = at[0] == '\\' && at[1] == 'x' && digit_of(at[2]) >= 0 && digit_of(at[3]) >= 0;
        if (hex)
            *to++ = (char)(digit_of(at[2]) << 4 | digit_of(at[3]));
        else
            *to++ = *at;
        at += hex ? 4 : at[0] == '\\' && at[1] == '\\' ? 2 : 1;
    }
    *to = 0;
    return bytes;
}
