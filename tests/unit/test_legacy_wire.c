#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "proto/legacy.h"

#define MB ((uint64_t)1 << 20)

/* n and the JSON, as a peer would send it. */
static size_t
message(uint8_t *out, const char *json)
{
    size_t len = strlen(json);

    out[0] = (uint8_t)len;
    out[1] = (uint8_t)(len >> 8);
    out[2] = (uint8_t)(len >> 16);
    out[3] = 0;
    memcpy(out + 4, json, len);
    return len + 4;
}

static kerf_err
feed_all(kerf_legacy_kind kind, const char *json, kerf_legacy_message *m,
         kerf_detail *why)
{
    uint8_t bytes[4096];
    size_t len = message(bytes, json);
    kerf_legacy_reader r;
    bool ready = false;
    size_t used = 0;
    kerf_err err;

    kerf_legacy_init(&r, kind, MB);
    err = kerf_legacy_feed(&r, bytes, len, &used, &ready, m, why);
    if (err == KERF_OK) {
        assert_true(ready);
        assert_int_equal(used, len);
        assert_true(kerf_legacy_idle(&r));
    }
    kerf_legacy_fini(&r);
    return err;
}

static void
put_file__a_name__is_what_python_writes(void **state)
{
    static const char json[] =
        "{\"filename\": \"data/send/model/client_infer_X.pdmodel\", "
        "\"filesize\": 123}";
    uint8_t out[KERF_LEGACY_PUT_MAX];
    uint8_t expected[KERF_LEGACY_PUT_MAX];
    size_t len = message(expected, json);

    (void)state;
    assert_int_equal(
        kerf_legacy_put_file(out, sizeof out, "client_infer_X.pdmodel", 123),
        len);
    assert_memory_equal(out, expected, len);
    for (size_t cap = 0; cap < len; cap++)
        assert_int_equal(
            kerf_legacy_put_file(out, cap, "client_infer_X.pdmodel", 123), 0);
    assert_int_equal(
        kerf_legacy_put_file(out, sizeof out, "../client_infer_X.pdmodel", 1),
        0);
}

static void
put_tensor__a_shape__is_what_python_writes(void **state)
{
    static const char json[] = "{\"filename\": 0, \"filesize\": 16417, "
                               "\"tensorshape\": [1, 64, 8, 8]}";
    static const char scalar[] =
        "{\"filename\": 12, \"filesize\": 37, \"tensorshape\": []}";
    kerf_shape shape = {.rank = 4, .dims = {1, 64, 8, 8}};
    uint8_t out[KERF_LEGACY_PUT_MAX];
    uint8_t expected[KERF_LEGACY_PUT_MAX];
    size_t len = message(expected, json);

    (void)state;
    assert_int_equal(kerf_legacy_put_tensor(out, sizeof out, 0, &shape), len);
    assert_memory_equal(out, expected, len);
    len = message(expected, scalar);
    shape = (kerf_shape){.rank = 0};
    assert_int_equal(kerf_legacy_put_tensor(out, sizeof out, 12, &shape), len);
    assert_memory_equal(out, expected, len);
    shape = (kerf_shape){.rank = 1, .dims = {-1}};
    assert_int_equal(kerf_legacy_put_tensor(out, sizeof out, 0, &shape), 0);
}

static void
put__longest_names_and_shapes__have_room(void **state)
{
    kerf_shape shape = {.rank = 8,
                        .dims = {0, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX,
                                 INT64_MAX, INT64_MAX, INT64_MAX}};
    uint8_t out[KERF_LEGACY_PUT_MAX];
    char name[201];

    (void)state;
    memset(name, 'n', sizeof name);
    memcpy(name, "client_infer_", 13);
    memcpy(name + 190, ".pdiparams", 11);
    assert_true(kerf_legacy_put_file(out, sizeof out, name, UINT64_MAX) > 0);
    assert_true(kerf_legacy_put_tensor(out, sizeof out, UINT64_MAX, &shape) >
                0);
}

