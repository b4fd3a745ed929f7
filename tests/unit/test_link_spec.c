/*
 * SPECs of links: what they say, and what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/link_spec.h"

#include <stdio.h>
#include <string.h>

static kerf_link_spec
parse(const char *text)
{
    kerf_link_spec spec;
    kerf_detail why = {{0}};

    if (kerf_link_spec_parse(&spec, text, &why) != KERF_OK)
        fail_msg("%s: %s", text, why.text);
    return spec;
}

static void
parse__presets__have_their_rates(void **state)
{
    const struct {
        const char *name;
        double mbit, rtt_ms;
    } want[] = {
        {"slow-3g", 0.4, 400}, {"3g", 1.1, 0},     {"fast-3g", 1.6, 150},
        {"cable", 5, 28},      {"4g", 5.85, 0},    {"4g-wpt", 9, 170},
        {"lte", 12, 70},       {"wifi", 18.88, 0}, {"lan", 100, 0}};
    size_t count = sizeof want / sizeof *want;

    (void)state;
    for (size_t i = 0; i < count; i++) {
        kerf_link_spec spec = parse(want[i].name);

        assert_string_equal(kerf_link_preset(i)->name, want[i].name);
        assert_string_equal(spec.name, want[i].name);
        assert_true(spec.up_mbit == want[i].mbit);
        assert_true(spec.down_mbit == want[i].mbit);
        assert_true(spec.rtt_ms == want[i].rtt_ms);
        assert_true(spec.queue_ms > 0 && spec.seed > 0 && spec.flip == 0);
    }
    assert_null(kerf_link_preset(count));
}

static void
parse__keys__each_has_its_place(void **state)
{
    kerf_link_spec spec =
        parse("lte,up=2.5,jitter=20,queue=1.5s,stall=5s/300ms,stall=@250/1s,"
              "outage=@2s/500,cut=100000,flip=1e-6,seed=77");

    (void)state;
    assert_true(spec.up_mbit == 2.5 && spec.down_mbit == 12);
    assert_true(spec.rtt_ms == 70 && spec.jitter_ms == 20);
    assert_true(spec.queue_ms == 1500);
    assert_true(spec.stall.every_ms == 5000 && spec.stall.for_ms == 300);
    assert_int_equal(spec.stall.count, 1);
    assert_true(spec.stall.at[0].at_ms == 250);
    assert_true(spec.stall.at[0].for_ms == 1000);
    assert_true(spec.outage.every_ms == 0 && spec.outage.count == 1);
    assert_int_equal(spec.cut_bytes, 100000);
    assert_true(spec.flip == 1e-6);
    assert_int_equal(spec.seed, 77);
}

static void
parse__without_a_preset__has_no_limit_of_rate(void **state)
{
    kerf_link_spec spec = parse("rtt=20");

    (void)state;
    assert_true(spec.up_mbit == 0 && spec.down_mbit == 0);
    assert_true(spec.rtt_ms == 20);
    assert_string_equal(spec.name, "");
}

static void
change__takes_words_only__others_stay(void **state)
{
    kerf_link_spec spec = parse("lte,stall=@1/2");
    kerf_detail why = {{0}};

    (void)state;
    assert_int_equal(kerf_link_spec_change(&spec, "rate=1,stall=0", &why),
                     KERF_OK);
    assert_true(spec.up_mbit == 1 && spec.down_mbit == 1);
    assert_true(spec.rtt_ms == 70);
    assert_int_equal(spec.stall.count, 0);
    assert_int_equal(kerf_link_spec_change(&spec, "rate=2,rtt=x", &why),
                     KERF_EINVAL);
    assert_true(spec.up_mbit == 1);
    assert_int_equal(kerf_link_spec_change(&spec, "3g", &why), KERF_EINVAL);
}

static void
add(char *text, size_t cap, const char *more)
{
    size_t len = strlen(text);

    (void)snprintf(text + len, cap - len, "%s", more);
}

static void
parse__what_is_wrong__is_said(void **state)
{
    static const char *const bad[] = {
        "",           "5g",          "lte,",          ",lte",
        "lte,3g",     "rate=",       "rate=-1",       "rate=nan",
        "rate=inf",   "rate=0x10",   "rate= 1",       "rate=1e9",
        "rtt=1m",     "rtt=5 ms",    "rtt=99999999s", "speed=1",
        "stall=5",    "stall=5/",    "stall=0/5",     "stall=5/0",
        "stall=@/5",  "outage=@1/x", "cut=1.5",       "cut=-1",
        "flip=1.001", "flip=2e-6x",  "seed=x",        "rate=1,,rtt=2",
        "=1",         "rate=1=2",
    };
    char many[512] = "rtt=0";

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kerf_link_spec spec = {.seed = 4711};
        kerf_detail why = {{0}};

        if (kerf_link_spec_parse(&spec, bad[i], &why) != KERF_EINVAL)
            fail_msg("%s is taken", bad[i]);
        assert_int_equal(spec.seed, 4711);
        assert_true(strncmp(why.text, "link: ", 6) == 0);
    }
    for (int i = 0; i < KERF_LINK_TIMES_MAX; i++)
        add(many, sizeof many, ",stall=@1/1");
    (void)parse(many);
    add(many, sizeof many, ",stall=@1/1");
    assert_int_equal(
        kerf_link_spec_parse(&(kerf_link_spec){.seed = 0}, many, NULL),
        KERF_EINVAL);
}

static void
text__says_rate_and_rtt(void **state)
{
    char text[128];
    kerf_link_spec spec = parse("cable,up=1");

    (void)state;
    assert_string_equal(kerf_link_spec_text(text, sizeof text, &spec),
                        "1 Mbit/s up, 5 down, RTT 28 ms");
    spec = parse("lte");
    assert_string_equal(kerf_link_spec_text(text, sizeof text, &spec),
                        "12 Mbit/s, RTT 70 ms");
    spec = parse("rtt=1");
    assert_string_equal(kerf_link_spec_text(text, sizeof text, &spec),
                        "no limit of rate, RTT 1 ms");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse__presets__have_their_rates),
        cmocka_unit_test(parse__keys__each_has_its_place),
        cmocka_unit_test(parse__without_a_preset__has_no_limit_of_rate),
        cmocka_unit_test(change__takes_words_only__others_stay),
        cmocka_unit_test(parse__what_is_wrong__is_said),
        cmocka_unit_test(text__says_rate_and_rtt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
