// Escaping of texts that are no UTF-8: what is valid by RFC 3629, and that nothing is lost.
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/utf8.h"
#include "base/util.h"
#include "check.h"

static void valid_and_invalid_forms_are_told_apart(void **state) {
    static const char *const valid[] = {"",
                                        "a\\b",
                                        "\xc2\x80",
                                        "\xe0\xa0\x80",
                                        "\xed\x9f\xbf",
                                        "\xef\xbf\xbf",
                                        "\xf0\x90\x80\x80",
                                        "\xf4\x8f\xbf\xbf"};
    static const char *const invalid[] = {"\x80",         "\xc0\xaf",         "\xc2",
                                          "\xe0\x9f\xbf", "\xed\xa0\x80",     "\xe2\x82",
                                          "\xff",         "\xf4\x90\x80\x80", "\xf0\x8f\xbf\xbf"};
    for (size_t i = 0; i < COUNT(valid); i++)
        assert_true(utf8_is_valid(valid[i]));
    for (size_t i = 0; i < COUNT(invalid); i++)
        assert_false(utf8_is_valid(invalid[i]));
}

static void escaped_text_is_valid_and_leads_back(void **state) {
    char *known = utf8_escape("M\xfc\xc3\xbc\\x");
    assert_string_equal(known, "M\\xfc\xc3\xbc\\\\x");
    free(known);
    for (uint64_t i = 0; i < 20000; i++) {
        static const char bytes[] = "\\xa0\x80\xc3\xe2\x82\xac\xf0\x9f\xfc\xed ";
        char text[13] = "";
        for (uint32_t k = 0; k < i % sizeof text; k++)
            text[k] = bytes[(size_t)(rng_uniform(3, RNG_TEST, i, k) * (sizeof bytes - 1))];
        char *escaped = utf8_escape(text), *back = utf8_unescape(escaped);
        assert_true(utf8_is_valid(escaped));
        assert_string_equal(back, text);
        free(escaped);
        free(back);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_and_invalid_forms_are_told_apart),
        cmocka_unit_test(escaped_text_is_valid_and_leads_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