/* Two messages with payloads, in slices of every length: only header bytes are
 * taken, and every header is seen. */
static void
feed__every_split__finds_the_same_messages(void **state)
{
    kerf_shape shape = {.rank = 2, .dims = {1, 3}};
    uint8_t stream[1024];
    size_t head1 = kerf_legacy_put_tensor(stream, sizeof stream, 0, &shape);
    size_t len = head1 + 12;

    (void)state;
    memset(stream + head1, '{', 12);
    len += kerf_legacy_put_tensor(stream + len, sizeof stream - len, 1, &shape);
    for (size_t step = 1; step <= len; step++) {
        kerf_legacy_reader r;
        uint64_t seen = 0;
        uint64_t payload = 0;

        kerf_legacy_init(&r, KERF_LEGACY_TENSOR, MB);
        for (size_t at = 0; at < len;) {
            size_t end =
                (at / step + 1) * step < len ? (at / step + 1) * step : len;
            kerf_legacy_message m;
            bool ready = false;
            size_t used = 0;

            if (payload > 0) {
                size_t n = end - at < payload ? end - at : (size_t)payload;

                payload -= n;
                at += n;
                continue;
            }
            assert_true(kerf_legacy_need(&r) >= 1);
            assert_int_equal(kerf_legacy_feed(&r, stream + at, end - at, &used,
                                              &ready, &m, NULL),
                             KERF_OK);
            at += used;
            if (ready) {
                assert_int_equal(m.index, seen++);
                assert_int_equal(m.len, 12);
                assert_true(kerf_shape_equal(&m.shape, &shape));
                payload = m.len;
            }
        }
        assert_int_equal(seen, 2);
        kerf_legacy_fini(&r);
    }
}

static void
need__read_exactly__never_reaches_the_payload(void **state)
{
    uint8_t bytes[KERF_LEGACY_PUT_MAX];
    size_t len =
        kerf_legacy_put_file(bytes, sizeof bytes, "client_infer_a.pdmodel", 9);
    kerf_legacy_message m;
    kerf_legacy_reader r;
    bool ready = false;
    size_t used = 0;

    (void)state;
    kerf_legacy_init(&r, KERF_LEGACY_FILE, MB);
    assert_int_equal(kerf_legacy_need(&r), 4);
    assert_int_equal(kerf_legacy_feed(&r, bytes, 4, &used, &ready, &m, NULL),
                     KERF_OK);
    assert_false(ready);
    assert_false(kerf_legacy_idle(&r));
    assert_int_equal(kerf_legacy_need(&r), len - 4);
    assert_int_equal(
        kerf_legacy_feed(&r, bytes + 4, len - 4, &used, &ready, &m, NULL),
        KERF_OK);
    assert_true(ready);
    assert_string_equal(m.name, "client_infer_a.pdmodel");
    assert_int_equal(m.len, 9);
    kerf_legacy_fini(&r);
}

static void
feed__header_length__is_bounded(void **state)
{
    static const uint32_t bad[] = {0, 0x10001, 0x7FFFFFFF, 0x80000000,
                                   0xFFFFFFFF};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint8_t n[4] = {(uint8_t)bad[i], (uint8_t)(bad[i] >> 8),
                        (uint8_t)(bad[i] >> 16), (uint8_t)(bad[i] >> 24)};
        kerf_legacy_message m;
        kerf_legacy_reader r;
        kerf_detail why;
        bool ready;
        size_t used;

        kerf_legacy_init(&r, KERF_LEGACY_FILE, MB);
        assert_int_equal(kerf_legacy_feed(&r, n, 4, &used, &ready, &m, &why),
                         KERF_EPROTO);
        kerf_legacy_fini(&r);
    }
}

