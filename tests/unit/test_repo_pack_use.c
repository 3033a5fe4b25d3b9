/* Which packs of older backups a new one may use, leaves behind, and does use. */

#include "tests/unit/unit.h"

#include "lib/repo/pack_use.h"

#define SELF "20260103T000000Z-00000000000000cc"
#define PARENT "20260102T000000Z-00000000000000bb"
#define OLD "20260101T000000Z-00000000000000aa"

static const PackId d0 = {'d', 0}, d1 = {'d', 1}, d2 = {'d', 2}, m0 = {'m', 0};

/* The parent has d0 and m0 of its own, and uses four packs of an older one. */
static void init_uses(PackUses *u)
{
    PacksList l = {.own = {0}};
    PackRefs old = {.backup_id = OLD, .number = 16};
    vec_push(&l.own, (PackInfo){.id = d0, .slots = 100, .facts = {.size = 1000}});
    vec_push(&l.own, (PackInfo){.id = m0, .facts = {.size = 50}});
    vec_push(&old.packs, (PackRef){.id = d0, .slots = 100, .live = 50, .size = 1});
    vec_push(&old.packs, (PackRef){.id = d1, .slots = 100, .live = 49, .size = 2});
    vec_push(&old.packs, (PackRef){.id = d2, .slots = 1000, .live = 10, .size = 3});
    vec_push(&old.packs, (PackRef){.id = m0, .size = 4});
    vec_push(&l.refs, old);
    pack_uses_init(u, SELF);
    pack_uses_add_parent(u, PARENT, 31, &l);
    pack_uses_sort(u);
    packs_list_release(&l);
}

static bool is_renewed(const PackUses *u, const char *backup, PackId id)
{
    return atomic_load(&pack_uses_find(u, pack_uses_backup(u, backup), id)->renewed);
}

static void finds_them(void **state)
{
    (void)state;
    PackUses u;
    init_uses(&u);
    assert_int_equal(u.all.n, 6);
    assert_int_equal(pack_uses_backup(&u, SELF), 0);
    uint32_t parent = pack_uses_backup(&u, PARENT), old = pack_uses_backup(&u, OLD);
    assert_int_equal(pack_uses_find(&u, parent, d0)->size, 1000);
    assert_int_equal(pack_uses_find(&u, old, d0)->size, 1);
    assert_int_equal(pack_uses_find(&u, old, m0)->size, 4);
    assert_null(pack_uses_find(&u, parent, d1));
    assert_null(pack_uses_find(&u, 0, d0));
    assert_int_equal(pack_uses_backup(&u, "20250101T000000Z-00000000000000dd"), UINT32_MAX);
    pack_uses_release(&u);
}

static void leaves_the_deadest_first(void **state)
{
    (void)state;
    PackUses u;
    init_uses(&u);
    pack_uses_renew(&u, 9);
    assert_false(is_renewed(&u, OLD, d2));
    pack_uses_renew(&u, 58);
    assert_true(is_renewed(&u, OLD, d2));
    assert_false(is_renewed(&u, OLD, d1)); /* 10 + 49 are too many */
    pack_uses_release(&u);
    init_uses(&u);
    pack_uses_renew(&u, 1000);
    assert_true(is_renewed(&u, OLD, d1));
    assert_false(is_renewed(&u, OLD, d0)); /* half of it lives */
    assert_false(is_renewed(&u, OLD, m0));
    assert_false(is_renewed(&u, PARENT, d0));
    pack_uses_release(&u);
}

/* Of backups 17 to 31 there is only the parent: 1050 bytes. */
static void merges_small_backups(void **state)
{
    (void)state;
    const struct {
        uint64_t number, stored;
        bool parent, old;
    } cases[] = {{32, 1050, true, false},
                 {32, 1049, false, false},
                 {33, 1 << 20, false, false},
                 {256, 1 << 20, true, true},
                 {0, 1 << 20, false, false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        PackUses u;
        init_uses(&u);
        pack_uses_merge(&u, cases[i].number, cases[i].stored);
        assert_int_equal(is_renewed(&u, PARENT, d0), cases[i].parent);
        assert_int_equal(is_renewed(&u, PARENT, m0), cases[i].parent);
        assert_int_equal(is_renewed(&u, OLD, d0), cases[i].old);
        pack_uses_release(&u);
    }
}

static void tells_what_is_used(void **state)
{
    (void)state;
    PackUses u;
    PacksList l = {.own = {0}};
    init_uses(&u);
    PackUse *p = pack_uses_find(&u, pack_uses_backup(&u, OLD), d2);
    p->used = true;
    p->live = 7;
    pack_uses_find(&u, pack_uses_backup(&u, OLD), m0)->used = true;
    pack_uses_refs(&u, &l);
    assert_int_equal(l.refs.n, 1);
    assert_string_equal(l.refs.at[0].backup_id, OLD);
    assert_int_equal(l.refs.at[0].packs.n, 2);
    const PackRef *r = l.refs.at[0].packs.at;
    assert_true(r[0].id.kind == 'd' && r[0].id.number == 2);
    assert_true(r[0].slots == 1000 && r[0].live == 7 && r[0].size == 3);
    assert_true(r[1].id.kind == 'm' && r[1].size == 4);
    packs_list_release(&l);
    pack_uses_release(&u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_them), cmocka_unit_test(leaves_the_deadest_first),
        cmocka_unit_test(merges_small_backups), cmocka_unit_test(tells_what_is_used)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
