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
#include "base/hash.h"
#include "trust/fleet.h"
#include "trust/pem.h"
#include "trust/creds.h"

static char dir[64];
static const kerf_fleet_ask year = {.days = 365};

/* Access. */

static kerf_access *
parse(const char *text)
{
    kerf_access *a = NULL;

    assert_int_equal(kerf_access_parse(&a, text, strlen(text), NULL), KERF_OK);
    return a;
}

static void
access__first_line_that_fits__counts(void **state)
{
    kerf_access *a = parse("# who   what\n"
                           "door-1  digits resnet*\n"
                           "door-*  one?   # a comment\n"
                           "\t cam*5 *\r\n"
                           "*x*y*z  last");

    (void)state;
    assert_true(kerf_access_allows(a, "door-1", "digits"));
    assert_true(kerf_access_allows(a, "door-1", "resnet50"));
    assert_false(kerf_access_allows(a, "door-1", "one1"));
    assert_true(kerf_access_allows(a, "door-2", "one1"));
    assert_false(kerf_access_allows(a, "door-2", "one"));
    assert_false(kerf_access_allows(a, "door-2", "a"));
    assert_true(kerf_access_allows(a, "camera-55", "anything"));
    assert_false(kerf_access_allows(a, "camera-56", "anything"));
    assert_true(kerf_access_allows(a, "1x2x3y4zz", "last"));
    assert_false(kerf_access_allows(a, "1x2x3y4z5", "last"));
    assert_false(kerf_access_allows(a, "door-2", "#"));
    kerf_access_free(a);
}

static void
access__empty__allows_nothing(void **state)
{
    kerf_access *a = parse("# nobody\n\n");

    (void)state;
    assert_false(kerf_access_allows(a, "door-1", "digits"));
    assert_true(kerf_access_allows(NULL, "door-1", "digits"));
    kerf_access_free(a);
}

/* In the least room (for the address sanitizer). */
static void
access__short_lines__fit(void **state)
{
    kerf_access *a = parse("a b\na b\na b\na b\na b\nc d");

    (void)state;
    assert_true(kerf_access_allows(a, "c", "d"));
    assert_false(kerf_access_allows(a, "c", "b"));
    kerf_access_free(a);
}

static void
access__bad_lines__are_named(void **state)
{
    static const char *const bad[] = {"a b\ndoor-1\n", "a b\n\x01 b\n",
                                      "a b\nc \x7f\n"};
    char text[300] = "a b\n";
    kerf_access *a = NULL;
    kerf_detail why;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(kerf_access_parse(&a, bad[i], strlen(bad[i]), &why),
                         KERF_EINVAL);
        assert_non_null(strstr(why.text, "line 2"));
    }
    memset(text + 4, 'n', 130);
    assert_int_equal(kerf_access_parse(&a, text, strlen(text), &why),
                     KERF_EINVAL);
    assert_int_equal(kerf_access_parse(&a, "a\0b c", 5, &why), KERF_EINVAL);
    assert_null(a);
}

/* Index. */

static void
index__every_truncation__is_corrupt_or_shorter(void **state)
{
    static const char text[] =
        "kerf-fleet 1 7 1 2\n"
        "000102030405060708090a0b0c0d0e0f cloud c 1 5 6 0 a.example,::1\n"
        "100102030405060708090a0b0c0d0e0f edge door-1 2 5 6 7 -\n";
    kerf_index index = {0};
    char *out = NULL;
    size_t len = 0;

    (void)state;
    for (size_t i = 0; i < sizeof text - 1; i++) {
        kerf_err err = kerf_index_parse(&index, text, i, NULL);

        if (i > 0 && text[i - 1] == '\n')
            assert_int_equal(err, KERF_OK);
        else
            assert_int_equal(err, KERF_ECORRUPT);
        kerf_index_free(&index);
    }
    assert_int_equal(kerf_index_parse(&index, text, sizeof text - 1, NULL),
                     KERF_OK);
    assert_string_equal(kerf_index_find(&index, "c")->hosts, "a.example,::1");
    assert_int_equal(kerf_index_find(&index, "door-1")->revoked_s, 7);
    assert_int_equal(kerf_index_format(&index, &out, &len), KERF_OK);
    assert_string_equal(out, text);
    free(out);
    kerf_index_free(&index);
}

/* A fleet and its folders. */

