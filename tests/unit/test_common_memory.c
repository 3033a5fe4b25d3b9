/* lib/common: buffers, arrays, lists of strings and arenas, at their edges. */

#include "tests/unit/unit.h"

#include "lib/common/buf.h"
#include "lib/common/bytes.h"

static void expect_bytes(const Buf *b, const char *want, size_t len)
{
    assert_int_equal(b->len, len);
    assert_memory_equal(b->data, want, len);
}

static void an_empty_buffer(void **state)
{
    (void)state;
    Buf b AUTO(buf_release) = {0};
    buf_release(&b); /* of nothing */
    buf_append(&b, NULL, 0);
    assert_int_equal(b.len, 0);
    assert_non_null(buf_reserve(&b, 0));
    assert_string_equal(buf_str(&b), "");
    assert_int_equal(b.len, 0);
    Slice s = buf_slice(&b), t = slice_of_str("");
    assert_true(s.len == 0 && t.len == 0 && t.data);
}

/* One byte at a time, over every growth: what was there stays, and nothing behind it is written. */
static void a_buffer_grows(void **state)
{
    (void)state;
    Buf b AUTO(buf_release) = {0};
    for (size_t i = 0; i < 10000; i++) {
        buf_append_u8(&b, (uint8_t)(i * 31));
        assert_int_equal(b.len, i + 1);
        assert_true(b.cap >= b.len);
    }
    for (size_t i = 0; i < b.len; i++)
        assert_int_equal(b.data[i], (uint8_t)(i * 31));
    size_t len = b.len;
    uint8_t *room = buf_reserve(&b, 100000);
    assert_int_equal(b.len, len);
    assert_ptr_equal(room, b.data + len);
    memset(room, 0xEE, 100000); /* all of it is there */
    assert_int_equal(b.data[len - 1], (uint8_t)((len - 1) * 31));
}

static void numbers(void **state)
{
    (void)state;
    Buf b AUTO(buf_release) = {0};
    buf_append_u16(&b, 0x0102);
    buf_append_u32(&b, 0x03040506);
    buf_append_u64(&b, 0x0708090a0b0c0d0e);
    expect_bytes(&b, "\2\1\6\5\4\3\16\15\14\13\12\11\10\7", 14);
    b.len = 0;
    buf_append_varint(&b, 0);
    buf_append_varint(&b, 127);
    buf_append_varint(&b, 128);
    buf_append_varint(&b, UINT64_MAX);
    expect_bytes(&b, "\0\177\200\1\377\377\377\377\377\377\377\377\377\1", 14);
    b.len = 0;
    buf_append_zigzag(&b, 0);
    buf_append_zigzag(&b, -1);
    buf_append_zigzag(&b, 1);
    buf_append_zigzag(&b, -64);
    buf_append_zigzag(&b, 64);
    buf_append_zigzag(&b, INT64_MIN);
    expect_bytes(&b, "\0\1\2\177\200\1\377\377\377\377\377\377\377\377\377\1", 16);
}

static void text(void **state)
{
    (void)state;
    Buf b AUTO(buf_release) = {0};
    char *long_text AUTO(mem_freep) = mem_zero(5001);
    memset(long_text, 'x', 5000);
    buf_append_str(&b, "a");
    buf_printf(&b, "%s", "");
    buf_printf(&b, "%d-%s", 7, long_text); /* longer than there is room */
    assert_int_equal(b.len, 1 + 2 + 5000);
    const char *s = buf_str(&b);
    assert_int_equal(strlen(s), b.len);
    assert_memory_equal(s, "a7-xxx", 6);
    buf_append_str(&b, "!"); /* the NUL is not part of it */
    assert_string_equal(buf_str(&b) + b.len - 2, "x!");
    b.len = 1; /* a buffer is cut by its length */
    assert_string_equal(buf_str(&b), "a");
}

