/* lib/common: digests and ciphers against published values, numbers and texts at their limits. */

#include "lib/common/base.h"
#include "lib/common/buf.h"
#include "lib/common/bytes.h"
#include "lib/common/cipher.h"
#include "lib/common/digest.h"
#include "lib/common/hex.h"
#include "lib/common/json.h"
#include "lib/common/timeutil.h"
#include "tests/unit/unit.h"

static void expect_hex(const void *data, size_t len, const char *want)
{
    char text[256];
    assert_string_equal(hex_format(data, len, text), want);
}

/* RFC 5869, case 1; FIPS 180-2; the check value of CRC-32C. */
static void digests(void **state)
{
    uint8_t ikm[22], salt[13], info[10], okm[42], sha[SHA256_LEN];
    (void)state;
    memset(ikm, 0x0b, sizeof(ikm));
    for (uint8_t i = 0; i < sizeof(salt); i++)
        salt[i] = i;
    for (uint8_t i = 0; i < sizeof(info); i++)
        info[i] = (uint8_t)(0xf0 + i);
    hkdf_sha256(ikm, sizeof(ikm), salt, sizeof(salt), info, sizeof(info), okm, sizeof(okm));
    expect_hex(
        okm, sizeof(okm),
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
    sha256_of("abc", 3, sha);
    expect_hex(sha, sizeof(sha),
               "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(crc32c(0, "123456789", 9), 0xE3069283);
    assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xE3069283);
}

/* RFC 7914: N = 16384, r = 8, p = 1. */
static void scrypt(void **state)
{
    uint8_t key[CIPHER_KEY_LEN];
    (void)state;
    expect_ok(scrypt_derive("pleaseletmein", (const uint8_t *)"SodiumChloride", 14, 14, key, err));
    expect_hex(key, sizeof(key),
               "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2");
}

/* What was sealed opens only with the same key, nonce, associated data and bytes. */
static void seals(void **state)
{
    uint8_t key[CIPHER_KEY_LEN] = {1}, nonce[CIPHER_NONCE_LEN] = {2}, out[5 + CIPHER_TAG_LEN];
    uint8_t back[5];
    (void)state;
    Cipher *c AUTO(cipher_freep) = cipher_new(key);
    cipher_seal(c, nonce, "name", 4, "bytes", 5, out);
    assert_true(cipher_open(c, nonce, "name", 4, out, 5, back));
    assert_memory_equal(back, "bytes", 5);
    assert_false(cipher_open(c, nonce, "nam", 3, out, 5, back));
    for (size_t i = 0; i < sizeof(out); i++) {
        out[i] ^= 1;
        assert_false(cipher_open(c, nonce, "name", 4, out, 5, back));
        out[i] ^= 1;
    }
    nonce[0]++;
    assert_false(cipher_open(c, nonce, "name", 4, out, 5, back));
}

static void varints(void **state)
{
    static const uint64_t values[] = {0,     1,          127,       128,       16383,
                                      16384, UINT32_MAX, INT64_MAX, UINT64_MAX};
    static const uint8_t eleven[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1};
    static const uint8_t overflow[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        Buf b AUTO(buf_release) = {0};
        buf_append_varint(&b, values[i]);
        buf_append_zigzag(&b, (int64_t)values[i]);
        Cursor c = cursor_of(b.data, b.len), cut = cursor_of(b.data, 0);
        assert_true(cursor_varint(&c) == values[i]);
        assert_true(cursor_zigzag(&c) == (int64_t)values[i]);
        assert_false(c.bad || cursor_left(&c));
        assert_true(cursor_varint(&cut) == 0 && cut.bad);
    }
    Cursor long_one = cursor_of(eleven, sizeof(eleven)),
           large = cursor_of(overflow, sizeof(overflow));
    cursor_varint(&long_one);
    cursor_varint(&large);
    assert_true(long_one.bad && large.bad);
}

/* Every number has one form, so that what is read is what would be written. */
static void varints_have_one_form(void **state)
{
    static const struct {
        uint8_t bytes[10];
        size_t len;
    } overlong[] = {
        {{0x80, 0x00}, 2},
        {{0xff, 0x00}, 2},
        {{0x80, 0x80, 0x00}, 3},
        {{0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00}, 10},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(overlong); i++) {
        Cursor c = cursor_of(overlong[i].bytes, overlong[i].len);
        assert_int_equal(cursor_varint(&c), 0);
        assert_true(c.bad);
    }
    static const uint8_t shortest[] = {0x80, 0x01, 0x00};
    Cursor c = cursor_of(shortest, sizeof(shortest));
    assert_int_equal(cursor_varint(&c), 128);
    assert_int_equal(cursor_varint(&c), 0);
    assert_false(c.bad || cursor_left(&c));
}

static void reads_beyond_the_end(void **state)
{
    static const uint8_t bytes[] = {1, 2, 3};
    (void)state;
    Cursor c = cursor_of(bytes, sizeof(bytes));
    assert_int_equal(cursor_u16(&c), 0x0201);
    assert_int_equal(cursor_u32(&c), 0);
    assert_true(c.bad);
    assert_int_equal(cursor_u8(&c), 0); /* bad for good */
    c = cursor_of(bytes, sizeof(bytes));
    assert_null(cursor_read(&c, UINT64_MAX));
    assert_true(c.bad);
}

static void hexadecimal(void **state)
{
    uint8_t out[2];
    (void)state;
    assert_true(hex_parse("aB01", '\0', out, 2) && out[0] == 0xab && out[1] == 1);
    assert_true(hex_parse("aB01-", '-', out, 2));
    assert_false(hex_parse("aB01-", '\0', out, 2));
    assert_false(hex_parse("aB0", '\0', out, 2));
    assert_false(hex_parse("aB0g", '\0', out, 2));
    assert_true(hex_is_upper("0AF", 3) && !hex_is_upper("0af", 3) && !hex_is_upper("0", 2));
    assert_true(hex_is_lower("0af", 3) && !hex_is_lower("0AF", 3));
}

/* Overlong forms, surrogates, what lies beyond U+10FFFF, and NUL are no UTF-8 here. */
static void utf8(void **state)
{
    static const char *const good[] = {"", "a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    static const char *const bad[] = {
        "\x80", "\xc3", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(utf8_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(utf8_valid(bad[i], strlen(bad[i])));
    assert_false(utf8_valid("a\0b", 3));
}

static void base64(void **state)
{
    (void)state;
    for (size_t len = 0; len < 5; len++) {
        Buf text AUTO(buf_release) = {0}, back AUTO(buf_release) = {0};
        base64_append(&text, "\xff\x00\x10\x83", len);
        expect_ok(base64_parse(buf_str(&text), &back, err));
        assert_true(back.len == len && (!len || memcmp(back.data, "\xff\x00\x10\x83", len) == 0));
    }
    Buf out AUTO(buf_release) = {0};
    expect_err(ERR_DAMAGED, "", base64_parse("a", &out, err));
    expect_err(ERR_DAMAGED, "", base64_parse("a*==", &out, err));
}

static void hints(void **state)
{
    char much[1000] = "";
    Err err = {.code = ERR_IO};
    (void)state;
    assert_int_equal(err_hint_more(&err, "look %d", 1), ERR_IO);
    assert_string_equal(err.hint, "look 1");
    err_hint_more(&err, "is it there?");
    err_hint_more(&err, "go on");
    assert_string_equal(err.hint, "look 1; is it there? go on");
    /* The one that comes last is whole. */
    memset(much, 'x', sizeof(much) - 1);
    err_hint(&err, "%s", much);
    err_hint_more(&err, "the end");
    assert_int_equal(strlen(err.hint), sizeof(err.hint) - 1);
    assert_string_equal(err.hint + sizeof(err.hint) - 1 - strlen("x; the end"), "x; the end");
    err_hint_more(&err, "%s", much);
    assert_true(strlen(err.hint) < sizeof(err.hint));
}

static void json_members(void **state)
{
    json_t *j AUTO(json_decrefp) = NULL, *bad AUTO(json_decrefp) = NULL;
    const char text[] = "{\"n\":7,\"t\":\"x\",\"big\":9223372036854775807}";
    const char *t;
    int64_t n;
    (void)state;
    expect_ok(json_parse_object(text, strlen(text), &j, err));
    expect_ok(json_get_number(j, "n", 0, 7, &n, err));
    expect_err(ERR_DAMAGED, "n", json_get_number(j, "n", 0, 6, &n, err));
    expect_err(ERR_DAMAGED, "t", json_get_number(j, "t", 0, 6, &n, err));
    expect_err(ERR_DAMAGED, "n", json_get_text(j, "n", &t, err));
    expect_err(ERR_DAMAGED, "none", json_get_text(j, "none", &t, err));
    expect_ok(json_get_number(j, "big", 0, INT64_MAX, &n, err));
    expect_err(ERR_DAMAGED, "", json_parse_object("[1]", 3, &bad, err));
    expect_err(ERR_DAMAGED, "", json_parse_object("{} x", 4, &bad, err));
}

/* Numbers of 64 bits are strings: JSON has none. */
static void json_numbers_in_strings(void **state)
{
    static const struct {
        const char *text;
        bool good;
        uint64_t value;
    } cases[] = {
        {"0", true, 0},
        {"18446744073709551615", true, UINT64_MAX},
        {"007", true, 7},
        {"18446744073709551616", false, 0},
        {"99999999999999999999", false, 0},
        {"", false, 0},
        {"-1", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"1x", false, 0},
        {"0x1", false, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *j AUTO(json_decrefp) = json_pack("{s:s}", "n", cases[i].text);
        uint64_t v = 5;
        Err why = {0};
        ErrCode rc = json_get_u64_text(j, "n", &v, &why);
        if (rc != (cases[i].good ? ERR_OK : ERR_DAMAGED) ||
            v != (cases[i].good ? cases[i].value : 5))
            fail_msg("'%s': %s", cases[i].text, err_code_name(rc));
    }
    json_t *j AUTO(json_decrefp) = json_pack("{s:i}", "n", 7);
    uint64_t v;
    expect_err(ERR_DAMAGED, "n", json_get_u64_text(j, "n", &v, err));
}

static void times(void **state)
{
    TimeUs t;
    char out[TIME_TEXT_LEN];
    (void)state;
    expect_ok(time_parse_compact("20261123T081500Z", &t, err));
    assert_true(t == 1795421700 * US_PER_SECOND);
    assert_string_equal(time_format_compact(t, out), "20261123T081500Z");
    expect_err(ERR_USAGE, "", time_parse_compact("20261323T081500Z", &t, err));
    expect_err(ERR_USAGE, "", time_parse_compact("20260229T081500Z", &t, err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests),
        cmocka_unit_test(scrypt),
        cmocka_unit_test(seals),
        cmocka_unit_test(varints),
        cmocka_unit_test(hexadecimal),
        cmocka_unit_test(reads_beyond_the_end),
        cmocka_unit_test(utf8),
        cmocka_unit_test(base64),
        cmocka_unit_test(hints),
        cmocka_unit_test(json_members),
        cmocka_unit_test(times),
        cmocka_unit_test(varints_have_one_form),
        cmocka_unit_test(json_numbers_in_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