static int
make_fleet(void **state)
{
    static const char *const hosts[] = {"127.0.0.1", "cloud.example"};
    kerf_fleet *f = NULL;

    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/kerf-keys-XXXXXX");
    if (mkdtemp(dir) == NULL ||
        kerf_fleet_make(dir, "fleet", &year, NULL) != KERF_OK ||
        kerf_fleet_open(&f, dir, NULL) != KERF_OK ||
        kerf_fleet_issue(f, KERF_SIDE_CLOUD, "cloud", hosts, 2, &year, NULL) !=
            KERF_OK ||
        kerf_fleet_issue(f, KERF_SIDE_EDGE, "door", NULL, 0, &year, NULL) !=
            KERF_OK)
        return -1;
    kerf_fleet_close(f);
    return 0;
}

static int
remove_fleet(void **state)
{
    char command[100];

    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command); /* NOLINT(cert-env33-c): our own folder */
}

static const char *
at(const char *name)
{
    static char path[KERF_PATH_MAX];

    assert_int_equal(kerf_path_join(path, dir, name), KERF_OK);
    return path;
}

static kerf_creds *
load(const char *name, kerf_side side)
{
    kerf_creds *t = NULL;
    kerf_detail why = {{0}};

    if (kerf_creds_load(&t, at(name), side, &why) != KERF_OK)
        fail_msg("%s", why.text);
    return t;
}

static void
fails(const char *name, kerf_side side, const char *word)
{
    kerf_creds *t = NULL;
    kerf_detail why = {{0}};

    assert_int_not_equal(kerf_creds_load(&t, at(name), side, &why), KERF_OK);
    assert_null(t);
    if (strstr(why.text, word) == NULL)
        fail_msg("no \"%s\" in \"%s\"", word, why.text);
}

