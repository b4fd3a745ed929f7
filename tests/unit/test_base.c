#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/few.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/large.h"
#include "base/map.h"
#include "base/queue.h"
#include "base/rng.h"
#include "base/stats.h"
#include "base/table.h"
#include "base/text.h"

static void
err__every_code__has_its_own_name(void **state)
{
    (void)state;
    assert_string_equal(kerf_err_name(KERF_OK), "OK");
    assert_string_equal(kerf_err_name(KERF_EADDRINUSE), "EADDRINUSE");
    assert_string_equal(kerf_err_name((kerf_err)999), "EUNKNOWN");
    assert_int_equal(KERF_ECORRUPT, 3); /* frozen: on the wire */
}

static void
fail_in__long_text__is_cut_and_terminated(void **state)
{
    kerf_detail why;
    char big[2048];

    (void)state;
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    assert_int_equal(kerf_fail(&why, KERF_EIO, "%s", big), KERF_EIO);
    assert_int_equal(strlen(why.text), sizeof why.text - 1);
    assert_int_equal(kerf_fail(&why, KERF_EIO, "disk"), KERF_EIO);
    assert_int_equal(kerf_fail_in(&why, KERF_EIO, "file %d", 3), KERF_EIO);
    assert_string_equal(why.text, "file 3: disk");
    assert_int_equal(kerf_fail(NULL, KERF_EIO, "no place"), KERF_EIO);
}

static void
bytes__written__read_back_and_short_is_sticky(void **state)
{
    uint8_t room[32];
    kerf_wr w = {.at = room, .left = sizeof room};
    kerf_rd r;
    char text[4];

    (void)state;
    kerf_wr_u8(&w, 1);
    kerf_wr_u16(&w, 0x0203);
    kerf_wr_u32(&w, 0x04050607);
    kerf_wr_u64(&w, 0x08090a0b0c0d0e0fu);
    kerf_wr_str(&w, "abc");
    assert_false(w.bad);
    assert_int_equal(room[1], 3);
    r = (kerf_rd){.at = room, .left = sizeof room - w.left};
    assert_int_equal(kerf_rd_u8(&r), 1);
    assert_int_equal(kerf_rd_u16(&r), 0x0203);
    assert_int_equal(kerf_rd_u32(&r), 0x04050607);
    assert_true(kerf_rd_u64(&r) == 0x08090a0b0c0d0e0fu);
    kerf_rd_str(&r, text, sizeof text);
    assert_string_equal(text, "abc");
    assert_false(r.bad);
    assert_int_equal(kerf_rd_u16(&r), 0);
    assert_true(r.bad);
    assert_null(kerf_rd_bytes(&r, 0));
    kerf_wr_zero(&w, 1000);
    assert_true(w.bad);
}

static void
sha256__known_vector__matches(void **state)
{
    uint8_t digest[KERF_SHA256_LEN];
    uint8_t back[KERF_SHA256_LEN];
    char hex[KERF_SHA256_HEX];
    kerf_sha256 *h = NULL;

    (void)state;
    assert_int_equal(kerf_sha256_new(&h), KERF_OK);
    for (int i = 0; i < 2; i++) { /* FIPS 180-2, B.1; twice: end() resets */
        kerf_sha256_add(h, "ab", 2);
        kerf_sha256_add(h, "c", 1);
        kerf_sha256_end(h, digest);
        kerf_hex(hex, digest, sizeof digest);
        assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223"
                                 "b00361a396177a9cb410ff61f20015ad");
    }
    assert_true(kerf_unhex(back, sizeof back, hex));
    assert_memory_equal(back, digest, sizeof back);
    assert_false(kerf_unhex(back, sizeof back, "xy"));
    kerf_sha256_free(h);
}

static void
sha256__a_million_bytes__matches(void **state)
{
    const size_t len = 1000000; /* FIPS 180-2, B.3 */
    char *data = kerf_large_alloc(len);
    uint8_t digest[KERF_SHA256_LEN];
    char hex[KERF_SHA256_HEX];
    kerf_sha256 *h = NULL;

    (void)state;
    assert_non_null(data);
    memset(data, 'a', len);
    assert_int_equal(kerf_sha256_new(&h), KERF_OK);
    for (size_t first = 0; first < (size_t)3 * 4096; first += 4095) {
        kerf_sha256_add(h, data, first);
        kerf_sha256_add(h, data + first, len - first);
        kerf_sha256_end(h, digest);
        kerf_hex(hex, digest, sizeof digest);
        assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67"
                                 "f1809a48a497200e046d39ccc7112cd0");
    }
    kerf_sha256_free(h);
    free(data);
}

