#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/opts.h"

static struct {
    bool flag, flag_given;
    int count;
    double rate;
    kerf_reals mean;
    int size[2];
    int choice;
    const char *text;
    kerf_list list;
    const char *arg;
} got;

static char said[4096]; /* on stderr */

/* kerf_opts_parse() of the words, with stderr in `said`. */
static int
parse(const char *const *words, size_t count)
{
    const kerf_opt table[] = {
        {.kind = KERF_OPT_GROUP, .help = "group"},
        {.name = "flag",
         .kind = KERF_OPT_FLAG,
         .to = &got.flag,
         .given = &got.flag_given},
        {.name = "cloud-port",
         .kind = KERF_OPT_INT,
         .to = &got.count,
         .min = 1,
         .max = 65535},
        {.name = "rate",
         .kind = KERF_OPT_REAL,
         .to = &got.rate,
         .min = 0,
         .max = 100},
        {.name = "mean", .kind = KERF_OPT_REALS, .to = &got.mean},
        {.name = "size", .kind = KERF_OPT_SIZE, .to = got.size},
        {.name = "colour",
         .also = "color",
         .kind = KERF_OPT_CHOICE,
         .to = &got.choice,
         .choices = "rgb|bgr|gray"},
        {.name = "text", .kind = KERF_OPT_TEXT, .to = &got.text},
        {.name = "input", .kind = KERF_OPT_LIST, .to = &got.list},
    };
    const kerf_command command = {.name = "test",
                                  .usage = "",
                                  .about = "",
                                  .opt = table,
                                  .opt_count = sizeof table / sizeof *table,
                                  .arg = &got.arg,
                                  .arg_most = 1,
                                  .arg_name = "MODEL"};
    char *argv[32] = {(char *)(uintptr_t) "test"};
    FILE *f = tmpfile();
    int saved = dup(STDERR_FILENO);
    size_t n;
    int rc;

    assert_non_null(f);
    memset(&got, 0, sizeof got);
    for (size_t i = 0; i < count; i++)
        argv[i + 1] = (char *)(uintptr_t)words[i];
    (void)fflush(stderr);
    assert_true(dup2(fileno(f), STDERR_FILENO) >= 0);
    rc = kerf_opts_parse(&command, (int)count + 1, argv);
    (void)fflush(stderr);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    (void)close(saved);
    rewind(f);
    n = fread(said, 1, sizeof said - 1, f);
    said[n] = '\0';
    (void)fclose(f);
    return rc;
}

#define PARSE(...)                            \
    parse((const char *const[]){__VA_ARGS__}, \
          sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void
parse__every_kind__is_read(void **state)
{
    (void)state;
    assert_int_equal(PARSE("m", "--flag", "--cloud_port", "81", "--rate=1/4",
                           "--mean", "0.5,1/2,-2", "--size", "32x48", "--color",
                           "BGR", "--text", "-", "--input", "a", "b"),
                     -1);
    assert_true(got.flag && got.flag_given);
    assert_int_equal(got.count, 81);
    assert_true(got.rate == 0.25);
    assert_int_equal(got.mean.count, 3);
    assert_true(got.mean.v[1] == 0.5 && got.mean.v[2] == -2.0);
    assert_int_equal(got.size[0], 32);
    assert_int_equal(got.size[1], 48);
    assert_int_equal(got.choice, 1);
    assert_string_equal(got.text, "-");
    assert_int_equal(got.list.count, 2);
    assert_string_equal(got.list.item[1], "b");
    assert_string_equal(got.arg, "m");

    assert_int_equal(PARSE("--mean=127.5", "--size=7", "--input", "a",
                           "--input", "b", "--", "--odd"),
                     -1);
    assert_int_equal(got.mean.count, 1);
    assert_true(got.mean.v[2] == 127.5);
    assert_int_equal(got.size[1], 7);
    assert_int_equal(got.list.count, 2);
    assert_string_equal(got.arg, "--odd");
}

static void
parse__wrong_words__one_line_and_status_2(void **state)
{
    static const struct {
        const char *word[2];
        const char *says;
    } cases[] = {
        {{"--fla", NULL}, "unknown flag --fla: did you mean --flag?"},
        {{"--cloudport", "1"}, "did you mean --cloud-port?"},
        {{"--zzzzzzzzz", NULL}, "unknown flag --zzzzzzzzz ("},
        {{"-x", NULL}, "flags are long"},
        {{"--flag=maybe", NULL}, "--flag maybe: expected yes or no"},
        {{"--text", NULL}, "--text needs a value"},
        {{"--text", "--flag"}, "--text needs a value"},
        {{"--cloud-port", "0"}, "1 to 65535"},
        {{"--cloud-port", "8x"}, "a whole number"},
        {{"--rate", "1/0"}, "a number, 0 to 100"},
        {{"--rate", "nan"}, "a number"},
        {{"--mean", "1,2"}, "1 or 3 numbers"},
        {{"--mean", "1,2,3,4"}, "1 or 3 numbers"},
        {{"--size", "0x4"}, "HEIGHTxWIDTH"},
        {{"--size", "4x"}, "HEIGHTxWIDTH"},
        {{"--colour", "pink"}, "expected rgb|bgr|gray"},
        {{"a", "b"}, "b: unexpected word"},
        {{"--\033[2J", NULL}, "\\x1b"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = cases[i].word[1] == NULL ? 1 : 2;

        assert_int_equal(parse(cases[i].word, n), 2);
        if (strstr(said, cases[i].says) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", said, cases[i].says);
        assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
    }
}

static void
distance__swaps_and_dashes__are_near(void **state)
{
    (void)state;
    assert_int_equal(kerf_text_distance("run", "run"), 0);
    assert_int_equal(kerf_text_distance("rnu", "run"), 1);
    assert_int_equal(kerf_text_distance("a_b", "a-b"), 0);
    assert_int_equal(kerf_text_distance("", "abc"), 3);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse__every_kind__is_read),
        cmocka_unit_test(parse__wrong_words__one_line_and_status_2),
        cmocka_unit_test(distance__swaps_and_dashes__are_near),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
