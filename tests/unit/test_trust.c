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

#include "base/date.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/hash.h"
#include "trust/ran.h"

#define NOW INT64_C(1800000000)

static char dir[64];
static char key_path[KERF_PATH_MAX], pub_path[KERF_PATH_MAX];
static const char *const pub_paths[] = {pub_path};
static const kerf_trust trust = {.path = pub_paths, .count = 1};

static int
make_dir(void **state)
{
    kerf_public_key public;

    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/kerf-trust-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    (void)snprintf(key_path, sizeof key_path, "%s/key", dir);
    (void)snprintf(pub_path, sizeof pub_path, "%s/key.pub", dir);
    return kerf_key_make(key_path, &public, NULL) == KERF_OK ? 0 : -1;
}

static int
remove_dir(void **state)
{
    kerf_names names = {0};

    (void)state;
    if (kerf_fs_list(dir, 100, &names, NULL) != KERF_OK)
        return -1;
    for (size_t i = 0; i < names.count; i++) {
        char path[KERF_PATH_MAX];

        if (kerf_path_join(path, dir, names.name[i]) == KERF_OK)
            (void)remove(path); /* a folder, too */
    }
    kerf_names_free(&names);
    return rmdir(dir);
}

static kerf_statement
example(void)
{
    kerf_statement s = {.version = 3,
                        .issued_s = NOW,
                        .expires_s = NOW + 100,
                        .model = "digits"};

    memset(s.bundle, 7, sizeof s.bundle);
    return s;
}

static kerf_signed
sign_with(const char *path, const kerf_statement *s)
{
    kerf_secret_key *key = NULL;
    kerf_public_key public;
    kerf_signed out = {0};

    assert_int_equal(kerf_secret_key_read(&key, path, &public, NULL), KERF_OK);
    assert_int_equal(kerf_statement_sign(&out, s, key, &public, NULL), KERF_OK);
    kerf_secret_key_free(key);
    return out;
}

static kerf_err
check(const kerf_signed *s, int64_t now_s, kerf_detail *why)
{
    kerf_statement asked = example();
    kerf_statement says = {0};
    kerf_err err = kerf_trust_statement(&trust, s, "digits", asked.bundle,
                                        now_s, &says, why);

    if (err == KERF_OK)
        assert_memory_equal(&says, &asked, sizeof says);
    return err;
}

static void
date__text_and_back__and_no_others(void **state)
{
    static const char *const bad[] = {
        "",
        "2027-02-28",
        "2027-02-30T00:00:00Z",
        "2027-02-28T24:00:00Z",
        "2027-02-28T00:00:60Z",
        "2027-02-28 00:00:00Z",
        "2027-02-28T00:00:00z",
        "1969-12-31T23:59:59Z",
        "2027-02-28T00:00:00Z ",
        "+027-02-28T00:00:00Z",
    };
    char text[KERF_DATE_TEXT];
    int64_t s = -1;

    (void)state;
    assert_true(kerf_date_parse(&s, "2028-02-29T23:59:59Z"));
    assert_int_equal(s, 1835481599);
    assert_string_equal(kerf_date_text(text, s), "2028-02-29T23:59:59Z");
    assert_true(kerf_date_parse(&s, "9999-12-31T23:59:59Z"));
    assert_true(s == KERF_DATE_MAX);
    assert_string_equal(kerf_date_text(text, s + 1), "9999-12-31T23:59:59Z");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        s = 5;
        assert_false(kerf_date_parse(&s, bad[i]));
        assert_int_equal(s, 5);
    }
}

