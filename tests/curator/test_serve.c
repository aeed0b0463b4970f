// What a finished manifest answers.
#include "curator/curator_test.h"

#include "serve.h"

#define RECORDS 300

static struct manifest *example;

static int make_example(void **state) {
    example = xcalloc(1, sizeof *example);
    strcpy(example->domain, "A");
    example->root = xstrdup("/data");
    example->count = RECORDS - 20;
    example->held_out = 20;
    example->records = xcalloc(RECORDS, sizeof *example->records);
    for (int i = 0; i < RECORDS; i++)
        example->records[i] = (struct manifest_record){
            .size = 1, .w = 2, .h = 3, .path = xasprintf("%03d %%.jpg", i)};
    manifest_seal(example);
    return 0;
}

static int free_example(void **state) {
    manifest_free(example);
    return 0;
}

static struct msg ask_chunk(uint64_t first, uint64_t count) {
    struct msg m = {.type = MSG_manifest_chunk_ask};
    m.manifest_chunk_ask.first = first;
    m.manifest_chunk_ask.count = count;
    return m;
}

static void the_info_tells_counts_digest_and_root(void **state) {
    struct msg ask = {.type = MSG_manifest_ask}, answer = {0};
    char *frame;
    size_t size;
    serve_answer(example, &ask, &answer, &frame, &size);
    assert_int_equal(answer.type, MSG_manifest_info);
    assert_string_equal(answer.manifest_info.domain, "A");
    assert_string_equal(answer.manifest_info.root, "/data");
    assert_string_equal(answer.manifest_info.digest, example->digest);
    assert_int_equal(answer.manifest_info.count, RECORDS - 20);
    assert_int_equal(answer.manifest_info.held_out, 20);
    assert_null(frame);
}

// As a loader does it.
static void chunks_put_together_are_the_manifest(void **state) {
    struct manifest *copy = xcalloc(1, sizeof *copy);
    strcpy(copy->domain, "A");
    copy->root = xstrdup("/elsewhere");
    copy->count = example->count;
    copy->held_out = example->held_out;
    copy->records = xcalloc(RECORDS, sizeof *copy->records);
    for (uint64_t first = 0; first < RECORDS; first += MANIFEST_CHUNK) {
        struct msg ask = ask_chunk(first, MIN(MANIFEST_CHUNK, RECORDS - first)), answer = {0};
        char *frame;
        size_t size;
        serve_answer(example, &ask, &answer, &frame, &size);
        assert_int_equal(answer.type, MSG_manifest_chunk);
        assert_int_equal(answer.manifest_chunk.first, first);
        char *line = frame;
        for (uint64_t i = 0; i < answer.manifest_chunk.count; i++) {
            char *newline = memchr(line, '\n', size - (size_t)(line - frame));
            assert_non_null(newline);
            assert_int_equal(
                manifest_parse(line, (size_t)(newline - line), &copy->records[first + i]), ERR_OK);
            line = newline + 1;
        }
        assert_true(line == frame + size);
        free(frame);
    }
    manifest_seal(copy);
    assert_string_equal(copy->digest, example->digest);
    manifest_free(copy);
}

static void records_that_are_not_there_are_refused(void **state) {
    static const uint64_t asks[][2] = {
        {0, 0},          {0, MANIFEST_CHUNK + 1},  {RECORDS, 1}, {RECORDS - 1, 2}, {UINT64_MAX, 1},
        {1, UINT64_MAX}, {UINT64_MAX, UINT64_MAX},
    };
    for (size_t i = 0; i < COUNT(asks); i++) {
        struct msg ask = ask_chunk(asks[i][0], asks[i][1]), answer = {0};
        char *frame;
        size_t size;
        serve_answer(example, &ask, &answer, &frame, &size);
        assert_int_equal(answer.type, MSG_refuse);
        assert_int_equal(answer.refuse.err, ERR_PEER);
        assert_null(frame);
    }
}

static void every_other_message_is_refused(void **state) {
    for (int type = 1; type < MSG_TYPES; type++) {
        struct msg ask = {.type = (enum msg_type)type}, answer = {0};
        char *frame;
        size_t size;
        if (type == MSG_manifest_ask || type == MSG_manifest_chunk_ask)
            continue;
        serve_answer(example, &ask, &answer, &frame, &size);
        assert_int_equal(answer.type, MSG_refuse);
        assert_non_null(strstr(answer.refuse.text, msg_name((enum msg_type)type)));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_info_tells_counts_digest_and_root),
        cmocka_unit_test(chunks_put_together_are_the_manifest),
        cmocka_unit_test(records_that_are_not_there_are_refused),
        cmocka_unit_test(every_other_message_is_refused),
    };
    return cmocka_run_group_tests(tests, make_example, free_example);
}