static void
load__what_was_made__checks_the_other(void **state)
{
    kerf_creds *cloud = load("clouds/cloud", KERF_SIDE_CLOUD);
    kerf_creds *edge = load("edges/door", KERF_SIDE_EDGE);
    struct stat st;

    (void)state;
    assert_string_equal(kerf_creds_name(edge), "door");
    assert_int_equal(kerf_creds_check(cloud, kerf_creds_cert(edge), NULL),
                     KERF_OK);
    assert_int_equal(kerf_creds_check(edge, kerf_creds_cert(cloud), NULL),
                     KERF_OK);
    assert_int_equal(kerf_creds_check(edge, kerf_creds_cert(edge), NULL),
                     KERF_EDENIED); /* an edge is no cloud */
    assert_int_equal(kerf_creds_check(cloud, kerf_creds_cert(cloud), NULL),
                     KERF_EDENIED);
    assert_int_equal(stat(at("edges/door/kerf.key"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(stat(at("edges/door"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    kerf_creds_unref(cloud);
    kerf_creds_unref(edge);
}

static void
load__what_is_wrong__is_named(void **state)
{
    (void)state;
    fails("clouds/cloud", KERF_SIDE_EDGE, "is not an edge's");
    fails("edges/door", KERF_SIDE_CLOUD, "is not a cloud's");
    fails("edges/nobody", KERF_SIDE_EDGE, "no such folder");
    assert_int_equal(chmod(at("edges/door/kerf.key"), 0644), 0);
    fails("edges/door", KERF_SIDE_EDGE, "chmod 600");
    assert_int_equal(chmod(at("edges/door/kerf.key"), 0600), 0);
    assert_int_equal(unlink(at("clouds/cloud/access")), 0);
    fails("clouds/cloud", KERF_SIDE_CLOUD, "access is not there");
    assert_int_equal(mkdir(at("clouds/cloud/access"), 0700), 0);
    fails("clouds/cloud", KERF_SIDE_CLOUD, "not a regular file");
    assert_int_equal(rmdir(at("clouds/cloud/access")), 0);
    assert_int_equal(mkfifo(at("clouds/cloud/access"), 0600), 0);
    fails("clouds/cloud", KERF_SIDE_CLOUD, "not a regular file");
    assert_int_equal(unlink(at("clouds/cloud/access")), 0);
    assert_int_equal(symlink("/dev/zero", at("clouds/cloud/access")), 0);
    fails("clouds/cloud", KERF_SIDE_CLOUD, "not a regular file");
    assert_int_equal(unlink(at("clouds/cloud/access")), 0);
    assert_int_equal(kerf_fs_write(at("clouds/cloud/access"), "x\n", 2, NULL),
                     KERF_OK);
    fails("clouds/cloud", KERF_SIDE_CLOUD, "line 1");
    assert_int_equal(truncate(at("clouds/cloud/access"), 2000000), 0);
    fails("clouds/cloud", KERF_SIDE_CLOUD, "the limit is");
    assert_int_equal(truncate(at("edges/door/ca.crt"), 200), 0);
    fails("edges/door", KERF_SIDE_EDGE, "ca.crt");
    assert_int_equal(truncate(at("edges/door/ca.crt"), 200000), 0);
    fails("edges/door", KERF_SIDE_EDGE, "the limit is");
}

static void
load__key_of_another__is_named(void **state)
{
    char from[KERF_PATH_MAX];

    (void)state;
    (void)snprintf(from, sizeof from, "%s", at("clouds/cloud/kerf.key"));
    assert_int_equal(rename(from, at("edges/door/kerf.key")), 0);
    fails("edges/door", KERF_SIDE_EDGE, "is not the key of");
}

static void
revoke__is_seen_and_never_forgotten(void **state)
{
    kerf_creds *edge = load("edges/door", KERF_SIDE_EDGE);
    kerf_creds *before = load("clouds/cloud", KERF_SIDE_CLOUD);
    kerf_creds *after;
    kerf_fleet *f = NULL;
    kerf_detail why;

    (void)state;
    assert_int_equal(kerf_fleet_open(&f, dir, NULL), KERF_OK);
    assert_int_equal(kerf_fleet_open(&(kerf_fleet *){NULL}, dir, &why),
                     KERF_EBUSY);
    assert_int_equal(kerf_fleet_revoke(f, "nobody", false, &why), KERF_ENOENT);
    assert_int_equal(kerf_fleet_revoke(f, "door", false, NULL), KERF_OK);
    assert_int_equal(kerf_fleet_revoke(f, "door", false, &why), KERF_EINVAL);
    after = load("clouds/cloud", KERF_SIDE_CLOUD);
    assert_int_equal(kerf_creds_check(before, kerf_creds_cert(edge), NULL),
                     KERF_OK);
    assert_int_equal(kerf_creds_check(after, kerf_creds_cert(edge), &why),
                     KERF_EDENIED);
    assert_non_null(strstr(why.text, "revoked"));
    assert_false(kerf_creds_same(before, after));
    fails("edges/door", KERF_SIDE_EDGE, "revoked");
    kerf_fleet_close(f);
    kerf_creds_unref(edge);
    kerf_creds_unref(before);
    kerf_creds_unref(after);
}

static kerf_creds *
reload(const kerf_creds *now, const char *name, unsigned parts,
       const char *word)
{
    kerf_creds *t = NULL;
    kerf_detail why = {{0}};
    unsigned kept = 0;

    assert_int_equal(kerf_creds_reload(&t, now, at(name), 0, &kept, &why),
                     KERF_OK);
    if (kept != parts || strstr(why.text, word) == NULL)
        fail_msg("%u, not %u; no \"%s\" in \"%s\"", kept, parts, word,
                 why.text);
    return t;
}

static void
copy(const char *from, const char *to)
{
    char target[KERF_PATH_MAX];
    uint8_t *data = NULL;
    size_t len = 0;

    (void)snprintf(target, sizeof target, "%s", at(to));
    assert_int_equal(kerf_fs_read(at(from), 1 << 20, &data, &len, NULL),
                     KERF_OK);
    assert_int_equal(kerf_fs_write_mode(target, data, len, 0600, NULL),
                     KERF_OK);
    free(data);
}

/* The list is taken in the midst of a broken folder, by both sides. */
static void
reload__all_else_is_wrong__revokes(void **state)
{
    kerf_creds *edge = load("edges/door", KERF_SIDE_EDGE);
    kerf_creds *cloud = load("clouds/cloud", KERF_SIDE_CLOUD);
    kerf_creds *next;
    kerf_creds *again;
    kerf_fleet *f = NULL;

    (void)state;
    copy("clouds/cloud/crl.pem", "old.pem");
    assert_int_equal(kerf_fleet_open(&f, dir, NULL), KERF_OK);
    assert_int_equal(kerf_fleet_revoke(f, "door", false, NULL), KERF_OK);
    assert_int_equal(kerf_fleet_revoke(f, "cloud", false, NULL), KERF_OK);
    kerf_fleet_close(f);
    assert_int_equal(kerf_fs_write(at("clouds/cloud/access"), "x\n", 2, NULL),
                     KERF_OK);
    assert_int_equal(truncate(at("clouds/cloud/kerf.key"), 20), 0);
    assert_int_equal(truncate(at("clouds/cloud/ca.crt"), 20), 0);
    next = reload(cloud, "clouds/cloud",
                  KERF_PART_AUTHORITY | KERF_PART_KEY | KERF_PART_ACCESS,
                  "kerf.key");
    assert_int_equal(kerf_creds_check(cloud, kerf_creds_cert(edge), NULL),
                     KERF_OK);
    assert_int_equal(kerf_creds_check(next, kerf_creds_cert(edge), NULL),
                     KERF_EDENIED);
    assert_true(kerf_access_allows(kerf_creds_access(next), "door", "m"));
    copy("old.pem", "clouds/cloud/crl.pem");
    again = reload(next, "clouds/cloud",
                   KERF_PART_AUTHORITY | KERF_PART_REVOKED | KERF_PART_KEY |
                       KERF_PART_ACCESS,
                   "");
    assert_true(kerf_creds_same(next, again));
    kerf_creds_unref(next);
    kerf_creds_unref(again);
    /* The edge is revoked itself. */
    next = reload(edge, "edges/door", KERF_PART_KEY, "is revoked");
    assert_int_equal(kerf_creds_check(next, kerf_creds_cert(cloud), NULL),
                     KERF_EDENIED);
    kerf_creds_unref(next);
    kerf_creds_unref(cloud);
    kerf_creds_unref(edge);
}

/* In the order in which it does most harm. */
static void
reload__rotation_file_by_file__loses_nobody(void **state)
{
    kerf_creds *edge = load("edges/door", KERF_SIDE_EDGE);
    kerf_creds *cloud = load("clouds/cloud", KERF_SIDE_CLOUD);
    kerf_creds *next[4];
    kerf_creds *new_edge;
    kerf_fleet *f = NULL;
    size_t i;

    (void)state;
    assert_int_equal(mkdir(at("its"), 0700), 0);
    copy("clouds/cloud/access", "its/access");
    copy("clouds/cloud/ca.crt", "its/ca.crt");
    copy("clouds/cloud/kerf.crt", "its/kerf.crt");
    copy("clouds/cloud/crl.pem", "its/crl.pem");
    copy("clouds/cloud/kerf.key", "its/kerf.key");
    assert_int_equal(kerf_fleet_open(&f, dir, NULL), KERF_OK);
    assert_int_equal(kerf_fleet_rotate(f, &year, NULL), KERF_OK);
    assert_int_equal(kerf_fleet_renew(f, "cloud", &year, NULL), KERF_OK);
    assert_int_equal(kerf_fleet_renew(f, "door", &year, NULL), KERF_OK);
    new_edge = load("edges/door", KERF_SIDE_EDGE);
    copy("clouds/cloud/kerf.crt", "its/kerf.crt");
    next[0] = reload(cloud, "its", KERF_PART_KEY, "is not the key of");
    copy("clouds/cloud/kerf.key", "its/kerf.key");
    next[1] = reload(next[0], "its", KERF_PART_KEY, "not of the authority");
    copy("clouds/cloud/ca.crt", "its/ca.crt");
    next[2] = reload(next[1], "its", KERF_PART_AUTHORITY | KERF_PART_KEY,
                     "has no list of one authority");
    copy("clouds/cloud/crl.pem", "its/crl.pem");
    for (i = 0; i < 3; i++)
        assert_int_equal(kerf_creds_check(edge, kerf_creds_cert(next[i]), NULL),
                         KERF_OK);
    next[3] = reload(next[2], "its", 0, "");
    assert_int_equal(kerf_creds_check(next[3], kerf_creds_cert(edge), NULL),
                     KERF_OK);
    assert_int_equal(kerf_creds_check(next[3], kerf_creds_cert(new_edge), NULL),
                     KERF_OK);
    assert_int_equal(kerf_fleet_retire(f, true, NULL), KERF_OK);
    kerf_fleet_close(f);
    copy("clouds/cloud/ca.crt", "its/ca.crt");
    copy("clouds/cloud/crl.pem", "its/crl.pem");
    for (i = 0; i < 3; i++)
        kerf_creds_unref(next[i]);
    next[0] = reload(next[3], "its", 0, "");
    assert_int_equal(kerf_creds_check(next[0], kerf_creds_cert(edge), NULL),
                     KERF_EDENIED);
    kerf_creds_unref(next[0]);
    kerf_creds_unref(next[3]);
    kerf_creds_unref(new_edge);
    kerf_creds_unref(edge);
    kerf_creds_unref(cloud);
}

static void
reload__folder_of_another_fleet__changes_nothing(void **state)
{
    kerf_creds *edge = load("edges/door", KERF_SIDE_EDGE);
    kerf_creds *next;

    (void)state;
    assert_int_equal(kerf_fleet_make(at("other"), "other", &year, NULL),
                     KERF_OK);
    copy("other/authority/1.crt", "edges/door/ca.crt");
    next =
        reload(edge, "edges/door", KERF_PART_AUTHORITY, "not of the authority");
    assert_true(kerf_creds_same(edge, next));
    kerf_creds_unref(next);
    kerf_creds_unref(edge);
}

static void
renew_authority__both_are_trusted_until_retired(void **state)
{
    kerf_creds *old_edge = load("edges/door", KERF_SIDE_EDGE);
    kerf_creds *cloud;
    kerf_creds *edge;
    kerf_fleet *f = NULL;

    (void)state;
    assert_int_equal(kerf_fleet_open(&f, dir, NULL), KERF_OK);
    assert_int_equal(kerf_fleet_retire(f, false, NULL), KERF_EINVAL);
    assert_int_equal(kerf_fleet_rotate(f, &year, NULL), KERF_OK);
    assert_int_equal(kerf_fleet_rotate(f, &year, NULL), KERF_EINVAL);
    assert_int_equal(kerf_fleet_renew(f, "cloud", &year, NULL), KERF_OK);
    assert_int_equal(kerf_fleet_retire(f, false, NULL), KERF_EINVAL);
    kerf_fleet_close(f);
    f = NULL;
    cloud = load("clouds/cloud", KERF_SIDE_CLOUD);
    edge = load("edges/door", KERF_SIDE_EDGE);
    assert_int_equal(kerf_creds_check(cloud, kerf_creds_cert(old_edge), NULL),
                     KERF_OK);
    assert_int_equal(kerf_creds_check(edge, kerf_creds_cert(cloud), NULL),
                     KERF_OK);
    kerf_creds_unref(cloud);
    kerf_creds_unref(edge);
    assert_int_equal(kerf_fleet_open(&f, dir, NULL), KERF_OK);
    assert_int_equal(kerf_fleet_renew(f, "door", &year, NULL), KERF_OK);
    assert_int_equal(kerf_fleet_retire(f, false, NULL), KERF_OK);
    cloud = load("clouds/cloud", KERF_SIDE_CLOUD);
    edge = load("edges/door", KERF_SIDE_EDGE);
    assert_int_equal(kerf_creds_check(cloud, kerf_creds_cert(edge), NULL),
                     KERF_OK);
    assert_int_equal(kerf_creds_check(cloud, kerf_creds_cert(old_edge), NULL),
                     KERF_EDENIED);
    kerf_fleet_close(f);
    kerf_creds_unref(cloud);
    kerf_creds_unref(edge);
    kerf_creds_unref(old_edge);
}

static void
revoke__of_keys_before__leaves_the_last(void **state)
{
    const kerf_fleet_ask replace = {.days = 365, .replace = true};
    kerf_creds *edge[4];
    kerf_creds *cloud;
    kerf_fleet *f = NULL;
    kerf_detail why;
    char serial[KERF_CERT_SERIAL];

    (void)state;
    edge[0] = load("edges/door", KERF_SIDE_EDGE);
    assert_int_equal(kerf_fleet_open(&f, dir, NULL), KERF_OK);
    assert_int_equal(kerf_fleet_earlier(f, "door"), 0);
    assert_int_equal(kerf_fleet_revoke(f, "door", true, &why), KERF_EINVAL);
    assert_int_equal(kerf_fleet_renew(f, "door", &year, NULL), KERF_OK);
    assert_true(kerf_fleet_earlier(f, "door") > 0);
    edge[1] = load("edges/door", KERF_SIDE_EDGE);
    assert_int_equal(kerf_fleet_renew(f, "door", &replace, NULL), KERF_OK);
    assert_int_equal(kerf_fleet_earlier(f, "door"), 0);
    edge[2] = load("edges/door", KERF_SIDE_EDGE);
    cloud = load("clouds/cloud", KERF_SIDE_CLOUD);
    for (int i = 0; i < 3; i++)
        assert_int_equal(
            kerf_creds_check(cloud, kerf_creds_cert(edge[i]), NULL),
            i < 2 ? KERF_EDENIED : KERF_OK);
    kerf_creds_unref(cloud);
    assert_int_equal(kerf_fleet_renew(f, "door", &year, NULL), KERF_OK);
    edge[3] = load("edges/door", KERF_SIDE_EDGE);
    kerf_hex(serial, kerf_fleet_index(f)->issued[3].serial, 16);
    assert_int_equal(kerf_fleet_revoke(f, serial, false, NULL), KERF_OK);
    assert_int_equal(kerf_fleet_revoke(f, serial, false, &why), KERF_EINVAL);
    memset(serial, '7', sizeof serial - 1);
    assert_int_equal(kerf_fleet_revoke(f, serial, false, &why), KERF_ENOENT);
    cloud = load("clouds/cloud", KERF_SIDE_CLOUD);
    assert_int_equal(kerf_creds_check(cloud, kerf_creds_cert(edge[2]), NULL),
                     KERF_EDENIED);
    assert_int_equal(kerf_creds_check(cloud, kerf_creds_cert(edge[3]), NULL),
                     KERF_OK);
    kerf_creds_unref(cloud);
    kerf_fleet_close(f);
    for (int i = 0; i < 4; i++)
        kerf_creds_unref(edge[i]);
}

/* Puts count revoked certificates into the index that end at until_s. */
static void
fill_index(size_t count, int64_t until_s)
{
    uint8_t *text = NULL;
    char *more = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&more, &len);
    size_t had = 0;

    assert_non_null(out);
    assert_int_equal(
        kerf_fs_read(at("authority/index"), 1 << 20, &text, &had, NULL),
        KERF_OK);
    (void)fwrite(text, 1, had, out);
    for (size_t i = 0; i < count; i++)
        (void)fprintf(out, "7fff%028zx edge many 1 5 %lld 5 -\n", i,
                      (long long)until_s);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(kerf_fs_write(at("authority/index"), more, len, NULL),
                     KERF_OK);
    free(text);
    free(more);
}

static void
revoke__longest_list__is_taken_and_a_longer_one_refused(void **state)
{
    kerf_fleet *f = NULL;
    kerf_detail why;

    (void)state;
    fill_index(1000, 1600000000); /* expired: they do not count */
    fill_index(KERF_REVOKED_MAX - 1, 4102444800);
    assert_int_equal(kerf_fleet_open(&f, dir, NULL), KERF_OK);
    assert_int_equal(kerf_fleet_revoked(f), KERF_REVOKED_MAX - 1);
    assert_int_equal(kerf_fleet_revoke(f, "door", false, NULL), KERF_OK);
    kerf_creds_unref(load("clouds/cloud", KERF_SIDE_CLOUD));
    assert_int_equal(kerf_fleet_revoke(f, "cloud", false, &why), KERF_ETOOBIG);
    assert_int_equal(kerf_fleet_revoked(f), KERF_REVOKED_MAX);
    kerf_fleet_close(f);
}

/* It is whole until the index says that there is another one. */
static void
make__over_a_fleet__overwrites_no_key(void **state)
{
    const kerf_fleet_ask force = {.days = 365, .force = true};
    kerf_fleet *f = NULL;
    uint8_t *index = NULL;
    size_t len = 0;

    (void)state;
    assert_int_equal(
        kerf_fs_read(at("authority/index"), 1 << 20, &index, &len, NULL),
        KERF_OK);
    assert_int_equal(kerf_fleet_make(dir, "fleet", &force, NULL), KERF_OK);
    assert_int_equal(kerf_fleet_open(&f, dir, NULL), KERF_OK);
    assert_int_equal(kerf_fleet_index(f)->count, 0);
    kerf_fleet_close(f);
    /* As a crash before the last step leaves it. */
    assert_int_equal(kerf_fs_write(at("authority/index"), index, len, NULL),
                     KERF_OK);
    free(index);
    f = NULL;
    assert_int_equal(kerf_fleet_open(&f, dir, NULL), KERF_OK);
    assert_int_equal(kerf_fleet_renew(f, "door", &year, NULL), KERF_OK);
    kerf_fleet_close(f);
    kerf_creds_unref(load("edges/door", KERF_SIDE_EDGE));
}

static void
issue__times_and_names__are_kept(void **state)
{
    const kerf_fleet_ask past = {.days = 30, .from_s = 1577836800};  /* 2020 */
    const kerf_fleet_ask later = {.days = 30, .from_s = 4102444800}; /* 2100 */
    const kerf_fleet_ask force = {
        .days = 30, .force = true, .key = KERF_KEY_P256};
    kerf_fleet *f = NULL;
    kerf_detail why;

    (void)state;
    assert_int_equal(kerf_fleet_open(&f, dir, NULL), KERF_OK);
    assert_int_equal(
        kerf_fleet_issue(f, KERF_SIDE_EDGE, "old", NULL, 0, &past, NULL),
        KERF_OK);
    fails("edges/old", KERF_SIDE_EDGE, "expired on 2020-01-31");
    assert_int_equal(
        kerf_fleet_issue(f, KERF_SIDE_EDGE, "new", NULL, 0, &later, NULL),
        KERF_OK);
    fails("edges/new", KERF_SIDE_EDGE, "not valid before 2100-01-01");
    assert_int_equal(
        kerf_fleet_issue(f, KERF_SIDE_EDGE, "door", NULL, 0, &year, &why),
        KERF_EINVAL);
    assert_int_equal(
        kerf_fleet_issue(f, KERF_SIDE_EDGE, "cloud", NULL, 0, &force, &why),
        KERF_EINVAL);
    assert_int_equal(
        kerf_fleet_issue(f, KERF_SIDE_EDGE, "door", NULL, 0, &force, NULL),
        KERF_OK);
    kerf_creds_unref(load("edges/door", KERF_SIDE_EDGE));
    assert_int_equal(
        kerf_fleet_issue(f, KERF_SIDE_EDGE, "../x", NULL, 0, &year, &why),
        KERF_EINVAL);
    kerf_fleet_close(f);
    assert_int_equal(kerf_fleet_make(dir, "fleet", &year, &why), KERF_EINVAL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(access__first_line_that_fits__counts),
        cmocka_unit_test(access__empty__allows_nothing),
        cmocka_unit_test(access__short_lines__fit),
        cmocka_unit_test(access__bad_lines__are_named),
        cmocka_unit_test(index__every_truncation__is_corrupt_or_shorter),
        cmocka_unit_test_setup_teardown(load__what_was_made__checks_the_other,
                                        make_fleet, remove_fleet),
        cmocka_unit_test_setup_teardown(load__what_is_wrong__is_named,
                                        make_fleet, remove_fleet),
        cmocka_unit_test_setup_teardown(load__key_of_another__is_named,
                                        make_fleet, remove_fleet),
        cmocka_unit_test_setup_teardown(revoke__is_seen_and_never_forgotten,
                                        make_fleet, remove_fleet),
        cmocka_unit_test_setup_teardown(reload__all_else_is_wrong__revokes,
                                        make_fleet, remove_fleet),
        cmocka_unit_test_setup_teardown(
            reload__rotation_file_by_file__loses_nobody, make_fleet,
            remove_fleet),
        cmocka_unit_test_setup_teardown(
            reload__folder_of_another_fleet__changes_nothing, make_fleet,
            remove_fleet),
        cmocka_unit_test_setup_teardown(
            renew_authority__both_are_trusted_until_retired, make_fleet,
            remove_fleet),
        cmocka_unit_test_setup_teardown(revoke__of_keys_before__leaves_the_last,
                                        make_fleet, remove_fleet),
        cmocka_unit_test_setup_teardown(
            revoke__longest_list__is_taken_and_a_longer_one_refused, make_fleet,
            remove_fleet),
        cmocka_unit_test_setup_teardown(make__over_a_fleet__overwrites_no_key,
                                        make_fleet, remove_fleet),
        cmocka_unit_test_setup_teardown(issue__times_and_names__are_kept,
                                        make_fleet, remove_fleet),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