static void
large_alloc__any_size__is_aligned_and_writable(void **state)
{
    const size_t huge = (size_t)2 << 20;
    const size_t sizes[] = {0, 1, 63, huge - 1, huge, huge + 1, 3 * huge - 1};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t *data = kerf_large_alloc(sizes[i]);

        assert_non_null(data);
        assert_int_equal((uintptr_t)data % KERF_LARGE_ALIGN, 0);
        if (sizes[i] >= kerf_page_size())
            assert_int_equal((uintptr_t)data % kerf_page_size(), 0);
        memset(data, 1, sizes[i]);
        free(data);
    }
    assert_null(kerf_large_alloc(SIZE_MAX));
}

static void
text_safe__hostile_bytes__are_escaped(void **state)
{
    char out[64];

    (void)state;
    assert_string_equal(kerf_text_safe(out, sizeof out, "a\x1b[2J\n\xff"),
                        "a\\x1b[2J\\x0a\\xff");
    assert_string_equal(kerf_text_safe(out, sizeof out, "caf\xc3\xa9"),
                        "caf\xc3\xa9");
    assert_string_equal(kerf_text_safe(out, sizeof out, "\xe2\x80\xae"),
                        "\\xe2\\x80\\xae"); /* right-to-left override */
    assert_string_equal(
        kerf_text_safe(out, sizeof out, "\xe2\x81\xa6\xe2\x80\x8f\xd8\x9c"),
        "\\xe2\\x81\\xa6\\xe2\\x80\\x8f\\xd8\\x9c"); /* isolate, marks */
    assert_string_equal(kerf_text_safe(out, sizeof out, "\xe2\x81\xa5-"),
                        "\xe2\x81\xa5-"); /* next to them */
    assert_string_equal(kerf_text_safe(out, 4, "abcdef"), "abc");
    assert_string_equal(kerf_text_safe(out, 4, "ab\n"), "ab");
}

static void
text_is_utf8__malformed__is_not(void **state)
{
    (void)state;
    assert_true(kerf_text_is_utf8("") && kerf_text_is_utf8("caf\xc3\xa9\n"));
    assert_false(kerf_text_is_utf8("caf\xe9"));
    assert_false(kerf_text_is_utf8("a\xc3"));
    assert_false(kerf_text_is_utf8("\xc0\x80"));
    assert_false(kerf_text_is_utf8("\xed\xa0\x80"));
}

static void
text_is_name__paths__are_refused(void **state)
{
    (void)state;
    assert_true(kerf_text_is_name("client_infer_x.pdmodel"));
    assert_false(kerf_text_is_name("../x"));
    assert_false(kerf_text_is_name("..") || kerf_text_is_name(""));
    assert_false(kerf_text_is_name(".hidden") || kerf_text_is_name("a b"));
}

static void
table__same_hash_and_same_chain__are_told_apart(void **state)
{
    static kerf_table t;
    kerf_knot knot[4];
    int of[4];

    (void)state;
    kerf_table_add(&t, &knot[0], 7, &of[0]);
    kerf_table_add(&t, &knot[1], 7, &of[1]);
    kerf_table_add(&t, &knot[2], 7 + KERF_TABLE_CHAINS, &of[2]);
    assert_ptr_equal(kerf_table_find(&t, 7)->of, &of[1]);
    assert_ptr_equal(kerf_table_more(&knot[1]), &knot[0]);
    assert_null(kerf_table_more(&knot[0]));
    assert_ptr_equal(kerf_table_find(&t, 7 + KERF_TABLE_CHAINS)->of, &of[2]);
    assert_null(kerf_table_find(&t, 8));
    kerf_table_remove(&t, &knot[1]);
    assert_ptr_equal(kerf_table_find(&t, 7), &knot[0]);
    knot[3].hash = 7; /* never in it */
    kerf_table_remove(&t, &knot[3]);
    kerf_table_remove(&t, &knot[0]);
    kerf_table_remove(&t, &knot[2]);
    assert_null(kerf_table_find(&t, 7));
    assert_null(kerf_table_find(&t, 7 + KERF_TABLE_CHAINS));
}

