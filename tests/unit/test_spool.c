#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "edge/spool.h"

#define MOST 1000

static char dir[64];

static int
make_dir(void **state)
{
    (void)snprintf(dir, sizeof dir, "/tmp/kerf-spool-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    return kerf_spool_open((kerf_spool **)state, dir, MOST, NULL) == KERF_OK
               ? 0
               : -1;
}

static int
remove_dir(void **state)
{
    kerf_names names = {0};

    kerf_spool_close(*state);
    if (kerf_fs_list(dir, 1000, &names, NULL) != KERF_OK)
        return -1;
    for (size_t i = 0; i < names.count; i++) {
        char path[KERF_PATH_MAX];

        if (kerf_path_join(path, dir, names.name[i]) == KERF_OK)
            (void)unlink(path);
    }
    kerf_names_free(&names);
    return rmdir(dir);
}

/* A record of len bytes that begins with this letter. */
static kerf_err
add(kerf_spool *s, char letter, size_t len, uint64_t *seq)
{
    uint8_t data[MOST + 1] = {0};
    kerf_detail why;

    data[KERF_SPOOL_HEAD] = (uint8_t)letter;
    return kerf_spool_add(s, data, len, seq, &why);
}

static char
letter_of(kerf_spool *s, uint64_t seq)
{
    uint8_t *data = NULL;
    size_t len = 0;
    char letter;

    assert_int_equal(kerf_spool_read(s, seq, &data, &len, NULL), KERF_OK);
    letter = (char)data[KERF_SPOOL_HEAD];
    free(data);
    return letter;
}

static void
open_again(void **state)
{
    kerf_spool_close(*state);
    *state = NULL;
    assert_int_equal(kerf_spool_open((kerf_spool **)state, dir, MOST, NULL),
                     KERF_OK);
}

static void
take__gives_the_oldest_first(void **state)
{
    kerf_spool *s = *state;
    uint64_t seq;

    for (const char *c = "abcd"; *c != '\0'; c++)
        assert_int_equal(add(s, *c, 100, &seq), KERF_OK);
    assert_int_equal(kerf_spool_bytes(s), 400);
    for (const char *c = "abcd"; *c != '\0'; c++) {
        assert_true(kerf_spool_take(s, &seq));
        assert_int_equal(letter_of(s, seq), *c);
    }
    assert_false(kerf_spool_take(s, &seq));
    assert_int_equal(kerf_spool_count(s), 4);
}

static void
remove__in_any_order__what_is_left_stays_in_order(void **state)
{
    kerf_spool *s = *state;
    uint64_t seq[6], got;

    for (size_t i = 0; i < 6; i++)
        assert_int_equal(add(s, (char)('a' + i), 20, &seq[i]), KERF_OK);
    kerf_spool_remove(s, seq[2]);
    kerf_spool_remove(s, seq[0]);
    kerf_spool_remove(s, seq[2]); /* it is not there any more */
    assert_int_equal(kerf_spool_count(s), 4);
    assert_int_equal(kerf_spool_bytes(s), 80);
    for (const char *c = "bdef"; *c != '\0'; c++) {
        assert_true(kerf_spool_take(s, &got));
        assert_int_equal(letter_of(s, got), *c);
    }
}

static void
give_back__is_taken_again_before_later_ones(void **state)
{
    kerf_spool *s = *state;
    uint64_t a, b, got;

    assert_int_equal(add(s, 'a', 20, &a), KERF_OK);
    assert_int_equal(add(s, 'b', 20, &b), KERF_OK);
    assert_true(kerf_spool_take(s, &got));
    kerf_spool_give_back(s, got);
    assert_true(kerf_spool_take(s, &got));
    assert_int_equal(got, a);
}

static void
release__all_but_some(void **state)
{
    kerf_spool *s = *state;
    uint64_t seq[3], got;

    for (size_t i = 0; i < 3; i++)
        assert_int_equal(add(s, (char)('a' + i), 20, &seq[i]), KERF_OK);
    for (size_t i = 0; i < 3; i++)
        assert_true(kerf_spool_take(s, &got));
    kerf_spool_release(s, &seq[1], 1);
    assert_true(kerf_spool_take(s, &got));
    assert_int_equal(got, seq[0]);
    assert_true(kerf_spool_take(s, &got));
    assert_int_equal(got, seq[2]);
    assert_false(kerf_spool_take(s, &got));
}

static void
add__over_the_bound__is_etoobig_and_leaves_nothing(void **state)
{
    kerf_spool *s = *state;
    uint64_t seq;

    assert_int_equal(add(s, 'a', MOST + 1, &seq), KERF_ETOOBIG);
    assert_int_equal(add(s, 'a', 600, &seq), KERF_OK);
    assert_int_equal(add(s, 'b', 401, &seq), KERF_ETOOBIG);
    assert_int_equal(add(s, 'b', 400, &seq), KERF_OK);
    assert_int_equal(add(s, 'c', 20, &seq), KERF_ETOOBIG);
    assert_int_equal(kerf_spool_count(s), 2);
}

static void
open__finds_what_was_there__and_goes_on_numbering(void **state)
{
    uint64_t seq[3], got;

    for (size_t i = 0; i < 3; i++)
        assert_int_equal(add(*state, (char)('a' + i), 50, &seq[i]), KERF_OK);
    kerf_spool_remove(*state, seq[0]);
    open_again(state);
    assert_int_equal(kerf_spool_count(*state), 2);
    assert_int_equal(kerf_spool_bytes(*state), 100);
    assert_int_equal(kerf_spool_first_new(*state), seq[2] + 1);
    assert_int_equal(add(*state, 'd', 50, &got), KERF_OK);
    assert_int_equal(got, seq[2] + 1);
    assert_true(kerf_spool_take(*state, &got));
    assert_int_equal(letter_of(*state, got), 'b');
}

static void
open__half_written__is_removed__strange_files_stay(void **state)
{
    char half[KERF_PATH_MAX], other[KERF_PATH_MAX];

    assert_int_equal(
        kerf_path_join(half, dir, "0000000000000007.req.Ab12Cd.tmp"), KERF_OK);
    assert_int_equal(kerf_path_join(other, dir, "readme"), KERF_OK);
    assert_int_equal(kerf_fs_write(half, "x", 1, NULL), KERF_OK);
    assert_int_equal(kerf_fs_write(other, "x", 1, NULL), KERF_OK);
    open_again(state);
    assert_false(kerf_fs_exists(half));
    assert_true(kerf_fs_exists(other));
    assert_int_equal(kerf_spool_count(*state), 0);
}

static void
open__twice__is_ebusy(void **state)
{
    kerf_spool *second = NULL;
    kerf_detail why;

    (void)state;
    assert_int_equal(kerf_spool_open(&second, dir, MOST, &why), KERF_EBUSY);
    assert_non_null(strstr(why.text, "--store"));
}

static void
read__every_byte_flipped_and_every_truncation__is_corrupt(void **state)
{
    char path[KERF_PATH_MAX];
    uint8_t *right = NULL;
    uint8_t *data = NULL;
    uint64_t seq;
    size_t len = 0;
    size_t got = 0;

    assert_int_equal(add(*state, 'a', 40, &seq), KERF_OK);
    assert_int_equal(kerf_path_join(path, dir, "0000000000000000.req"),
                     KERF_OK);
    assert_int_equal(kerf_fs_read(path, 1000, &right, &len, NULL), KERF_OK);
    assert_int_equal(len, 40);
    for (size_t i = 0; i < len; i++) {
        right[i] ^= 1;
        assert_int_equal(kerf_fs_write(path, right, len, NULL), KERF_OK);
        assert_int_equal(kerf_spool_read(*state, seq, &data, &got, NULL),
                         KERF_ECORRUPT);
        right[i] ^= 1;
        assert_int_equal(kerf_fs_write(path, right, i, NULL), KERF_OK);
        assert_int_equal(kerf_spool_read(*state, seq, &data, &got, NULL),
                         KERF_ECORRUPT);
    }
    free(right);
}

/* Nothing of it is there, but it would take the memory. */
static void
read__larger_than_any_record__is_corrupt(void **state)
{
    char path[KERF_PATH_MAX];
    uint8_t *data = NULL;
    uint64_t seq;
    size_t len = 0;

    assert_int_equal(add(*state, 'a', 40, &seq), KERF_OK);
    assert_int_equal(kerf_path_join(path, dir, "0000000000000000.req"),
                     KERF_OK);
    assert_int_equal(truncate(path, (off_t)KERF_SPOOL_RECORD_MAX + 1), 0);
    assert_int_equal(kerf_spool_read(*state, seq, &data, &len, NULL),
                     KERF_ECORRUPT);
    assert_null(data);
}

static void
read__an_error_that_may_pass__is_not_corrupt(void **state)
{
    char path[KERF_PATH_MAX], aside[KERF_PATH_MAX];
    uint8_t *data = NULL;
    uint64_t seq;
    size_t len = 0;

    assert_int_equal(add(*state, 'a', 40, &seq), KERF_OK);
    assert_int_equal(kerf_path_join(path, dir, "0000000000000000.req"),
                     KERF_OK);
    assert_int_equal(kerf_path_join(aside, dir, "aside"), KERF_OK);
    assert_int_equal(rename(path, aside), 0);
    assert_int_equal(symlink("0000000000000000.req", path), 0); /* ELOOP */
    assert_int_equal(kerf_spool_read(*state, seq, &data, &len, NULL), KERF_EIO);
    assert_int_equal(rename(aside, path), 0);
    assert_int_equal(letter_of(*state, seq), 'a');
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)
        CASE(take__gives_the_oldest_first),
        CASE(remove__in_any_order__what_is_left_stays_in_order),
        CASE(give_back__is_taken_again_before_later_ones),
        CASE(release__all_but_some),
        CASE(add__over_the_bound__is_etoobig_and_leaves_nothing),
        CASE(open__finds_what_was_there__and_goes_on_numbering),
        CASE(open__half_written__is_removed__strange_files_stay),
        CASE(open__twice__is_ebusy),
        CASE(read__every_byte_flipped_and_every_truncation__is_corrupt),
        CASE(read__larger_than_any_record__is_corrupt),
        CASE(read__an_error_that_may_pass__is_not_corrupt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
