// digest: by the processor's instructions as by libsodium.
#include <string.h>

#include <sodium.h>

#include "base/digest.h"
#include "base/rng.h"
#include "base/sha256_x86.h"
#include "check.h"

static void the_standard_example_has_its_digest(void **state) {
    uint8_t digest[32];
    char hex[65];
    digest_bytes("abc", 3, digest);
    digest_hex(digest, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void every_length_equals_libsodium(void **state) {
    uint8_t bytes[1000], want[32], got[32];
    if (!sha256_x86_usable())
        skip();
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)rng_block(1, RNG_TEST, i, 9).v[0];
    for (size_t n = 0; n <= sizeof bytes; n++) {
        (void)crypto_hash_sha256(want, bytes, n);
        sha256_x86(bytes, n, got);
        assert_memory_equal(got, want, sizeof got);
    }
}

static void a_long_text_equals_libsodium(void **state) {
    static uint8_t bytes[(1 << 20) + 37];
    uint8_t want[32], got[32];
    memset(bytes, 0xa5, sizeof bytes);
    (void)crypto_hash_sha256(want, bytes, sizeof bytes);
    digest_bytes(bytes, sizeof bytes, got);
    assert_memory_equal(got, want, sizeof got);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_standard_example_has_its_digest),
        cmocka_unit_test(every_length_equals_libsodium),
        cmocka_unit_test(a_long_text_equals_libsodium),
    };
    return cmocka_run_group_tests_name("digest", tests, NULL, NULL);
}