static void
feed__header_of_the_greatest_length__is_read(void **state)
{
    static uint8_t bytes[4 + KERF_LEGACY_JSON_MAX];
    kerf_shape shape = {.rank = 1, .dims = {2}};
    kerf_legacy_message m;
    kerf_legacy_reader r;
    bool ready = false;
    size_t used = 0;

    (void)state;
    memset(bytes, ' ', sizeof bytes);
    (void)kerf_legacy_put_tensor(bytes, sizeof bytes, 3, &shape);
    memcpy(bytes, (const uint8_t[]){0, 0, 1, 0}, 4); /* 65536 */
    kerf_legacy_init(&r, KERF_LEGACY_TENSOR, MB);
    assert_int_equal(
        kerf_legacy_feed(&r, bytes, sizeof bytes, &used, &ready, &m, NULL),
        KERF_OK);
    assert_true(ready);
    assert_int_equal(m.index, 3);
    kerf_legacy_fini(&r);
}

static void
feed__hostile_file_names__are_refused_and_escaped(void **state)
{
    static const char *const names[] = {
        "../client_infer_x.pdmodel",
        "data/send/model/../../client_infer_x.pdmodel",
        "..",
        "",
        "/",
        "data/send/model/",
        "data/send/model/client_infer_x.pdmodel/..",
        "/etc/passwd",
        "client_infer_.pdmodel",
        "client_infer_x.onnx",
        "client_infer_x.pdmodel.sh",
        "server_infer_x.pdmodel",
        "client_infer_a b.pdmodel",
        "client_infer_\\u001b[2J.pdmodel",
        "client_infer_x\\n.pdmodel",
        "..\\\\client_infer_x.pdmodel",
        "data\\\\client_infer_x.pdmodel",
    };

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        kerf_legacy_message m;
        kerf_detail why;
        char json[256];

        (void)snprintf(json, sizeof json,
                       "{\"filename\": \"%s\", \"filesize\": 1}", names[i]);
        assert_int_equal(feed_all(KERF_LEGACY_FILE, json, &m, &why),
                         KERF_EPROTO);
        assert_non_null(strstr(why.text, "refused the name"));
        assert_null(strchr(why.text, '\n'));
        assert_null(strchr(why.text, 0x1b));
    }
}

static void
feed__good_file_names__keep_only_the_last_part(void **state)
{
    kerf_legacy_message m;

    (void)state;
    assert_int_equal(
        feed_all(KERF_LEGACY_FILE,
                 "{\"filesize\":0,\"filename\":\"client_infer_x.pdiparams\"}",
                 &m, NULL),
        KERF_OK);
    assert_string_equal(m.name, "client_infer_x.pdiparams");
    assert_int_equal(m.len, 0);
    assert_int_equal(
        feed_all(KERF_LEGACY_FILE,
                 "{\"filename\": \"/abs/./client_infer_a..b.pdmodel\", "
                 "\"filesize\": 1048576}",
                 &m, NULL),
        KERF_OK);
    assert_string_equal(m.name, "client_infer_a..b.pdmodel");
    assert_int_equal(m.len, MB);
}