static void
queue__full_and_closed__refuse(void **state)
{
    int a = 0;
    int b = 0;
    kerf_queue *q = NULL;

    (void)state;
    assert_int_equal(kerf_queue_new(&q, 0), KERF_EINVAL);
    assert_int_equal(kerf_queue_new(&q, 1), KERF_OK);
    assert_int_equal(kerf_queue_push(q, &a), KERF_OK);
    assert_int_equal(kerf_queue_push(q, &b), KERF_EBUSY);
    kerf_queue_close(q);
    assert_int_equal(kerf_queue_push(q, &b), KERF_ECLOSED);
    assert_ptr_equal(kerf_queue_pop(q), &a);
    assert_null(kerf_queue_pop(q));
    assert_null(kerf_queue_try_pop(q));
    kerf_queue_free(q);
}

struct popped {
    kerf_queue *queue;
    size_t count;
};

static void *
pop_all(void *ctx)
{
    struct popped *p = ctx;

    while (kerf_queue_pop(p->queue) != NULL)
        p->count++;
    return NULL;
}

/* Sleepers and pushers in every order; one that is not woken hangs it. */
static void
queue__pushed_quietly_and_stirred__all_is_popped(void **state)
{
    enum { ROUNDS = 2000, POPPERS = 3 };
    struct popped popped[POPPERS] = {{0}};
    pthread_t thread[POPPERS];
    kerf_queue *q = NULL;
    size_t count = 0;
    int item = 0;

    (void)state;
    assert_int_equal(kerf_queue_new(&q, (size_t)4 * ROUNDS), KERF_OK);
    for (size_t i = 0; i < POPPERS; i++) {
        popped[i].queue = q;
        assert_int_equal(pthread_create(&thread[i], NULL, pop_all, &popped[i]),
                         0);
    }
    for (int i = 0; i < ROUNDS; i++) {
        assert_int_equal(kerf_queue_push_quietly(q, &item), KERF_OK);
        assert_int_equal(kerf_queue_push_quietly(q, &item), KERF_OK);
        kerf_queue_stir(q);
        while (i % 100 == 0 && kerf_queue_count(q) > 0)
            (void)sched_yield(); /* until they sleep, mostly */
        assert_int_equal(kerf_queue_push(q, &item), KERF_OK);
    }
    while (kerf_queue_count(q) > 0)
        (void)sched_yield();
    kerf_queue_close(q);
    for (size_t i = 0; i < POPPERS; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        count += popped[i].count;
    }
    assert_int_equal(count, 3 * ROUNDS);
    kerf_queue_free(q);
}

static void
stats__more_than_kept__quantiles_stay_close(void **state)
{
    kerf_stats s;

    (void)state;
    assert_int_equal(kerf_stats_init(&s, 1000), KERF_OK);
    assert_true(kerf_stats_quantile(&s, 0.5) == 0.0);
    for (int i = 1; i <= 100000; i++)
        kerf_stats_add(&s, i);
    assert_true(s.min == 1.0 && s.max == 100000.0 && s.count == 100000);
    assert_true(kerf_stats_mean(&s) == 50000.5);
    assert_in_range((unsigned)kerf_stats_quantile(&s, 0.5), 44000, 56000);
    kerf_stats_fini(&s);
}

static void
rng__seed_1__is_the_published_sequence(void **state)
{
    uint64_t seed = 1234567;

    (void)state; /* first outputs of splitmix64 for this seed */
    assert_true(kerf_rng_next(&seed) == 6457827717110365317u);
    assert_true(kerf_rng_next(&seed) == 3203168211198807973u);
}

/* path holds "hello"; an empty file is mapped as well. */
static void
check_map(const char *path)
{
    kerf_map map = {0};
    kerf_detail why = {{0}};

    assert_int_equal(kerf_map_open(&map, path, 4, &why), KERF_ETOOBIG);
    assert_int_equal(kerf_map_open(&map, "/tmp", 4, &why), KERF_EINVAL);
    assert_int_equal(kerf_map_open(&map, "/nowhere", 4, &why), KERF_ENOENT);
    assert_null(map.data);
    assert_int_equal(kerf_map_open(&map, path, 5, &why), KERF_OK);
    assert_int_equal(map.len, 5);
    assert_memory_equal(map.data, "hello", 5);
    kerf_map_close(&map);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(kerf_map_open(&map, path, 0, &why), KERF_OK);
    assert_int_equal(map.len, 0);
    assert_non_null(map.data);
    kerf_map_close(&map);
    assert_null(map.data);
    kerf_map_close(&map);
}

