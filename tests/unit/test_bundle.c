#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/bundle.h"

static char dir[64];

static int
make_dir(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/kerf-bundle-XXXXXX");
    return mkdtemp(dir) == NULL ? -1 : 0;
}

static int
remove_dir(void **state)
{
    kerf_names names = {0};

    (void)state;
    if (kerf_fs_list(dir, 100, &names, NULL) == KERF_OK) {
        for (size_t i = 0; i < names.count; i++) {
            char path[KERF_PATH_MAX];

            if (kerf_path_join(path, dir, names.name[i]) == KERF_OK)
                (void)unlink(path);
        }
    }
    kerf_names_free(&names);
    return rmdir(dir);
}

static void
write_file(const char *name, const char *text)
{
    char path[KERF_PATH_MAX];

    assert_int_equal(kerf_path_join(path, dir, name), KERF_OK);
    assert_int_equal(kerf_fs_write(path, text, strlen(text), NULL), KERF_OK);
}

static void
write_pair(const char *name)
{
    static const char *const forms[] = {
        "client_infer_%s.pdmodel", "client_infer_%s.pdiparams",
        "server_infer_%s.pdmodel", "server_infer_%s.pdiparams"};

    for (size_t i = 0; i < 4; i++) {
        char file[KERF_PART_NAME];
        const char *percent = strchr(forms[i], '%');

        (void)snprintf(file, sizeof file, "%.*s%s%s", (int)(percent - forms[i]),
                       forms[i], name, percent + 2);
        write_file(file, file); /* its own name as content */
    }
}

static const kerf_probe_out probe_out = {
    .shape = {.rank = 2, .dims = {1, 3}},
    .count = 2,
    .at = (size_t[]){0, 2},
    .value = (double[]){0.1, -1e-9},
};

/* A sealed manifest of a paddle pair, with a probe (not owned: no fini). */
static kerf_manifest
make_manifest(void)
{
    static kerf_probe_out out;
    static kerf_probe probe;
    kerf_manifest m = {.name = "digits", .probe_tolerance = 1e-3};

    out = probe_out;
    probe = (kerf_probe){.seed = 5, .out_count = 1, .out = &out};
    m.probe = &probe;
    m.probe_count = 1;
    for (int i = 0; i < KERF_ROLE_COUNT; i++) {
        kerf_file *f = &m.file[m.file_count++];

        f->role = (kerf_role)i;
        f->size = (uint64_t)i * 100;
        memset(f->sha256, i, sizeof f->sha256);
        assert_true(
            kerf_role_file(f->name, f->role, KERF_FORMAT_PADDLE, m.name));
    }
    assert_int_equal(kerf_manifest_seal(&m), KERF_OK);
    return m;
}

static void
manifest__format_and_parse__give_the_same(void **state)
{
    kerf_manifest m = make_manifest();
    kerf_manifest back = {0};
    char *text = NULL;

    (void)state;
    assert_int_equal(kerf_manifest_format(&m, &text), KERF_OK);
    assert_int_equal(kerf_manifest_parse(&back, text, strlen(text), NULL),
                     KERF_OK);
    assert_string_equal(back.name, "digits");
    assert_memory_equal(back.id, m.id, sizeof m.id);
    assert_int_equal(back.file_count, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(back.file[i].role, m.file[i].role);
        assert_int_equal(back.file[i].size, m.file[i].size);
        assert_string_equal(back.file[i].name, m.file[i].name);
        assert_memory_equal(back.file[i].sha256, m.file[i].sha256, 32);
    }
    assert_int_equal(back.probe_count, 1);
    assert_int_equal(back.probe[0].seed, 5);
    assert_true(
        kerf_shape_equal(&back.probe[0].out[0].shape, &probe_out.shape));
    assert_int_equal(back.probe[0].out[0].at[1], 2);
    assert_true(back.probe[0].out[0].value[0] == 0.1);
    assert_true(back.probe[0].out[0].value[1] == -1e-9);
    assert_true(back.probe_tolerance == 1e-3);
    free(text);
    kerf_manifest_fini(&back);
}

/* The id is a promise to every later version: frozen. */
static void
manifest_seal__known_files__give_the_documented_id(void **state)
{
    kerf_manifest m = make_manifest();
    char hex[2 * KERF_BUNDLE_ID_LEN + 1];

    (void)state;
    kerf_hex(hex, m.id, sizeof m.id);
    assert_string_equal(hex, "bae7f59b7307f1207308c8f5d1739725"
                             "41d677f0af76fed95ae05050a0a0e23a");
}

