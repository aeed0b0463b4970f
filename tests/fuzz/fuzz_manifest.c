// A manifest file, and its bytes as one line. What is accepted is formatted as it was.
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/text.h"
#include "base/util.h"
#include "fuzz/fuzz.h"
#include "manifest.h"

static void try_line(const uint8_t *bytes, size_t size) {
    static char line[32768];
    struct manifest_record r;
    if (manifest_parse((const char *)bytes, size, &r))
        return;
    int length = manifest_format(&r, line, sizeof line);
    size -= bytes[size - 1] == '\n';
    FUZZ_CHECK(length == (int)size + 1 && memcmp(line, bytes, size) == 0);
    free(r.path);
}

// The file is `bytes` with the digest that holds.
static void try_file(const uint8_t *bytes, size_t size) {
    static const char *const root_line = "\nroot ";
    struct text file = {0}, hashed = {0};
    uint8_t digest[32];
    char hex[65];
    struct manifest *m;
    text_add_bytes(&file, bytes, size);
    const char *root = memmem(file.bytes, size, root_line, strlen(root_line));
    const char *end = root ? strchr(root + 1, '\n') : NULL;
    size_t before = end ? (size_t)(root + 1 - file.bytes) : size;
    text_add_bytes(&hashed, file.bytes, before);
    if (end)
        text_add_bytes(&hashed, end + 1, size - (size_t)(end + 1 - file.bytes));
    digest_bytes(hashed.bytes, hashed.size, digest);
    digest_hex(digest, hex);
    text_add(&file, "digest %s\n", hex);
    fuzz_write("input", file.bytes, file.size);
    if (manifest_load("input", &m) == ERR_OK) {
        uint8_t *again;
        size_t again_size;
        FUZZ_CHECK(manifest_save(m, "again") == ERR_OK);
        FUZZ_CHECK(fs_read("again", SIZE_MAX, &again, &again_size) == ERR_OK);
        FUZZ_CHECK(again_size == file.size && memcmp(again, file.bytes, file.size) == 0);
        free(again);
        manifest_free(m);
    }
    free(file.bytes);
    free(hashed.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    try_line(bytes, size);
    try_file(bytes, size);
    return 0;
}

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

void fuzz_seeds(void) {
    fuzz_write_text("line", "1234 " HEX " 16 9 a/b%25%0A.jpg\n");
    fuzz_write_text("empty", "cyclegan-manifest 1\ndomain A\nroot /\ncount 0\nheld_out 0\n");
    fuzz_write_text("two", "cyclegan-manifest 1\ndomain A\nroot /data%25\ncount 2\nheld_out 1\n"
                           "1 " HEX " 1 1 a.png\n12 " HEX " 16 9 b/c.jpg\n9 " HEX " 7 7 a\n");
}
