// digest - SHA-256 of memory and files, by the fastest implementation that this processor has.
#include "base/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <sodium.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/sha256_x86.h"

void digest_bytes(const void *bytes, size_t size, uint8_t ret[32]) {
    // libsodium computes it in plain C, eight times slower.
    if (sha256_x86_usable())
        sha256_x86(bytes, size, ret);
    else
        (void)crypto_hash_sha256(ret, bytes, size); // always 0
}

void digest_hex(const uint8_t digest[32], char ret[65]) {
    (void)sodium_bin2hex(ret, 65, digest, 32); // returns ret
}

int digest_file(const char *path, uint8_t ret[32], uint64_t *ret_size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fs_failed("open", path);

    crypto_hash_sha256_state state;
    // The file streams through libsodium: its state can be fed in pieces, unlike sha256_x86.
    (void)crypto_hash_sha256_init(&state); // these three always give 0
    // 64 KiB: few system calls, and still small for a stack.
    uint8_t piece[65536];
    uint64_t size = 0;
    ssize_t n;
    while ((n = read(fd, piece, sizeof piece)) > 0 || (n < 0 && errno == EINTR)) {
        if (n < 0)
            continue;
        (void)crypto_hash_sha256_update(&state, piece, (size_t)n);
        size += (uint64_t)n;
    }
    int err = n < 0 ? fs_failed("read", path) : ERR_OK;
    (void)close(fd); // it was only read
    if (err)
        return err;
    (void)crypto_hash_sha256_final(&state, ret);
    *ret_size = size;
    return ERR_OK;
}
