#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/config.h"

static struct {
    bool flag, flag_given, other;
    int port;
    int choice;
    double rate;
    const char *text;
    kerf_list list;
    kerf_config config;
} got;

static const kerf_opt table[] = {
    {.kind = KERF_OPT_GROUP, .help = "group"},
    {.name = "flag",
     .kind = KERF_OPT_FLAG,
     .to = &got.flag,
     .given = &got.flag_given},
    {.name = "other", .kind = KERF_OPT_FLAG, .to = &got.other},
    {.name = "cloud-port",
     .kind = KERF_OPT_INT,
     .to = &got.port,
     .min = 1,
     .max = 65535},
    {.name = "rate", .kind = KERF_OPT_REAL, .to = &got.rate, .max = 100},
    {.name = "colour",
     .kind = KERF_OPT_CHOICE,
     .to = &got.choice,
     .choices = "rgb|bgr|gray"},
    {.name = "text", .kind = KERF_OPT_TEXT, .to = &got.text},
    {.name = "input", .kind = KERF_OPT_LIST, .to = &got.list},
    {.name = "config", .kind = KERF_OPT_CONFIG, .to = &got.config},
};

static const kerf_command command = {.name = "test",
                                     .usage = "",
                                     .about = "",
                                     .opt = table,
                                     .opt_count = sizeof table / sizeof *table};

static char path[] = "/tmp/kerf-config-XXXXXX";
static char said[4096]; /* on stderr */

/* kerf_opts_parse() of `--config FILE` and the words. */
static int
parse(const void *data, size_t len, const char *const *words, size_t count)
{
    char flag[] = "--config";
    char *argv[16] = {flag, flag, path};
    FILE *out = fopen(path, "w");
    FILE *err = stderr;
    char *text = NULL;
    size_t text_len = 0;
    int rc;

    kerf_config_free(&got.config);
    memset(&got, 0, sizeof got);
    assert_non_null(out);
    assert_int_equal(fwrite(data, 1, len, out), len);
    assert_int_equal(fclose(out), 0);
    for (size_t i = 0; i < count; i++)
        argv[i + 3] = (char *)(uintptr_t)words[i];
    stderr = open_memstream(&text, &text_len);
    assert_non_null(stderr);
    rc = kerf_opts_parse(&command, (int)count + 3, argv);
    assert_int_equal(fclose(stderr), 0);
    stderr = err;
    (void)snprintf(said, sizeof said, "%s", text);
    free(text);
    return rc;
}

#define FILE_ONLY(text) parse(text, sizeof(text) - 1, NULL, 0)

static void
config__every_kind__is_read(void **state)
{
    (void)state;
    assert_int_equal(FILE_ONLY("# comment = 1\n\n  ; another\n"
                               "cloud_port = 81\n"
                               "\trate=1/4 \n"
                               "flag = yes\nother = Off\n"
                               "colour = BGR\n"
                               "text = a = \"b\" # c\n"
                               "input = one two\ninput = \" three \"\n"),
                     -1);
    assert_int_equal(got.port, 81);
    assert_true(got.rate == 0.25);
    assert_true(got.flag && got.flag_given && !got.other);
    assert_int_equal(got.choice, 1);
    assert_string_equal(got.text, "a = \"b\" # c");
    assert_int_equal(got.list.count, 2);
    assert_string_equal(got.list.item[0], "one two");
    assert_string_equal(got.list.item[1], " three ");

    assert_int_equal(FILE_ONLY("\xef\xbb\xbf"
                               "text = \"\"\r\ncloud-port = 7\r\nflag = no"),
                     -1);
    assert_string_equal(got.text, "");
    assert_int_equal(got.port, 7);
    assert_false(got.flag || got.flag_given);

    assert_int_equal(FILE_ONLY(""), -1);
}