static void
fs__write_read_list__whole_or_not_at_all(void **state)
{
    char dir[] = "/tmp/kerf-test-XXXXXX";
    char path[KERF_PATH_MAX];
    kerf_names names = {0};
    kerf_detail why = {{0}};
    uint8_t *data = NULL;
    size_t len = 0;

    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(kerf_path_join(path, dir, "a/b"), KERF_OK);
    assert_int_equal(kerf_fs_mkdirs(path, &why), KERF_OK);
    assert_int_equal(kerf_path_join(path, dir, "a/b/f"), KERF_OK);
    assert_int_equal(kerf_fs_write(path, "hello", 5, &why), KERF_OK);
    assert_int_equal(kerf_fs_read(path, 5, &data, &len, &why), KERF_OK);
    assert_string_equal((char *)data, "hello");
    assert_int_equal(len, 5);
    free(data);
    assert_int_equal(kerf_fs_read(path, 4, &data, &len, &why), KERF_ETOOBIG);
    assert_int_equal(kerf_fs_read("/tmp", 4, &data, &len, &why), KERF_EINVAL);
    assert_int_equal(kerf_fs_write("/nowhere/x", "a", 1, &why), KERF_ENOENT);
    check_map(path);
    assert_int_equal(kerf_path_join(path, dir, "a/b"), KERF_OK);
    assert_int_equal(kerf_fs_list(path, 10, &names, &why), KERF_OK);
    assert_int_equal(names.count, 1); /* no temporary file left */
    assert_string_equal(names.name[0], "f");
    kerf_names_free(&names);
    assert_int_equal(kerf_path_join(path, dir, "a/b/f"), KERF_OK);
    (void)unlink(path);
    assert_int_equal(kerf_path_join(path, dir, "a/b"), KERF_OK);
    (void)rmdir(path);
    assert_int_equal(kerf_path_join(path, dir, "a"), KERF_OK);
    (void)rmdir(path);
    (void)rmdir(dir);
}

static void
few_may__a_flood__some_are_said_and_all_are_counted(void **state)
{
    kerf_few few = {0};
    uint64_t now_ns = 5;
    unsigned said = 0;

    (void)state;
    assert_int_equal(kerf_few_left_out(&few, now_ns, true), 0);
    for (unsigned i = 0; i < 1000; i++)
        said += kerf_few_may(&few, now_ns + i);
    assert_int_equal(said, KERF_FEW_MOST);
    assert_int_equal(kerf_few_left_out(&few, now_ns + KERF_FEW_NS, false), 0);
    now_ns += KERF_FEW_NS + 1;
    assert_true(kerf_few_may(&few, now_ns));
    assert_int_equal(kerf_few_left_out(&few, now_ns, true),
                     1000 - KERF_FEW_MOST);
    assert_int_equal(kerf_few_left_out(&few, now_ns, true), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(err__every_code__has_its_own_name),
        cmocka_unit_test(few_may__a_flood__some_are_said_and_all_are_counted),
        cmocka_unit_test(fail_in__long_text__is_cut_and_terminated),
        cmocka_unit_test(bytes__written__read_back_and_short_is_sticky),
        cmocka_unit_test(sha256__known_vector__matches),
        cmocka_unit_test(sha256__a_million_bytes__matches),
        cmocka_unit_test(large_alloc__any_size__is_aligned_and_writable),
        cmocka_unit_test(text_safe__hostile_bytes__are_escaped),
        cmocka_unit_test(text_is_utf8__malformed__is_not),
        cmocka_unit_test(text_is_name__paths__are_refused),
        cmocka_unit_test(table__same_hash_and_same_chain__are_told_apart),
        cmocka_unit_test(queue__full_and_closed__refuse),
        cmocka_unit_test(queue__pushed_quietly_and_stirred__all_is_popped),
        cmocka_unit_test(stats__more_than_kept__quantiles_stay_close),
        cmocka_unit_test(rng__seed_1__is_the_published_sequence),
        cmocka_unit_test(fs__write_read_list__whole_or_not_at_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