static void
manifest_seal__any_change__changes_the_id(void **state)
{
    kerf_manifest m = make_manifest();
    uint8_t id[KERF_BUNDLE_ID_LEN];

    (void)state;
    memcpy(id, m.id, sizeof id);
    m.file[3].size++; /* a tail counts too */
    assert_int_equal(kerf_manifest_seal(&m), KERF_OK);
    assert_memory_not_equal(id, m.id, sizeof id);
    m.file[3].size--;
    m.file[4].sha256[31] ^= 1;
    assert_int_equal(kerf_manifest_seal(&m), KERF_OK);
    assert_memory_not_equal(id, m.id, sizeof id);
    m.file[4].sha256[31] ^= 1;
    m.file[0].name[0] = 'D';
    assert_int_equal(kerf_manifest_seal(&m), KERF_OK);
    assert_memory_not_equal(id, m.id, sizeof id);
}

static void
manifest_parse__every_truncation__is_corrupt(void **state)
{
    kerf_manifest m = make_manifest();
    kerf_manifest back = {.file_count = 77};
    char *text = NULL;

    (void)state;
    assert_int_equal(kerf_manifest_format(&m, &text), KERF_OK);
    for (size_t cut = 0; cut < strlen(text); cut++) {
        kerf_detail why = {{0}};

        assert_int_equal(kerf_manifest_parse(&back, text, cut, &why),
                         KERF_ECORRUPT);
        assert_true(why.text[0] != '\0');
    }
    assert_int_equal(back.file_count, 77); /* untouched */
    free(text);
}

/* Replaces `from` by `to` in a good manifest and reads it. */
static kerf_err
parse_changed(const char *from, const char *to, kerf_detail *why)
{
    static char changed[8192];
    kerf_manifest m = make_manifest();
    kerf_manifest back = {0};
    char *text = NULL;
    char *at;
    kerf_err err;

    assert_int_equal(kerf_manifest_format(&m, &text), KERF_OK);
    at = strstr(text, from);
    assert_non_null(at);
    (void)snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text,
                   to, at + strlen(from));
    err = kerf_manifest_parse(&back, changed, strlen(changed), why);
    free(text);
    kerf_manifest_fini(&back);
    return err;
}

