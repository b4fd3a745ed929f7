#include "cli/printer.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define LINES 12000 /* of 1000 bytes: more than may wait */

static void
say_line(kerf_printer *p, kerf_line kind, int i)
{
    kerf_printer_say(p, kind, "%d %0*d\n", i, 990, 0);
}

/* Nobody reads at first: what comes then is whole, in order, and with what is
 * told as left out it is all that there was. */
static void
full_pipe__left_out_is_counted_where_it_was(void **state)
{
    kerf_printer *p = NULL;
    int fd[2];
    char line[2048];
    int next = 0;
    int gaps = 0;
    FILE *in;

    (void)state;
    assert_int_equal(pipe(fd), 0);
    assert_int_equal(kerf_printer_start(&p, fd[1], true), KERF_OK);
    for (int i = 0; i < LINES; i++)
        say_line(p, KERF_LINE_MANY, i);
    say_line(p, KERF_LINE_RARE, LINES); /* has room */
    in = fdopen(fd[0], "r");
    assert_non_null(in);
    while (next <= LINES && fgets(line, sizeof line, in) != NULL) {
        static const char left[] = "{\"event\":\"left_out\",\"count\":";

        assert_int_equal(line[strlen(line) - 1], '\n');
        if (strncmp(line, left, sizeof left - 1) == 0) {
            next += atoi(line + sizeof left - 1);
            gaps++;
        } else {
            assert_int_equal(atoi(line), next);
            next++;
        }
    }
    assert_int_equal(next, LINES + 1);
    assert_in_range(gaps, 1, 2);
    assert_int_equal(kerf_printer_stop(p), 0);
    (void)close(fd[1]);
    (void)fclose(in);
}

static void
never_read__the_end_comes_all_the_same(void **state)
{
    kerf_printer *p = NULL;
    int fd[2];

    (void)state;
    assert_int_equal(pipe(fd), 0);
    assert_int_equal(kerf_printer_start(&p, fd[1], false), KERF_OK);
    for (int i = 0; i < 200; i++)
        say_line(p, KERF_LINE_MANY, i);
    assert_int_equal(kerf_printer_stop(p), 0);
    (void)close(fd[0]);
    (void)close(fd[1]);
}

static void
cannot_be_written__is_told(void **state)
{
    kerf_printer *p = NULL;
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(kerf_printer_start(&p, fd, false), KERF_OK);
    say_line(p, KERF_LINE_MANY, 1);
    assert_int_equal(kerf_printer_stop(p), ENOSPC);
    (void)close(fd);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_pipe__left_out_is_counted_where_it_was),
        cmocka_unit_test(never_read__the_end_comes_all_the_same),
        cmocka_unit_test(cannot_be_written__is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
