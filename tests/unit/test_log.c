#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/rng.h"

#define AT_MS 1764474250007u /* 2025-11-30 03:44:10.007 */

static char line[8192];

static const char *
logfmt(const char *fields)
{
    kerf_log_line(line, sizeof line, KERF_LOG_LOGFMT, AT_MS, "warn", "a.b",
                  fields);
    return line;
}

static const char *
json(const char *fields)
{
    kerf_log_line(line, sizeof line, KERF_LOG_JSON, AT_MS, "warn", "a.b",
                  fields);
    return line;
}

#define TS "2025-11-30T03:44:10.007Z"
#define LOGFMT "ts=" TS " level=warn event=a.b"
#define JSON "{\"ts\":\"" TS "\",\"level\":\"warn\",\"event\":\"a.b\""

static void
line__fields__as_they_are(void **state)
{
    (void)state;
    assert_string_equal(logfmt(""), LOGFMT);
    assert_string_equal(
        logfmt("n=7 peer=127.0.0.1:80 why=\"x \\\"y\\\" \\\\z\""),
        LOGFMT " n=7 peer=127.0.0.1:80"
               " why=\"x \\\"y\\\" \\\\z\"");
    assert_string_equal(json(""), JSON "}");
    assert_string_equal(
        json("n=7 f=-1.5e-05 id=007 big=12345678901234567890 peer=::1 e= "
             "why=\"7\" bare"),
        JSON ",\"n\":7,\"f\":-1.5e-05,\"id\":\"007\","
             "\"big\":\"12345678901234567890\",\"peer\":\"::1\",\"e\":\"\","
             "\"why\":\"7\",\"bare\":true}");
}

static void
line__text_of_a_peer__stays_in_its_value(void **state)
{
    static const char evil[] = "\" level=error event=x \\\n\033[2J\xff\xe2\x80";
    char fields[256];
    json_t *object;

    (void)state;
    (void)snprintf(fields, sizeof fields, "why=%s n=1", KERF_Q(evil));
    assert_string_equal(
        logfmt(fields),
        LOGFMT " why=\"\\\" level=error event=x \\\\\\\\x0a\\\\x1b[2J\\\\xff"
               "\\\\xe2\\\\x80\" n=1");
    object = json_loads(json(fields), 0, NULL);
    assert_non_null(object);
    assert_string_equal(
        json_string_value(json_object_get(object, "why")),
        "\" level=error event=x \\\\x0a\\x1b[2J\\xff\\xe2\\x80");
    assert_int_equal(json_integer_value(json_object_get(object, "n")), 1);
    json_decref(object);
}

static void
line__anything__is_one_well_formed_line(void **state)
{
    static const char likely[] = "a=\"\\ \n\xc3\xa4 7{}";
    uint64_t rng = 7;
    char fields[1537];

    (void)state;
    for (int run = 0; run < 3000; run++) {
        size_t len = kerf_rng_next(&rng) % sizeof fields;
        json_t *object;

        if (run % 3 != 0)
            len %= 40;
        for (size_t i = 0; i < len; i++) {
            uint64_t r = kerf_rng_next(&rng);
            char any = (char)(r >> 8 & 0xFF);

            fields[i] = r % 2 == 0 || any == '\0'
                            ? likely[(r >> 16) % (sizeof likely - 1)]
                            : any;
        }
        fields[len] = '\0';
        object = json_loads(json(fields), 0, NULL);
        if (object == NULL)
            fail_msg("no JSON: %s", line);
        json_decref(object);
        assert_null(strchr(line, '\n'));
        assert_null(strchr(logfmt(fields), '\n'));
    }
}

static void
quote__too_long__is_cut_between_letters(void **state)
{
    char out[8];

    (void)state;
    assert_string_equal(kerf_text_quote(out, 3, "abc"), "\"\"");
    assert_string_equal(kerf_text_quote(out, 7, "abc"), "\"abc\"");
    assert_string_equal(kerf_text_quote(out, 7, "\"\"\"\""), "\"\\\"\\\"\"");
    assert_string_equal(kerf_text_quote(out, 6, "a\xc3\xa4\xc3\xa4"), "\"a\"");
}

static void
keep_line(void *ctx, kerf_log_level level, const char *text)
{
    (void)level;
    (void)snprintf(ctx, sizeof line, "%s", text);
}

static void
log__priority__stands_before_each_format(void **state)
{
    (void)state;
    kerf_log_set(keep_line, line, KERF_LOG_INFO);
    kerf_log_set_format(KERF_LOG_TEXT, true);
    kerf_log(KERF_LOG_WARN, "a.b", "n=%d", 1);
    assert_string_equal(line, "<4>warn a.b n=1");
    kerf_log_set_format(KERF_LOG_JSON, true);
    kerf_log(KERF_LOG_INFO, "a.b", "n=%d", 1);
    assert_int_equal(strncmp(line, "<6>{\"ts\":\"20", 12), 0);
    kerf_log(KERF_LOG_DEBUG, "not", "n=%d", 2);
    assert_null(strstr(line, "not"));
    kerf_log_set_format(KERF_LOG_TEXT, false);
    kerf_log_set(NULL, NULL, KERF_LOG_WARN);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(line__fields__as_they_are),
        cmocka_unit_test(line__text_of_a_peer__stays_in_its_value),
        cmocka_unit_test(line__anything__is_one_well_formed_line),
        cmocka_unit_test(quote__too_long__is_cut_between_letters),
        cmocka_unit_test(log__priority__stands_before_each_format),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