static void
manifest_parse__wrong_members__are_errors_that_say_which(void **state)
{
    static const struct {
        const char *from, *to;
        kerf_err err;
        const char *says;
    } cases[] = {
        {"\"kerf_manifest\":1", "\"kerf_manifest\":2", KERF_EVERSION, "2"},
        {"\"kerf_manifest\":1", "\"x\":1", KERF_ECORRUPT, "kerf_manifest"},
        {"\"kerf_manifest\":1", "\"kerf_manifest\":\"1\"", KERF_ECORRUPT,
         "kerf_manifest"},
        {"\"name\":\"digits\"", "\"name\":\"../x\"", KERF_ECORRUPT, "name"},
        {"\"name\":\"digits\"", "\"name\":\"other\"", KERF_ECORRUPT,
         "digits.kerf.json"},
        {"\"name\":\"digits\"", "\"name\":7", KERF_ECORRUPT, "name"},
        {"\"paddle\"", "\"onnx\"", KERF_ECORRUPT, "digits"},
        {"\"paddle\"", "\"ir\"", KERF_ECORRUPT, "format"},
        {"digits.kerf.json", "../../.bashrc", KERF_ECORRUPT, "digits.kerf"},
        {"digits.kerf.json", "digits.\\u001b[2J", KERF_ECORRUPT, "\\x1b"},
        {"client_infer_digits.pdmodel", "server_infer_digits.pdmodel",
         KERF_ECORRUPT, "head_graph"},
        {"\"size\":100", "\"size\":101", KERF_EMISMATCH, "id"},
        {"\"size\":100", "\"size\":-1", KERF_ECORRUPT, "size"},
        {"\"size\":100", "\"size\":1.0", KERF_ECORRUPT, "size"},
        {"\"size\":100", "\"size\":2147483649", KERF_ECORRUPT, "size"},
        {"\"size\":100", "\"size\":9223372036854775807", KERF_ECORRUPT, "size"},
        {"\"size\":0", "\"size\":4194305", KERF_ECORRUPT, "size"}, /* card */
        {"\"head_weights\"", "\"head_graph\"", KERF_ECORRUPT, "head_graph"},
        {"\"head_weights\"", "\"weights\"", KERF_ECORRUPT, "role"},
        {"\"sha256\":\"00", "\"sha256\":\"0x", KERF_ECORRUPT, "sha256"},
        {"\"sha256\":\"00", "\"sha256\":\"0", KERF_ECORRUPT, "sha256"},
        {"\"id\":\"", "\"id\":\"0", KERF_ECORRUPT, "id"},
        {"\"files\":[", "\"files\":[1,", KERF_ECORRUPT, "files"},
        {"\"files\":[", "\"files\":[],\"f\":[", KERF_ECORRUPT, "files"},
        {"\"seed\":5", "\"seed\":-5", KERF_ECORRUPT, "seed"},
        {"\"at\":[0,2]", "\"at\":[0,3]", KERF_ECORRUPT, "at"},
        {"\"at\":[0,2]", "\"at\":[0]", KERF_ECORRUPT, "at"},
        {"\"at\":[0,2]", "\"at\":[0,-1]", KERF_ECORRUPT, "at"},
        {"\"shape\":[1,3]", "\"shape\":[1,-3]", KERF_ECORRUPT, "shape"},
        {"\"shape\":[1,3]", "\"shape\":3", KERF_ECORRUPT, "shape"},
        {"\"probe_tolerance\":", "\"probe_tolerance\":1", KERF_ECORRUPT,
         "probe_tolerance"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kerf_detail why = {{0}};
        kerf_err err = parse_changed(cases[i].from, cases[i].to, &why);

        if (err != cases[i].err || strstr(why.text, cases[i].says) == NULL)
            fail_msg("%s: %s: %s", cases[i].to, kerf_err_name(err), why.text);
    }
}

static void
manifest_parse__files_out_of_order_or_missing__are_corrupt(void **state)
{
    kerf_manifest m = make_manifest();
    kerf_manifest back = {0};
    kerf_file first = m.file[0];
    char *text = NULL;

    (void)state;
    m.file[0] = m.file[1];
    m.file[1] = first;
    assert_int_equal(kerf_manifest_seal(&m), KERF_OK);
    assert_int_equal(kerf_manifest_format(&m, &text), KERF_OK);
    assert_int_equal(kerf_manifest_parse(&back, text, strlen(text), NULL),
                     KERF_ECORRUPT);
    free(text);
    for (size_t gone = 1; gone < KERF_PARTS_MAX; gone++) {
        m = make_manifest();
        memmove(&m.file[gone], &m.file[gone + 1],
                (KERF_PARTS_MAX - gone - 1) * sizeof *m.file);
        m.file_count--;
        assert_int_equal(kerf_manifest_seal(&m), KERF_OK);
        assert_int_equal(kerf_manifest_format(&m, &text), KERF_OK);
        assert_int_equal(kerf_manifest_parse(&back, text, strlen(text), NULL),
                         KERF_ECORRUPT);
        free(text);
    }
}

static void
pair_read__parts_come_one_by_one__says_what_it_waits_for(void **state)
{
    static const struct {
        const char *file, *waits;
    } steps[] = {
        {"client_infer_digits.pdmodel", "client_infer_digits.pdmodel"},
        {"client_infer_digits.pdiparams", "client_infer_digits.pdiparams"},
        {"server_infer_digits.pdmodel", "server_infer_digits.pdmodel"},
        {"server_infer_digits.pdiparams", "server_infer_digits.pdiparams"},
    };
    kerf_pair pair = {0};
    kerf_detail why = {{0}};

    (void)state;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        assert_int_equal(kerf_pair_read(&pair, dir, "digits", &why),
                         KERF_ENOENT);
        assert_non_null(strstr(why.text, "digits: waiting for "));
        assert_non_null(strstr(why.text, steps[i].waits));
        assert_non_null(strstr(why.text, dir));
        write_file(steps[i].file, i == 3 ? "" : "x"); /* empty is fine */
    }
    why.text[0] = '\0';
    assert_int_equal(kerf_pair_read(&pair, dir, "digits", &why), KERF_OK);
    assert_string_equal(why.text, ""); /* a missing card is nothing wrong */
    assert_int_equal(pair.manifest.file_count, 4);
    assert_false(pair.has_card);
    assert_int_equal(kerf_pair_bytes(&pair, true).weights_len, 1);
    assert_non_null(kerf_pair_bytes(&pair, true).graph);
    assert_null(kerf_pair_bytes(&pair, false).weights);
    kerf_pair_fini(&pair);
    kerf_pair_fini(&pair); /* zeroed: fine again */
}

