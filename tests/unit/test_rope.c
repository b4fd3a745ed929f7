/* What is put together from pieces comes out whole, in order, and once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rope.h"

static const uint8_t text[] = "abcdefghijklmnopqrstuvwxyz";

static void
check_is(const kerf_rope *rope, const char *want)
{
    uint8_t *all = NULL;

    assert_int_equal(rope->len, strlen(want));
    assert_int_equal(kerf_rope_flatten(rope, &all), KERF_OK);
    assert_string_equal((char *)all, want);
    free(all);
}

static void
flatten__views_copies_and_taken__in_order(void **state)
{
    kerf_rope rope = {0};
    uint8_t *mine = malloc(3);
    char gone[] = "xy";

    (void)state;
    assert_non_null(mine);
    for (int i = 0; i < 3; i++)
        mine[i] = (uint8_t)('1' + i);
    kerf_rope_view(&rope, text, 2);
    kerf_rope_copy(&rope, gone, 2);
    memset(gone, '!', 2); /* a copy does not look again */
    kerf_rope_take(&rope, mine, 3);
    kerf_rope_view(&rope, text + 2, 0);
    check_is(&rope, "abxy123");
    kerf_rope_fini(&rope);
    assert_int_equal(rope.count, 0);
}

static void
view__neighbours_in_memory__are_one_piece(void **state)
{
    kerf_rope rope = {0};

    (void)state;
    kerf_rope_view(&rope, text, 3);
    kerf_rope_view(&rope, text + 3, 4);
    assert_int_equal(rope.count, 1);
    kerf_rope_view(&rope, text + 9, 1);
    assert_int_equal(rope.count, 2);
    check_is(&rope, "abcdefgj");
    kerf_rope_fini(&rope);
}

static void
copy__many_small_ones__share_memory(void **state)
{
    kerf_rope rope = {0}, more = {0};
    char want[3 * 2000 + 1] = "";

    (void)state;
    for (int i = 0; i < 1000; i++) {
        kerf_rope_copy(i % 7 == 0 ? &more : &rope, &text[i % 26], 1);
        if (i % 7 == 0)
            kerf_rope_move(&rope, &more);
        kerf_rope_view(&rope, text + 20, 2);
        (void)snprintf(want + strlen(want), 4, "%cuv", text[i % 26]);
    }
    check_is(&rope, want);
    kerf_rope_fini(&rope);
    for (int i = 0; i < 2000; i++)
        kerf_rope_copy(&rope, "abc", 3);
    assert_in_range(rope.count, 1, 12);
    kerf_rope_fini(&rope);
}

static void
move__all_pieces__leaves_the_other_empty(void **state)
{
    kerf_rope rope = {0};
    kerf_rope more = {0};

    (void)state;
    kerf_rope_copy(&rope, "head ", 5);
    kerf_rope_copy(&more, "of ", 3);
    kerf_rope_view(&more, text, 1);
    kerf_rope_move(&rope, &more);
    check_is(&rope, "head of a");
    assert_int_equal(more.len, 0);
    kerf_rope_fini(&rope);
    kerf_rope_fini(&more);
}

static void
write__more_pieces_than_one_call_takes__writes_all(void **state)
{
    kerf_rope rope = {0};
    FILE *file = tmpfile();
    uint8_t *all = NULL;
    char *back;

    (void)state;
    assert_non_null(file);
    for (int i = 0; i < 1000; i++)
        kerf_rope_copy(&rope, text, (size_t)(i % 26) + 1);
    assert_int_equal(kerf_rope_write(&rope, fileno(file)), KERF_OK);
    assert_int_equal(kerf_rope_flatten(&rope, &all), KERF_OK);
    back = malloc(rope.len);
    assert_non_null(back);
    assert_int_equal(pread(fileno(file), back, rope.len, 0), rope.len);
    assert_memory_equal(back, all, rope.len);
    assert_int_equal(lseek(fileno(file), 0, SEEK_END), rope.len);
    free(all);
    free(back);
    (void)fclose(file);
    kerf_rope_fini(&rope);
}

static void
write__more_bytes_than_one_call_takes__writes_all(void **state)
{
    const size_t len = ((size_t)20 << 20) + 5;
    uint8_t *big = malloc(len);
    uint8_t *back = malloc(len);
    FILE *file = tmpfile();
    kerf_rope rope = {0};

    (void)state;
    assert_non_null(big);
    assert_non_null(back);
    assert_non_null(file);
    for (size_t i = 0; i < len; i++)
        big[i] = (uint8_t)(i % 251);
    kerf_rope_copy(&rope, text, 3);
    kerf_rope_view(&rope, big, len);
    kerf_rope_copy(&rope, text, 3);
    assert_int_equal(kerf_rope_write(&rope, fileno(file)), KERF_OK);
    assert_int_equal(lseek(fileno(file), 0, SEEK_END), len + 6);
    assert_int_equal(pread(fileno(file), back, len, 3), len);
    assert_memory_equal(back, big, len);
    assert_int_equal(pread(fileno(file), back, 3, (off_t)len + 3), 3);
    assert_memory_equal(back, text, 3);
    (void)fclose(file);
    kerf_rope_fini(&rope);
    free(back);
    free(big);
}

static void
write__to_a_full_device__is_enospc(void **state)
{
    kerf_rope rope = {0};
    FILE *full = fopen("/dev/full", "w");

    (void)state;
    if (full == NULL)
        skip();
    kerf_rope_view(&rope, text, 5);
    assert_int_equal(kerf_rope_write(&rope, fileno(full)), KERF_ENOSPC);
    (void)fclose(full);
    kerf_rope_fini(&rope);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flatten__views_copies_and_taken__in_order),
        cmocka_unit_test(view__neighbours_in_memory__are_one_piece),
        cmocka_unit_test(copy__many_small_ones__share_memory),
        cmocka_unit_test(move__all_pieces__leaves_the_other_empty),
        cmocka_unit_test(write__more_pieces_than_one_call_takes__writes_all),
        cmocka_unit_test(write__more_bytes_than_one_call_takes__writes_all),
        cmocka_unit_test(write__to_a_full_device__is_enospc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
