#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "edge/route.h"

static void
check_one(const char *text, const char *host, int port, const char *shown)
{
    kerf_route r = {0};

    assert_int_equal(kerf_route_parse(&r, text, 8080, NULL), KERF_OK);
    assert_int_equal(r.count, 1);
    assert_string_equal(r.at[0].host, host);
    assert_int_equal(r.at[0].port, port);
    assert_string_equal(r.at[0].shown, shown);
}

static void
parse__one_address__of_each_kind(void **state)
{
    (void)state;
    check_one("cloud", "cloud", 8080, "cloud:8080");
    check_one("cloud:1", "cloud", 1, "cloud:1");
    check_one("10.0.0.1:65535", "10.0.0.1", 65535, "10.0.0.1:65535");
    check_one("[::1]", "::1", 8080, "[::1]:8080");
    check_one("[fe80::2]:99", "fe80::2", 99, "[fe80::2]:99");
    check_one("fe80::2", "fe80::2", 8080, "[fe80::2]:8080");
    check_one("a\x1b", "a\x1b", 8080, "a\\x1b:8080");
}

static void
parse__several__in_their_order(void **state)
{
    kerf_route r = {0};

    (void)state;
    assert_int_equal(kerf_route_parse(&r, "a,b:2,[::1]:3", 1, NULL), KERF_OK);
    assert_int_equal(r.count, 3);
    assert_string_equal(r.at[1].host, "b");
    assert_int_equal(r.at[0].port, 1);
    assert_int_equal(r.at[1].port, 2);
    assert_int_equal(r.at[2].port, 3);
}

static void
parse__blanks_around_a_host__are_none_of_it(void **state)
{
    kerf_route r = {0};

    (void)state;
    assert_int_equal(kerf_route_parse(&r, " a, b:2 ,\t[::1]:3\n", 1, NULL),
                     KERF_OK);
    assert_int_equal(r.count, 3);
    assert_string_equal(r.at[0].host, "a");
    assert_string_equal(r.at[1].host, "b");
    assert_int_equal(r.at[1].port, 2);
    assert_string_equal(r.at[2].host, "::1");
    assert_int_equal(r.at[2].port, 3);
}

static void
parse__an_empty_host__names_the_whole_text(void **state)
{
    kerf_route r = {0};
    kerf_detail why = {{0}};

    (void)state;
    assert_int_equal(kerf_route_parse(&r, "a,,b", 8080, &why), KERF_EINVAL);
    assert_non_null(strstr(why.text, "\"a,,b\""));
}

static void
parse__what_is_no_address__is_einval_and_named(void **state)
{
    static const char *const bad[] = {"",      ",",      "a,",      ",a",
                                      "a,,b",  "a:",     "a:0",     "a:x",
                                      "a:1x",  "a:-1",   "a:65536", "[",
                                      "[]",    "[::1",   "[::1]x",  ":1",
                                      "a: 1x", "[::1]:", "[::1]:0", "a b",
                                      "a, ,b", " ",      "a b:1",   "[a b]:1"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kerf_route r = {0};
        kerf_detail why = {{0}};

        if (kerf_route_parse(&r, bad[i], 8080, &why) != KERF_EINVAL)
            fail_msg("\"%s\" was taken", bad[i]);
        assert_non_null(strstr(why.text, "--cloud-host"));
    }
}

static void
parse__more_than_the_most__is_einval(void **state)
{
    kerf_route r = {0};

    (void)state;
    assert_int_equal(kerf_route_parse(&r, "a,b,c,d,e,f,g,h", 1, NULL), KERF_OK);
    assert_int_equal(kerf_route_parse(&r, "a,b,c,d,e,f,g,h,i", 1, NULL),
                     KERF_EINVAL);
}

static void
parse__a_name_that_is_too_long__is_einval(void **state)
{
    kerf_route r = {0};
    char name[400];

    (void)state;
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(kerf_route_parse(&r, name, 1, NULL), KERF_EINVAL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse__one_address__of_each_kind),
        cmocka_unit_test(parse__several__in_their_order),
        cmocka_unit_test(parse__blanks_around_a_host__are_none_of_it),
        cmocka_unit_test(parse__an_empty_host__names_the_whole_text),
        cmocka_unit_test(parse__what_is_no_address__is_einval_and_named),
        cmocka_unit_test(parse__more_than_the_most__is_einval),
        cmocka_unit_test(parse__a_name_that_is_too_long__is_einval),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