static void
date__end__spans_and_days(void **state)
{
    int64_t s = 0;

    (void)state;
    assert_true(kerf_date_parse_end(&s, "90d", 1000));
    assert_int_equal(s, 1000 + 90 * 86400);
    assert_true(kerf_date_parse_end(&s, "1y", 0));
    assert_int_equal(s, 365 * 86400);
    assert_true(kerf_date_parse_end(&s, "1970-01-02", 0));
    assert_int_equal(s, 2 * 86400 - 1);
    assert_true(kerf_date_parse_end(&s, "1970-01-02T00:00:00Z", 0));
    assert_int_equal(s, 86400);
    assert_false(kerf_date_parse_end(&s, "90", 0));
    assert_false(kerf_date_parse_end(&s, "d", 0));
    assert_false(kerf_date_parse_end(&s, "-1d", 0));
    assert_false(kerf_date_parse_end(&s, "999999999y", 0));
}

static void
key__made__modes_and_no_overwriting(void **state)
{
    kerf_public_key public;
    kerf_detail why;
    struct stat st;
    char other[KERF_PATH_MAX];

    (void)state;
    assert_int_equal(stat(key_path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(kerf_key_make(key_path, &public, &why), KERF_EINVAL);
    assert_non_null(strstr(why.text, "there already"));
    /* The public half in the way: no secret one is left. */
    (void)snprintf(other, sizeof other, "%s/o.pub", dir);
    assert_int_equal(kerf_fs_write(other, "x", 1, NULL), KERF_OK);
    (void)snprintf(other, sizeof other, "%s/o", dir);
    assert_int_equal(kerf_key_make(other, &public, &why), KERF_EINVAL);
    assert_int_equal(access(other, F_OK), -1);
}

static char logged[2048];

static void
keep_line(void *ctx, kerf_log_level level, const char *line)
{
    size_t len = strlen(logged);

    (void)ctx;
    (void)level;
    (void)snprintf(logged + len, sizeof logged - len, "%s\n", line);
}

static void
key__others_may_read_it__is_refused(void **state)
{
    kerf_secret_key *key = NULL;
    kerf_public_key public;
    kerf_detail why;

    (void)state;
    assert_int_equal(chmod(key_path, 0640), 0);
    assert_int_equal(kerf_secret_key_read(&key, key_path, &public, &why),
                     KERF_EINVAL);
    assert_non_null(strstr(why.text, "chmod 600"));
    assert_int_equal(chmod(key_path, 0600), 0);
    assert_int_equal(kerf_secret_key_read(&key, pub_path, &public, NULL),
                     KERF_EINVAL);
}

static void
key__of_another_user__is_told(void **state)
{
    kerf_secret_key *key = NULL;
    kerf_public_key public;

    (void)state;
    if (geteuid() != 0)
        skip(); /* nobody else may give files away */
    logged[0] = '\0';
    kerf_log_set(keep_line, NULL, KERF_LOG_WARN);
    assert_int_equal(kerf_secret_key_read(&key, key_path, &public, NULL),
                     KERF_OK);
    kerf_secret_key_free(key);
    assert_string_equal(logged, "");
    assert_int_equal(chown(key_path, 12345, 0), 0);
    assert_int_equal(kerf_secret_key_read(&key, key_path, &public, NULL),
                     KERF_OK);
    kerf_secret_key_free(key);
    kerf_log_set(NULL, NULL, KERF_LOG_WARN);
    assert_non_null(strstr(logged, "trust.key_of_another key="));
    assert_non_null(strstr(logged, "user=12345"));
}

static void
statement__signed__is_trusted_and_says_what_was_signed(void **state)
{
    kerf_statement s = example();
    kerf_statement says;
    kerf_signed signed_one = sign_with(key_path, &s);
    kerf_signed back;
    char *json = NULL;

    (void)state;
    assert_int_equal(check(&signed_one, NOW, NULL), KERF_OK);
    assert_int_equal(kerf_signed_format(&signed_one, &json), KERF_OK);
    assert_int_equal(kerf_signed_parse(&back, &says, json, strlen(json), NULL),
                     KERF_OK);
    assert_true(kerf_signed_equal(&back, &signed_one));
    assert_memory_equal(&says, &s, sizeof s);
    free(json);
}

/* Frozen: signatures of old must count in later versions. Made by OpenSSL's
 * own call, of the bytes 00 to 1f as the secret key. */
static void
statement__golden__text_key_and_signature(void **state)
{
    static const char pem[] =
        "-----BEGIN PRIVATE KEY-----\n"
        "MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n"
        "-----END PRIVATE KEY-----\n";
    char path[KERF_PATH_MAX];
    char sig[2 * KERF_ED25519_SIG + 1], id[KERF_KEY_ID_HEX];
    kerf_statement s = example();
    kerf_signed out;

    (void)state;
    (void)snprintf(path, sizeof path, "%s/golden", dir);
    assert_int_equal(kerf_fs_write(path, pem, sizeof pem - 1, NULL), KERF_OK);
    assert_int_equal(chmod(path, 0600), 0);
    out = sign_with(path, &s);
    assert_string_equal(
        out.text,
        "{\"kerf_statement\":1,\"model\":\"digits\",\"bundle\":\""
        "0707070707070707070707070707070707070707070707070707070707070707\""
        ",\"version\":3,\"issued\":\"2027-01-15T08:00:00Z\""
        ",\"expires\":\"2027-01-15T08:01:40Z\"}");
    kerf_hex(sig, out.sig, sizeof out.sig);
    assert_string_equal(
        sig,
        "d946594d8810528d7acca1fa466d150f8ed016d441dd66ff834103c69e20290f"
        "77ca519c90c4bf3a440a96f25777baa01229271be6caf49c9dca0b2afe77c10e");
    kerf_hex(id, out.key, sizeof out.key);
    assert_string_equal(id, "56475aa75463474c");
}

static void
statement__every_bit_of_it_and_of_the_signature__counts(void **state)
{
    kerf_statement s = example();
    kerf_signed good = sign_with(key_path, &s);

    (void)state;
    for (size_t i = 0; i < 8 * good.len; i++) {
        kerf_signed bad = good;

        bad.text[i / 8] = (char)(bad.text[i / 8] ^ 1 << i % 8);
        assert_int_equal(check(&bad, NOW, NULL), KERF_EDENIED);
    }
    for (size_t i = 0; i < 8 * sizeof good.sig; i++) {
        kerf_signed bad = good;

        bad.sig[i / 8] = (uint8_t)(bad.sig[i / 8] ^ 1 << i % 8);
        assert_int_equal(check(&bad, NOW, NULL), KERF_EDENIED);
    }
    for (size_t len = 1; len < good.len; len++) {
        kerf_signed bad = good;

        bad.len = len;
        bad.text[len] = '\0';
        assert_int_equal(check(&bad, NOW, NULL), KERF_EDENIED);
    }
}

static void
statement__unsigned_other_key_other_subject__says_why(void **state)
{
    char other[KERF_PATH_MAX];
    kerf_public_key public;
    kerf_statement s = example();
    kerf_signed none = {0};
    kerf_signed bad;
    kerf_detail why;

    (void)state;
    assert_int_equal(check(&none, NOW, &why), KERF_EDENIED);
    assert_non_null(strstr(why.text, "not signed"));

    (void)snprintf(other, sizeof other, "%s/other", dir);
    assert_int_equal(kerf_key_make(other, &public, NULL), KERF_OK);
    bad = sign_with(other, &s);
    assert_int_equal(check(&bad, NOW, &why), KERF_EDENIED);
    assert_non_null(strstr(why.text, "not among those of --trust"));
    memcpy(bad.key, sign_with(key_path, &s).key, sizeof bad.key);
    assert_int_equal(check(&bad, NOW, &why), KERF_EDENIED);
    assert_non_null(strstr(why.text, "altered"));

    (void)snprintf(s.model, sizeof s.model, "faces");
    bad = sign_with(key_path, &s);
    assert_int_equal(check(&bad, NOW, &why), KERF_EDENIED);
    assert_non_null(strstr(why.text, "for model faces"));

    s = example();
    s.bundle[31] ^= 1;
    bad = sign_with(key_path, &s);
    assert_int_equal(check(&bad, NOW, &why), KERF_EDENIED);
    assert_non_null(strstr(why.text, "not what was signed"));
}

static void
statement__time__until_it_expires_and_clocks_that_are_wrong(void **state)
{
    kerf_statement s = example();
    kerf_signed good = sign_with(key_path, &s);
    kerf_detail why;

    (void)state;
    assert_int_equal(check(&good, NOW + 100, NULL), KERF_OK);
    assert_int_equal(check(&good, NOW + 101, &why), KERF_EDENIED);
    assert_non_null(strstr(why.text, "expired"));
    assert_int_equal(check(&good, NOW - KERF_STATEMENT_SKEW_S, NULL), KERF_OK);
    assert_int_equal(check(&good, NOW - KERF_STATEMENT_SKEW_S - 1, &why),
                     KERF_EAGAIN);
    assert_non_null(strstr(why.text, "set the clock"));
}

static void
statement__text_that_is_none__is_corrupt(void **state)
{
    static const char *const bad[] = {
        "",
        "{}",
        "[1]",
        "{\"kerf_statement\":2}",
        "{\"kerf_statement\":1,\"model\":\"../x\"}",
    };
    kerf_statement s = example();
    kerf_statement out;
    kerf_secret_key *key = NULL;
    kerf_public_key public;
    kerf_signed to;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_not_equal(
            kerf_statement_parse(&out, bad[i], strlen(bad[i]), NULL), KERF_OK);
    assert_int_equal(kerf_secret_key_read(&key, key_path, &public, NULL),
                     KERF_OK);
    s.version = 0;
    assert_int_equal(kerf_statement_sign(&to, &s, key, &public, NULL),
                     KERF_EINVAL);
    s.version = 3;
    s.rollback_from = 3; /* that is no way back */
    assert_int_equal(kerf_statement_sign(&to, &s, key, &public, NULL),
                     KERF_EINVAL);
    kerf_secret_key_free(key);
}

static void
trust__folder__all_of_its_keys_and_those_of_now(void **state)
{
    const char *const folder[] = {dir};
    const kerf_trust in_folder = {.path = folder, .count = 1};
    kerf_statement s = example();
    kerf_statement says;
    kerf_signed good = sign_with(key_path, &s);

    (void)state;
    assert_int_equal(kerf_trust_check(&in_folder, NULL), KERF_OK);
    assert_int_equal(kerf_trust_statement(&in_folder, &good, s.model, s.bundle,
                                          NOW, &says, NULL),
                     KERF_OK);
    assert_int_equal(unlink(pub_path), 0);
    assert_int_equal(kerf_trust_statement(&in_folder, &good, s.model, s.bundle,
                                          NOW, &says, NULL),
                     KERF_ENOENT);
}

/* What is said to the log while the statement is looked at. */
static kerf_err
look_logged(const kerf_trust *keys, const kerf_signed *sig,
            const kerf_statement *s, kerf_detail *why)
{
    kerf_statement says;
    kerf_err err;

    logged[0] = '\0';
    kerf_log_set(keep_line, NULL, KERF_LOG_WARN);
    err = kerf_trust_statement(keys, sig, s->model, s->bundle, NOW, &says, why);
    kerf_log_set(NULL, NULL, KERF_LOG_WARN);
    return err;
}

static void
trust__a_broken_key_beside_it__takes_nothing_from_others(void **state)
{
    const char *const folder[] = {dir};
    const kerf_trust in_folder = {.path = folder, .count = 1};
    kerf_statement s = example();
    kerf_signed good = sign_with(key_path, &s);
    kerf_detail why = {{0}};
    char broken[KERF_PATH_MAX];

    (void)state;
    (void)snprintf(broken, sizeof broken, "%s/a.pub", dir); /* comes first */
    assert_int_equal(kerf_fs_write(broken, "half", 4, NULL), KERF_OK);
    assert_int_equal(look_logged(&in_folder, &good, &s, &why), KERF_OK);
    assert_non_null(strstr(logged, "trust.key_skipped"));
    assert_non_null(strstr(logged, "a.pub"));
    assert_int_equal(unlink(pub_path), 0);
    assert_int_equal(look_logged(&in_folder, &good, &s, &why), KERF_ENOENT);
    assert_non_null(strstr(why.text, dir));
}

static void
trust__a_path_without_keys__takes_nothing_from_others(void **state)
{
    char empty[KERF_PATH_MAX];
    const char *const paths[] = {empty, "/nowhere/key.pub", pub_path};
    const kerf_trust all = {.path = paths, .count = 3};
    const kerf_trust none = {.path = paths, .count = 2};
    kerf_statement s = example();
    kerf_signed good = sign_with(key_path, &s);
    kerf_detail why = {{0}};

    (void)state;
    (void)snprintf(empty, sizeof empty, "%s/empty", dir);
    assert_int_equal(kerf_fs_mkdirs(empty, NULL), KERF_OK);
    assert_int_equal(look_logged(&all, &good, &s, &why), KERF_OK);
    assert_non_null(strstr(logged, "trust.path_skipped path=\""));
    assert_non_null(strstr(logged, "no key (*.pub) in it"));
    assert_non_null(strstr(logged, "path=\"/nowhere/key.pub\""));
    assert_int_equal(look_logged(&none, &good, &s, &why), KERF_ENOENT);
    assert_int_equal(kerf_trust_check(&none, &why), KERF_ENOENT);
    assert_non_null(strstr(why.text, "/nowhere/key.pub"));
}

/* What ran. */

static kerf_statement
version(int64_t n, uint8_t bundle, int64_t rollback_from, int64_t issued)
{
    kerf_statement s = example();

    s.version = n;
    s.rollback_from = rollback_from;
    s.issued_s = NOW + issued;
    memset(s.bundle, bundle, sizeof s.bundle);
    return s;
}

static kerf_err
may_run(const kerf_statement *s)
{
    kerf_detail why;
    kerf_err err = kerf_ran_allows(dir, s, &why);

    if (err != KERF_OK)
        assert_true(why.text[0] != '\0');
    return err;
}

static void
run(const kerf_statement *s)
{
    assert_int_equal(may_run(s), KERF_OK);
    assert_int_equal(kerf_ran_add(dir, s, NULL), KERF_OK);
}

static void
ran__newer_and_the_same__but_nothing_older(void **state)
{
    kerf_statement v3 = version(3, 3, 0, 0), v5 = version(5, 5, 0, 1);
    kerf_statement again = version(5, 5, 0, 9), other = version(5, 6, 0, 9);
    uint8_t bundle[KERF_STATEMENT_BUNDLE];

    (void)state;
    assert_false(kerf_ran_bundle(dir, "digits", bundle));
    run(&v3);
    run(&v5);
    assert_int_equal(may_run(&v3), KERF_EDENIED);
    run(&again);
    assert_int_equal(may_run(&other), KERF_EDENIED);
    assert_int_equal(kerf_ran_add(dir, &v3, NULL), KERF_EDENIED);
    assert_true(kerf_ran_bundle(dir, "digits", bundle));
    assert_memory_equal(bundle, v5.bundle, sizeof bundle);
    (void)snprintf(v3.model, sizeof v3.model, "faces");
    run(&v3); /* each model has its own */
}

static void
ran__permission_to_go_back__once_and_from_there_only(void **state)
{
    kerf_statement v3 = version(3, 3, 0, 0), v4 = version(4, 4, 0, 1);
    kerf_statement v5 = version(5, 5, 0, 2), v6 = version(6, 6, 0, 8);
    kerf_statement back3 = version(3, 3, 5, 5), back2 = version(2, 2, 5, 7);
    kerf_statement early = version(3, 3, 4, 5);

    (void)state;
    run(&v3);
    run(&v5);
    assert_int_equal(may_run(&early), KERF_EDENIED);
    run(&back3);
    run(&v3); /* what is in force, with the statement of old */
    assert_int_equal(may_run(&v4), KERF_EDENIED);
    assert_int_equal(may_run(&v5), KERF_EDENIED); /* it was left on purpose */
    run(&back2);
    assert_int_equal(may_run(&back3), KERF_EDENIED); /* replayed */
    run(&v6);
    assert_int_equal(may_run(&back2), KERF_EDENIED);
    assert_int_equal(may_run(&back3), KERF_EDENIED);
}

static void
ran__back_to_a_version_that_permissions_led_from__old_ones_are_void(
    void **state)
{
    kerf_statement v5 = version(5, 5, 0, 0), v7 = version(7, 7, 0, 4);
    kerf_statement back3 = version(3, 3, 5, 2), back5 = version(5, 5, 7, 6);

    (void)state;
    run(&v5);
    run(&v7);
    run(&back5);
    assert_int_equal(may_run(&back3), KERF_EDENIED);
}

static void
ran__permission_without_having_run_the_newer__leaves_it_out(void **state)
{
    kerf_statement v4 = version(4, 4, 0, 0), v5 = version(5, 5, 0, 1);
    kerf_statement back3 = version(3, 3, 5, 2);

    (void)state;
    run(&v4);
    run(&back3);
    assert_int_equal(may_run(&v5), KERF_EDENIED);
}

static void
ran__every_bit_of_the_file__damage_is_no_clean_slate(void **state)
{
    kerf_statement v5 = version(5, 5, 0, 0), v4 = version(4, 4, 0, 0);
    char path[KERF_PATH_MAX];
    uint8_t *text = NULL;
    size_t len = 0;

    (void)state;
    run(&v5);
    assert_int_equal(kerf_path_join(path, dir, KERF_RAN_FILE), KERF_OK);
    assert_int_equal(kerf_fs_read(path, 4096, &text, &len, NULL), KERF_OK);
    for (size_t i = 0; i < 8 * len; i++) {
        text[i / 8] = (uint8_t)(text[i / 8] ^ 1 << i % 8);
        assert_int_equal(kerf_fs_write(path, text, len, NULL), KERF_OK);
        assert_int_not_equal(may_run(&v4), KERF_OK);
        text[i / 8] = (uint8_t)(text[i / 8] ^ 1 << i % 8);
    }
    for (size_t cut = 0; cut < len; cut++) {
        assert_int_equal(kerf_fs_write(path, text, cut, NULL), KERF_OK);
        assert_int_not_equal(may_run(&v4), KERF_OK);
    }
    free(text);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(date__text_and_back__and_no_others),
        cmocka_unit_test(date__end__spans_and_days),
        CASE(key__made__modes_and_no_overwriting),
        CASE(key__others_may_read_it__is_refused),
        CASE(key__of_another_user__is_told),
        CASE(statement__signed__is_trusted_and_says_what_was_signed),
        CASE(statement__golden__text_key_and_signature),
        CASE(statement__every_bit_of_it_and_of_the_signature__counts),
        CASE(statement__unsigned_other_key_other_subject__says_why),
        CASE(statement__time__until_it_expires_and_clocks_that_are_wrong),
        CASE(statement__text_that_is_none__is_corrupt),
        CASE(trust__folder__all_of_its_keys_and_those_of_now),
        CASE(trust__a_broken_key_beside_it__takes_nothing_from_others),
        CASE(trust__a_path_without_keys__takes_nothing_from_others),
        CASE(ran__newer_and_the_same__but_nothing_older),
        CASE(ran__permission_to_go_back__once_and_from_there_only),
        CASE(
            ran__back_to_a_version_that_permissions_led_from__old_ones_are_void),
        CASE(ran__permission_without_having_run_the_newer__leaves_it_out),
        CASE(ran__every_bit_of_the_file__damage_is_no_clean_slate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
