// The file of cuDNN's plans. What is accepted is written again as the same bytes.
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "cuda/plans.h"
#include "fuzz/fuzz.h"

// The sum at the end is made right, so that the lines before it are met.
static char *with_sum(const uint8_t *bytes, size_t size) {
    uint64_t sum = 0xcbf29ce484222325u;
    int lines = 0;

    for (size_t i = 0; i < size; i++) {
        sum = (sum ^ bytes[i]) * 0x100000001b3u;
        lines += bytes[i] == '\n';
    }
    return xasprintf("%.*send %d %016llx\n", (int)size, (const char *)bytes, lines - 3,
                     (unsigned long long)sum);
}

static void check(const char *text) {
    struct cuda_plans *plans;
    char *again;

    if (cuda_plans_read("input", text, &plans))
        return;
    again = cuda_plans_write(plans);
    struct cuda_plans *twice;
    FUZZ_CHECK(cuda_plans_read("again", again, &twice) == ERR_OK);
    FUZZ_CHECK(cuda_plans_count(twice) == cuda_plans_count(plans));
    char *third = cuda_plans_write(twice);
    FUZZ_CHECK(!strcmp(again, third));
    cuda_plans_free(twice);
    cuda_plans_free(plans);
    free(third);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    char *text = xasprintf("%.*s", (int)size, (const char *)bytes);

    check(text);
    free(text);
    text = with_sum(bytes, strnlen((const char *)bytes, size));
    check(text);
    free(text);
    return 0;
}

void fuzz_seeds(void) {
    static const char *const problems[] = {
        "forward bf16 n6 c256 h66 w66 k256 r3 s1 p0",
        "data tf32 n1 c128 h64 w64 k256 r3 s2 p1",
        "filter fp32 n12 c8 h262 w262 k64 r7 s1 p0",
    };
    struct cuda_plans *plans = cuda_plans_new(91900, "9.0 132 NVIDIA H200");
    struct cuda_plan plan = {.engine = 62, .n_knobs = 2, .knobs = {{24, -1}, {3, 1LL << 40}}};
    struct cuda_problem problem;

    for (size_t i = 0; i < COUNT(problems); i++) {
        FUZZ_CHECK(cuda_problem_parse(problems[i], &problem));
        cuda_plans_add(plans, &problem, &plan);
        plan.n_knobs = (int)i;
    }
    char *text = cuda_plans_write(plans);
    fuzz_write_text("three", text);
    fuzz_write("body", text, (size_t)(strstr(text, "end ") - text));
    free(text);
    cuda_plans_free(plans);
}