static void
feed__wrong_members__are_errors_that_say_which(void **state)
{
    static const struct {
        kerf_legacy_kind kind;
        kerf_err err;
        const char *json;
        const char *says;
    } cases[] = {
        {KERF_LEGACY_FILE, KERF_EPROTO, "[]", "filename"},
        {KERF_LEGACY_FILE, KERF_EPROTO, "{\"filename\": 0}", "filename"},
        {KERF_LEGACY_FILE, KERF_EPROTO,
         "{\"filename\": \"client_infer_x.pdmodel\"}", "filesize"},
        {KERF_LEGACY_FILE, KERF_EPROTO,
         "{\"filename\": \"client_infer_x.pdmodel\", \"filesize\": -1}",
         "filesize"},
        {KERF_LEGACY_FILE, KERF_EPROTO,
         "{\"filename\": \"client_infer_x.pdmodel\", \"filesize\": 1.5}",
         "filesize"},
        {KERF_LEGACY_FILE, KERF_ETOOBIG,
         "{\"filename\": \"client_infer_x.pdmodel\", \"filesize\": 1048577}",
         "limit"},
        {KERF_LEGACY_FILE, KERF_ETOOBIG,
         "{\"filename\": \"client_infer_x.pdmodel\", "
         "\"filesize\": 9223372036854775807}",
         "limit"},
        {KERF_LEGACY_FILE, KERF_EPROTO,
         "{\"filename\": \"client_infer_x.pdmodel\", "
         "\"filesize\": 9223372036854775808}",
         "JSON"},
        {KERF_LEGACY_FILE, KERF_EPROTO, "{\"filename\": ", "JSON"},
        {KERF_LEGACY_TENSOR, KERF_EPROTO,
         "{\"filename\": \"x\", \"tensorshape\": [1]}", "filename"},
        {KERF_LEGACY_TENSOR, KERF_EPROTO,
         "{\"filename\": -1, \"tensorshape\": [1]}", "filename"},
        {KERF_LEGACY_TENSOR, KERF_EPROTO, "{\"filename\": 0}", "tensorshape"},
        {KERF_LEGACY_TENSOR, KERF_EPROTO,
         "{\"filename\": 0, \"tensorshape\": [1.0]}", "tensorshape"},
        {KERF_LEGACY_TENSOR, KERF_EPROTO,
         "{\"filename\": 0, \"tensorshape\": [-1]}", "tensorshape"},
        {KERF_LEGACY_TENSOR, KERF_EPROTO,
         "{\"filename\": 0, \"tensorshape\": [1,1,1,1,1,1,1,1,1]}",
         "tensorshape"},
        {KERF_LEGACY_TENSOR, KERF_ETOOBIG,
         "{\"filename\": 0, \"tensorshape\": [262145]}", "limit"},
        {KERF_LEGACY_TENSOR, KERF_ETOOBIG,
         "{\"filename\": 0, \"tensorshape\": "
         "[9223372036854775807, 9223372036854775807]}",
         "limit"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kerf_legacy_message m;
        kerf_detail why = {{0}};

        assert_int_equal(feed_all(cases[i].kind, cases[i].json, &m, &why),
                         cases[i].err);
        assert_non_null(strstr(why.text, cases[i].says));
    }
}

static void
feed__stated_tensor_size__is_not_believed(void **state)
{
    kerf_legacy_message m;

    (void)state;
    assert_int_equal(feed_all(KERF_LEGACY_TENSOR,
                              "{\"filename\": 5, \"filesize\": 99999999999, "
                              "\"tensorshape\": [1, 64, 8, 8]}",
                              &m, NULL),
                     KERF_OK);
    assert_int_equal(m.len, 16384);
    assert_int_equal(m.index, 5);
}

static void
feed__deeply_nested_json__is_an_error(void **state)
{
    static char json[4000];
    kerf_legacy_message m;

    (void)state;
    memset(json, '[', sizeof json - 1);
    assert_int_equal(feed_all(KERF_LEGACY_TENSOR, json, &m, NULL), KERF_EPROTO);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_file__a_name__is_what_python_writes),
        cmocka_unit_test(put_tensor__a_shape__is_what_python_writes),
        cmocka_unit_test(put__longest_names_and_shapes__have_room),
        cmocka_unit_test(feed__every_split__finds_the_same_messages),
        cmocka_unit_test(need__read_exactly__never_reaches_the_payload),
        cmocka_unit_test(feed__header_length__is_bounded),
        cmocka_unit_test(feed__header_of_the_greatest_length__is_read),
        cmocka_unit_test(feed__hostile_file_names__are_refused_and_escaped),
        cmocka_unit_test(feed__good_file_names__keep_only_the_last_part),
        cmocka_unit_test(feed__wrong_members__are_errors_that_say_which),
        cmocka_unit_test(feed__stated_tensor_size__is_not_believed),
        cmocka_unit_test(feed__deeply_nested_json__is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