static void arrays(void **state)
{
    (void)state;
    VEC(uint32_t) v = {0};
    vec_release(&v); /* of nothing */
    for (uint32_t i = 0; i < 1000; i++) {
        vec_push(&v, i);
        assert_true(v.n == i + 1 && v.cap >= v.n);
    }
    /* Of itself, when it has to move. */
    while (v.n < v.cap)
        vec_push(&v, 5);
    vec_push(&v, v.at[999]);
    assert_int_equal(v.at[v.n - 1], 999);
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(v.at[i], i);
    size_t cap = v.cap, n = v.n;
    vec_reserve(&v, 10); /* less than there is */
    assert_true(v.cap == cap && v.n == n);
    vec_reserve(&v, cap * 10);
    assert_true(v.cap >= cap * 10 && v.n == n);
    vec_release(&v);
    assert_true(!v.at && !v.n && !v.cap);
    vec_reserve(&v, 1);
    assert_true(v.cap >= 1);
    vec_release(&v);

    struct Pair {
        int a, b;
    };
    VEC(struct Pair) pairs = {0};
    vec_push(&pairs, (struct Pair){.a = 1, .b = 2}); /* commas in what is pushed */
    assert_int_equal(pairs.at[0].b, 2);
    vec_release(&pairs);
}

static void lists_of_strings(void **state)
{
    (void)state;
    static const char *const words[] = {"b", "", "a\xff", "a", "B", "ab"};
    static const char *const sorted[] = {"", "B", "a", "ab", "a\xff", "b"}; /* by bytes */
    StrList l = {0};
    str_list_sort(&l);
    assert_false(str_list_has(&l, ""));
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        vec_push(&l, mem_strdup(words[i]));
    assert_true(str_list_has(&l, "ab") && str_list_has(&l, ""));
    assert_false(str_list_has(&l, "abc"));
    str_list_sort(&l);
    for (size_t i = 0; i < ARRAY_LEN(sorted); i++)
        assert_string_equal(l.at[i], sorted[i]);
    str_list_release(&l);
    assert_int_equal(l.n, 0);
}

static void allocations(void **state)
{
    (void)state;
    for (size_t align = 8; align <= 2 * MIB; align *= 4) {
        uint8_t *p AUTO(mem_freep) = mem_aligned(align, align + 1); /* no multiple of it */
        assert_int_equal((uintptr_t)p % align, 0);
        memset(p, 1, align + 1);
    }
    void *none[] = {mem_new(0), mem_zero(0), mem_grow(NULL, 0), mem_try(0)};
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        assert_non_null(none[i]);
        free(none[i]);
    }
    char *part AUTO(mem_freep) = mem_strndup("abc", 2), *none_of_it AUTO(mem_freep) = NULL;
    none_of_it = mem_strndup("abc", 0);
    assert_string_equal(part, "ab");
    assert_string_equal(none_of_it, "");
    char *owned = mem_printf("%s-%d", "x", 7), *taken AUTO(mem_freep) = steal_ptr(&owned);
    assert_null(owned);
    assert_string_equal(taken, "x-7");
    assert_true(align_up(0, 8) == 0 && align_up(1, 8) == 8 && align_up(8, 8) == 8);
    assert_true(align_up((UINT64_C(1) << 40) + 1, 1 << 20) == (UINT64_C(1) << 40) + (1 << 20));
}

/* Small and large pieces in turn: all aligned, none in another's place. */
static void arenas(void **state)
{
    (void)state;
    enum { PIECES = 3000 };
    Arena a = {0};
    uint8_t *at[PIECES];
    size_t len[PIECES], sum = 0;
    for (size_t i = 0; i < PIECES; i++) {
        len[i] = i % 500 == 499 ? 300 * KIB : i * 7919 % 1000;
        sum += len[i];
        at[i] = arena_new(&a, len[i]);
        assert_int_equal((uintptr_t)at[i] % 8, 0);
        memset(at[i], (int)(i % 251), len[i]);
    }
    for (size_t i = 0; i < PIECES; i++)
        for (size_t k = 0; k < len[i]; k++)
            if (at[i][k] != i % 251)
                fail_msg("piece %zu was overwritten", i);
    assert_in_range(a.total, sum, 2 * sum);
    char *s = arena_strndup(&a, "abcdef", 3);
    assert_string_equal(s, "abc");
    arena_release(&a);
    assert_true(!a.last && !a.total);
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_buffer), cmocka_unit_test(a_buffer_grows),
        cmocka_unit_test(numbers),         cmocka_unit_test(text),
        cmocka_unit_test(arrays),          cmocka_unit_test(lists_of_strings),
        cmocka_unit_test(allocations),     cmocka_unit_test(arenas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