static void
pair_read__onnx_with_card__reads_all(void **state)
{
    char hex[KERF_SHA256_HEX];
    kerf_pair pair = {0};

    (void)state;
    write_file("client_infer_m.onnx", "abc");
    write_file("server_infer_m.onnx", "tail");
    write_file("m.kerf.json", "{\"kerf_card\": 1, \"name\": \"m\", "
                              "\"input\": {\"kind\": \"tensor\"}}");
    assert_int_equal(kerf_pair_read(&pair, dir, "m", NULL), KERF_OK);
    assert_int_equal(pair.manifest.format, KERF_FORMAT_ONNX);
    assert_int_equal(pair.manifest.file_count, 3);
    assert_true(pair.has_card);
    assert_null(kerf_manifest_file(&pair.manifest, KERF_ROLE_HEAD_WEIGHTS));
    kerf_hex(hex,
             kerf_manifest_file(&pair.manifest, KERF_ROLE_HEAD_GRAPH)->sha256,
             32);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9c"
                             "b410ff61f20015ad"); /* FIPS 180-2, "abc" */
    kerf_pair_drop(&pair, KERF_ROLE_TAIL_GRAPH);
    assert_null(kerf_pair_bytes(&pair, false).graph);
    kerf_pair_fini(&pair);
}

static void
pair_read__contradictions__are_errors(void **state)
{
    kerf_pair pair = {0};
    kerf_detail why;

    (void)state;
    write_pair("d");
    write_file("client_infer_d.onnx", "x");
    assert_int_equal(kerf_pair_read(&pair, dir, "d", &why), KERF_EMISMATCH);
    assert_non_null(strstr(why.text, "remove one"));
    write_file("client_infer_e.pdmodel", "x");
    write_file("server_infer_e.onnx", "x");
    assert_int_equal(kerf_pair_read(&pair, dir, "e", &why), KERF_EMISMATCH);
    assert_int_equal(kerf_pair_read(&pair, dir, "../d", &why), KERF_EINVAL);
    assert_int_equal(kerf_pair_read(&pair, dir, "", &why), KERF_EINVAL);
    write_pair("f");
    write_file("f.kerf.json", "{");
    assert_int_equal(kerf_pair_read(&pair, dir, "f", &why), KERF_ECORRUPT);
    assert_non_null(strstr(why.text, "f.kerf.json"));
}

static void
pair_read__manifest_of_it__parses(void **state)
{
    kerf_manifest back = {0};
    kerf_pair pair = {0};
    char *text = NULL;

    (void)state;
    write_pair("digits");
    assert_int_equal(kerf_pair_read(&pair, dir, "digits", NULL), KERF_OK);
    assert_int_equal(kerf_manifest_format(&pair.manifest, &text), KERF_OK);
    assert_int_equal(kerf_manifest_parse(&back, text, strlen(text), NULL),
                     KERF_OK);
    assert_memory_equal(back.id, pair.manifest.id, sizeof back.id);
    free(text);
    kerf_manifest_fini(&back);
    kerf_pair_fini(&pair);
}

static void
pair_names__a_mixed_folder__lists_each_model_once(void **state)
{
    kerf_names names = {0};

    (void)state;
    write_pair("zeta");
    write_pair("alpha");
    write_file("server_infer_half.onnx", "");
    write_file("only.kerf.json", "{}");
    write_file("whole.pdmodel", "");
    write_file("client_infer_.pdmodel", "");
    write_file("client_infer_x.txt", "");
    write_file("client_infer_a b.pdmodel", "");
    assert_int_equal(kerf_pair_names(dir, &names, NULL), KERF_OK);
    assert_int_equal(names.count, 3);
    assert_string_equal(names.name[0], "alpha");
    assert_string_equal(names.name[1], "half");
    assert_string_equal(names.name[2], "zeta");
    kerf_names_free(&names);
    assert_int_equal(kerf_pair_names("/nonexistent", &names, NULL),
                     KERF_ENOENT);
}

static void
pair_stamp__a_change__is_seen(void **state)
{
    int64_t newest = -1;
    uint64_t a;
    uint64_t b;

    (void)state;
    assert_true(kerf_pair_stamp(dir, "digits", &newest) == 0);
    assert_int_equal(newest, 0);
    write_file("digits.kerf.json", "{}"); /* a card alone is no pair */
    assert_true(kerf_pair_stamp(dir, "digits", &newest) == 0);
    write_pair("digits");
    a = kerf_pair_stamp(dir, "digits", &newest);
    assert_true(a != 0 && newest > 0);
    assert_true(kerf_pair_stamp(dir, "digits", &newest) == a);
    write_file("server_infer_digits.pdiparams", "longer than its name was....");
    b = kerf_pair_stamp(dir, "digits", &newest);
    assert_true(b != a && b != 0);
    write_file("digits.kerf.json", "{ }");
    assert_true(kerf_pair_stamp(dir, "digits", &newest) != b);
}