static void
config__words__win(void **state)
{
    static const char file[] = "cloud-port = 81\nflag = yes\ninput = a\n"
                               "input = b\ntext = t\n";
    static const char *const words[] = {
        "--cloud-port", "82", "--flag=no", "--input", "c", "--input", "d"};

    (void)state;
    assert_int_equal(parse(file, sizeof file - 1, words, 7), -1);
    assert_int_equal(got.port, 82);
    assert_false(got.flag || got.flag_given);
    assert_int_equal(got.list.count, 2);
    assert_string_equal(got.list.item[0], "c");
    assert_string_equal(got.list.item[1], "d");
    assert_string_equal(got.text, "t");
}

static void
config__wrong_files__one_line_and_status_2(void **state)
{
    static const struct {
        const char *text;
        size_t len;
        const char *says;
    } cases[] = {
#define CASE(text, says) {text, sizeof(text) - 1, says}
        CASE("\ncloud-prt = 1\n", ":2: unknown name cloud-prt: did you mean"),
        CASE("zzzzzzzz = 1", ":1: unknown name zzzzzzzz ("),
        CASE("# x\n# y\ncloud-port = 0\n",
             ":3: cloud-port 0: expected a whole"),
        CASE("flag = maybe\n", ":1: flag maybe: expected yes or no"),
        CASE("flag\n", ":1: expected name = value"),
        CASE("= 1\n", ":1: expected name = value"),
        CASE("text =  \n", ":1: text has no value"),
        CASE("text = \"\n", "the second \" is missing"),
        CASE("text = \"a\n", "the second \" is missing"),
        CASE("colour = pink\n", ":1: colour pink: expected rgb|bgr|gray"),
        CASE("rate = 101\n", ":1: rate 101: expected a number, 0 to 100"),
        CASE("[cloud]\n", ":1: sections are not used"),
        CASE("config = x\n", ":1: config: only on the command line"),
        CASE("text = a\0b\n", ":1: a 0 byte"),
        CASE("flag = yes\ntext = \xff\xfe\n", ":2: this is not UTF-8"),
        CASE("t\033[2Jext = 1\n", "\\x1b"),
    };
    static const char *const twice[] = {"--config", "another"};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(parse(cases[i].text, cases[i].len, NULL, 0), 2);
        if (strstr(said, cases[i].says) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", said, cases[i].says);
        assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
    }
    assert_int_equal(parse("", 0, twice, 2), 2);
    assert_non_null(strstr(said, "--config twice"));
}

static void
config__too_long__is_refused_before_it_is_read(void **state)
{
    size_t len = KERF_CONFIG_BYTES + 1;
    char *text = malloc(len);

    (void)state;
    assert_non_null(text);
    memset(text, '\n', len);
    assert_int_equal(parse(text, len, NULL, 0), 2);
    assert_non_null(strstr(said, "the limit is"));
    assert_int_equal(parse(text, len - 1, NULL, 0), -1);
    free(text);
}

static void
config__more_items_than_a_list_holds__are_refused(void **state)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    (void)state;
    assert_non_null(f);
    for (int i = 0; i <= KERF_LIST_MAX; i++)
        (void)fprintf(f, "input = %d\n", i);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(parse(text, len, NULL, 0), 2);
    assert_non_null(strstr(said, ":4097: input: more than 4096"));
    free(text);
}

static int
make_file(void **state)
{
    int fd = mkstemp(path);

    (void)state;
    return fd < 0 ? -1 : close(fd);
}

static int
drop_file(void **state)
{
    (void)state;
    kerf_config_free(&got.config);
    return unlink(path);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config__every_kind__is_read),
        cmocka_unit_test(config__words__win),
        cmocka_unit_test(config__wrong_files__one_line_and_status_2),
        cmocka_unit_test(config__too_long__is_refused_before_it_is_read),
        cmocka_unit_test(config__more_items_than_a_list_holds__are_refused),
    };

    return cmocka_run_group_tests(tests, make_file, drop_file);
}
