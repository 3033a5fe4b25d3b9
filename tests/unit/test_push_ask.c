#include "tests/unit/unit.h"

#include <stdlib.h>

#include "archive/push_ask.h"

static PushQuestion question(void)
{
    PushQuestion q = {.id = {.dev = 1,
                             .ino = UINT64_MAX,
                             .size = 16 << 20,
                             .mtime = 1700000000000000001,
                             .ctime = 1700000000000000002},
                      .path = "/data/pg_wal/000000010000000000000001"};
    memset(q.config, 0xab, sizeof(q.config));
    return q;
}

static void comes_as_it_was_asked(void **state)
{
    (void)state;
    uint8_t text[PUSH_QUESTION_MAX];
    PushQuestion q = question(), got;
    size_t len = push_question_encode(&q, text);
    bool more = true;
    expect_ok(push_question_decode(text, len, &got, &more, err));
    assert_false(more);
    assert_memory_equal(got.config, q.config, sizeof(q.config));
    assert_true(wal_file_id_equal(&got.id, &q.id));
    assert_string_equal(got.path, q.path);
}

static void comes_in_pieces(void **state)
{
    (void)state;
    uint8_t text[PUSH_QUESTION_MAX];
    PushQuestion q = question(), got;
    size_t len = push_question_encode(&q, text);
    for (size_t n = 0; n < len; n++) {
        bool more = false;
        uint8_t *part = malloc(n ? n : 1); /* so that a read past its end is seen */
        memcpy(part, text, n);
        expect_ok(push_question_decode(part, n, &got, &more, err));
        assert_true(more);
        free(part);
    }
}

static void longest_path(void **state)
{
    (void)state;
    uint8_t text[PUSH_QUESTION_MAX];
    PushQuestion q = question(), got;
    bool more = true;
    memset(q.path, 'a', sizeof(q.path) - 1);
    q.path[sizeof(q.path) - 1] = '\0';
    size_t len = push_question_encode(&q, text);
    assert_in_range(len, sizeof(q.path), sizeof(text));
    expect_ok(push_question_decode(text, len, &got, &more, err));
    assert_false(more);
    assert_string_equal(got.path, q.path);
}

static void is_no_question(void **state)
{
    (void)state;
    uint8_t good[PUSH_QUESTION_MAX], text[PUSH_QUESTION_MAX + 1];
    PushQuestion q = question(), got;
    bool more;
    size_t len = push_question_encode(&q, good);
    size_t path_at = len - strlen(q.path);

    memcpy(text, good, len);
    text[0] ^= 1;
    expect_err(ERR_DAMAGED, "no question", push_question_decode(text, len, &got, &more, err));
    memcpy(text, good, len);
    text[4]++;
    expect_err(ERR_VERSION, "another version", push_question_decode(text, len, &got, &more, err));
    memcpy(text, good, len);
    text[len] = 'x';
    expect_err(ERR_DAMAGED, "longer", push_question_decode(text, len + 1, &got, &more, err));
    text[path_at - 2] = text[path_at - 1] = 0xff; /* the length of the path */
    expect_err(ERR_DAMAGED, "longer", push_question_decode(text, len, &got, &more, err));
    memcpy(text, good, len);
    text[path_at + 3] = '\0';
    expect_err(ERR_DAMAGED, "ends before", push_question_decode(text, len, &got, &more, err));
}

static void each_part_of_the_identity_counts(void **state)
{
    (void)state;
    const WalFileId id = question().id;
    for (int i = 0; i < 5; i++) {
        WalFileId other = id;
        uint64_t *parts[] = {&other.dev, &other.ino, &other.size, &other.mtime, &other.ctime};
        (*parts[i])++;
        assert_false(wal_file_id_equal(&id, &other));
    }
    assert_true(wal_file_id_equal(&id, &id));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_as_it_was_asked), cmocka_unit_test(comes_in_pieces),
        cmocka_unit_test(longest_path), cmocka_unit_test(is_no_question),
        cmocka_unit_test(each_part_of_the_identity_counts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