/* Signs the pair as version 3 with a key of its own. */
static void
sign_pair(const char *name)
{
    kerf_secret_key *key = NULL;
    kerf_public_key public;
    kerf_pair pair = {0};
    kerf_statement s = {.version = 3, .issued_s = 1, .expires_s = 2};
    kerf_signed sig;
    char path[KERF_PATH_MAX], file[KERF_PART_NAME];
    char *json = NULL;

    assert_int_equal(kerf_path_join(path, dir, "key"), KERF_OK);
    assert_int_equal(kerf_key_make(path, &public, NULL), KERF_OK);
    assert_int_equal(kerf_secret_key_read(&key, path, &public, NULL), KERF_OK);
    assert_int_equal(kerf_pair_read(&pair, dir, name, NULL), KERF_OK);
    (void)snprintf(s.model, sizeof s.model, "%s", name);
    memcpy(s.bundle, pair.manifest.id, sizeof s.bundle);
    assert_int_equal(kerf_statement_sign(&sig, &s, key, &public, NULL),
                     KERF_OK);
    assert_int_equal(kerf_signed_format(&sig, &json), KERF_OK);
    kerf_pair_sig_file(file, name);
    write_file(file, json);
    free(json);
    kerf_pair_fini(&pair);
    kerf_secret_key_free(key);
}

static void
pair_read__signed__the_manifest_carries_it(void **state)
{
    kerf_manifest back = {0};
    kerf_pair pair = {0};
    int64_t before = 0;
    int64_t newest = 0;
    uint64_t stamp;
    char *text = NULL;

    (void)state;
    write_pair("digits");
    stamp = kerf_pair_stamp(dir, "digits", &before);
    sign_pair("digits");
    assert_true(kerf_pair_stamp(dir, "digits", &newest) != stamp);
    assert_true(newest == before); /* it is no newer than another model */
    assert_true(kerf_pair_has_name("digits.kerf.sig.json"));
    assert_int_equal(kerf_pair_read(&pair, dir, "digits", NULL), KERF_OK);
    assert_string_equal(pair.sig_why.text, "");
    assert_int_equal(pair.says.version, 3);
    assert_int_equal(kerf_manifest_format(&pair.manifest, &text), KERF_OK);
    assert_int_equal(kerf_manifest_parse(&back, text, strlen(text), NULL),
                     KERF_OK);
    assert_true(back.sig.len > 0);
    assert_true(kerf_signed_equal(&back.sig, &pair.manifest.sig));
    free(text);
    kerf_manifest_fini(&back);
    kerf_pair_fini(&pair);
}

static void
pair_read__changed_since_it_was_signed__says_so_and_sends_none(void **state)
{
    kerf_pair pair = {0};

    (void)state;
    write_pair("digits");
    sign_pair("digits");
    write_file("server_infer_digits.pdiparams", "others");
    assert_int_equal(kerf_pair_read(&pair, dir, "digits", NULL), KERF_OK);
    assert_int_equal(pair.manifest.sig.len, 0);
    assert_int_equal(pair.says.version, 0);
    assert_non_null(strstr(pair.sig_why.text, "changed since it was signed"));
    kerf_pair_fini(&pair);
    write_file("digits.kerf.sig.json", "{\"kerf_sig\": 1}");
    assert_int_equal(kerf_pair_read(&pair, dir, "digits", NULL), KERF_OK);
    assert_int_equal(pair.manifest.sig.len, 0);
    assert_non_null(strstr(pair.sig_why.text, "digits.kerf.sig.json"));
    kerf_pair_fini(&pair);
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(manifest__format_and_parse__give_the_same),
        cmocka_unit_test(manifest_seal__known_files__give_the_documented_id),
        cmocka_unit_test(manifest_seal__any_change__changes_the_id),
        cmocka_unit_test(manifest_parse__every_truncation__is_corrupt),
        cmocka_unit_test(
            manifest_parse__wrong_members__are_errors_that_say_which),
        cmocka_unit_test(
            manifest_parse__files_out_of_order_or_missing__are_corrupt),
        IN_DIR(pair_read__parts_come_one_by_one__says_what_it_waits_for),
        IN_DIR(pair_read__onnx_with_card__reads_all),
        IN_DIR(pair_read__contradictions__are_errors),
        IN_DIR(pair_read__manifest_of_it__parses),
        IN_DIR(pair_read__signed__the_manifest_carries_it),
        IN_DIR(pair_read__changed_since_it_was_signed__says_so_and_sends_none),
        IN_DIR(pair_names__a_mixed_folder__lists_each_model_once),
        IN_DIR(pair_stamp__a_change__is_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
