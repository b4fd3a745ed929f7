#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/model_file.h"

static const char full[] =
    "{\"kerf_card\":1,\"name\":\"digits\",\"task\":\"classify\",\"input\":"
    "{\"kind\":\"image\",\"layout\":\"NCHW\",\"size\":[32,48],"
    "\"resize\":\"letterbox\",\"colour\":\"bgr\",\"pad\":7,"
    "\"scale\":0.00392156862745098,\"mean\":[0.1,0.2,0.3],\"std\":0.5},"
    "\"labels\":[\"zero\",\"one\"],\"scores\":\"logits\",\"probes\":[{\"seed\":"
    "7,\"outputs\":[{\"shape\":[1,10],\"at\":[0,9],\"values\":[0.25,-3]}]}],"
    "\"about\":{\"anything\":[1,null]}}";

static kerf_err
parse(kerf_card *card, const char *json, kerf_detail *why)
{
    kerf_card_init(card);
    why->text[0] = '\0';
    return kerf_card_parse(card, json, strlen(json), why);
}

static void
check_full(const kerf_card *c)
{
    assert_string_equal(c->name, "digits");
    assert_int_equal(c->task, KERF_TASK_CLASSIFY);
    assert_true(c->is_image);
    assert_int_equal(c->layout, KERF_LAYOUT_NCHW);
    assert_int_equal(c->height, 32);
    assert_int_equal(c->width, 48);
    assert_int_equal(c->resize, KERF_RESIZE_LETTERBOX);
    assert_int_equal(c->colour, KERF_COLOUR_BGR);
    assert_int_equal(c->pad, 7);
    assert_true(c->scale == 1.0F / 255.0F);
    assert_true(c->mean[1] == 0.2F && c->std[2] == 0.5F);
    assert_true(c->scores_given && c->scores_are_logits);
    assert_int_equal(c->label_count, 2);
    assert_string_equal(c->label[1], "one");
    assert_int_equal(c->probe_count, 1);
    assert_int_equal(c->probe[0].seed, 7);
    assert_int_equal(c->probe[0].out[0].at[1], 9);
    assert_true(c->probe[0].out[0].value[1] == -3.0);
    assert_int_equal(c->given, 511);
}

static void
parse__full_card__every_member_survives_format(void **state)
{
    kerf_card card, again;
    kerf_detail why;
    char *text = NULL;

    (void)state;
    assert_int_equal(parse(&card, full, &why), KERF_OK);
    check_full(&card);
    assert_int_equal(kerf_card_format(&card, &text), KERF_OK);
    assert_int_equal(parse(&again, text, &why), KERF_OK);
    check_full(&again);
    free(text);
    kerf_card_fini(&again);
    kerf_card_fini(&card);
}

static void
parse__wrong_member__is_named_and_card_untouched(void **state)
{
    static const struct {
        const char *json;
        const char *name;
        kerf_err err;
    } cases[] = {
        {"", "line", KERF_ECORRUPT},
        {"[]", "kerf_card", KERF_ECORRUPT},
        {"{}", "kerf_card", KERF_ECORRUPT},
        {"{\"kerf_card\":2}", "version 2", KERF_EVERSION},
        {"{\"kerf_card\":1,\"name\":\"../x\"}", "name", KERF_ECORRUPT},
        {"{\"kerf_card\":1,\"task\":\"fly\"}", "task", KERF_ECORRUPT},
        {"{\"kerf_card\":1,\"input\":[]}", "input", KERF_ECORRUPT},
        {"{\"kerf_card\":1,\"input\":{\"size\":32}}", "size", KERF_ECORRUPT},
        {"{\"kerf_card\":1,\"input\":{\"size\":[0,1]}}", "size", KERF_ECORRUPT},
        {"{\"kerf_card\":1,\"input\":{\"size\":[1,99999]}}", "size",
         KERF_ECORRUPT},
        {"{\"kerf_card\":1,\"input\":{\"mean\":[1,2]}}", "mean", KERF_ECORRUPT},
        {"{\"kerf_card\":1,\"input\":{\"std\":\"a\"}}", "std", KERF_ECORRUPT},
        {"{\"kerf_card\":1,\"input\":{\"scale\":1e300}}", "scale",
         KERF_ECORRUPT},
        {"{\"kerf_card\":1,\"input\":{\"pad\":256}}", "pad", KERF_ECORRUPT},
        {"{\"kerf_card\":1,\"labels\":[1]}", "labels", KERF_ECORRUPT},
        {"{\"kerf_card\":1,\"probes\":[{\"seed\":-1}]}", "seed", KERF_ECORRUPT},
        {"{\"kerf_card\":1,\"probes\":[{\"seed\":1,\"outputs\":[{\"shape\":"
         "[2],\"at\":[2],\"values\":[0]}]}]}",
         "at", KERF_ECORRUPT},
        {"{\"kerf_card\":1,\"probes\":[{\"seed\":1,\"outputs\":[{\"shape\":"
         "[9223372036854775807,9223372036854775807]}]}]}",
         "shape", KERF_ECORRUPT},
    };
    kerf_card card;
    kerf_detail why;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(parse(&card, cases[i].json, &why), cases[i].err);
        assert_non_null(strstr(why.text, cases[i].name));
        assert_int_equal(card.given, 0);
        kerf_card_fini(&card);
    }
}

static void
parse__every_truncation__is_corrupt(void **state)
{
    kerf_card card;

    (void)state;
    for (size_t len = 0; len + 1 < sizeof full; len++) {
        kerf_card_init(&card);
        assert_int_equal(kerf_card_parse(&card, full, len, NULL),
                         KERF_ECORRUPT);
        kerf_card_fini(&card);
    }
}

/* A card with everything given for a 32x32 RGB network. */
static kerf_card
make_rules(void)
{
    kerf_card card;

    kerf_card_init(&card);
    card.is_image = true;
    card.scale = 1.0F / 255.0F;
    card.given = KERF_GIVEN_RESIZE | KERF_GIVEN_COLOUR | KERF_GIVEN_SCALE;
    return card;
}

static void
expect_settle(kerf_card card, kerf_shape shape, const char *part)
{
    kerf_detail why = {.text = ""};
    kerf_err err = kerf_card_settle(&card, &shape, &why);

    if (part == NULL) {
        assert_int_equal(err, KERF_OK);
        return;
    }
    assert_int_equal(err, KERF_EINVAL);
    if (strstr(why.text, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", why.text, part);
}

static void
settle__missing_rules__are_named_by_flag(void **state)
{
    const kerf_shape fixed = {.rank = 4, .dims = {-1, 3, 32, 32}};
    const kerf_shape free_size = {.rank = 4, .dims = {-1, 3, -1, -1}};
    const kerf_shape all_free = {.rank = 4, .dims = {-1, -1, -1, -1}};
    kerf_card card = make_rules();

    (void)state;
    expect_settle(card, fixed, NULL);
    expect_settle(card, free_size, "missing rule: --size");
    expect_settle(card, all_free, "missing rule: --layout");
    card.given &= ~(unsigned)KERF_GIVEN_RESIZE;
    expect_settle(card, fixed, "missing rule: --resize");
    card = make_rules();
    card.given &= ~(unsigned)KERF_GIVEN_COLOUR;
    expect_settle(card, fixed, "missing rule: --colour rgb|bgr");
    card = make_rules();
    card.given &= ~(unsigned)KERF_GIVEN_SCALE;
    expect_settle(card, fixed, "missing rule: --scale, --mean or --std");
    card.given |= KERF_GIVEN_MEAN | KERF_GIVEN_STD;
    card.mean[0] = card.mean[1] = card.mean[2] = 0.5F;
    expect_settle(card, fixed, "--scale 1/255");
    card.std[0] = card.std[1] = card.std[2] = 127.5F;
    expect_settle(card, fixed, NULL);
}

static void
settle__contradictions__are_named_by_flag(void **state)
{
    const kerf_shape rgb = {.rank = 4, .dims = {1, 3, 32, 48}};
    const kerf_shape grey = {.rank = 4, .dims = {1, 1, 28, 28}};
    kerf_card card = make_rules();

    (void)state;
    card.given |= KERF_GIVEN_SIZE;
    card.width = 32;
    card.height = 48;
    expect_settle(card, rgb, "--size 48x32, but the model's input is 32x48");
    card = make_rules();
    card.colour = KERF_COLOUR_GRAY;
    expect_settle(card, rgb, "--colour gray, but");
    expect_settle(make_rules(), grey, "--colour rgb, but");
    card.given |= KERF_GIVEN_MEAN;
    card.mean[1] = 0.5F;
    expect_settle(card, grey, "has 1 channel");
    card = make_rules();
    card.given |= KERF_GIVEN_STD;
    card.std[1] = 0;
    expect_settle(card, rgb, "--std 0");
    card = make_rules();
    card.given |= KERF_GIVEN_LAYOUT;
    card.layout = KERF_LAYOUT_NHWC;
    expect_settle(card, rgb, "--layout nhwc, but");
    expect_settle(make_rules(), (kerf_shape){.rank = 2, .dims = {1, 10}},
                  "not a batch of images");
    expect_settle(make_rules(), (kerf_shape){.rank = 4, .dims = {8, 3, 32, 32}},
                  "batch");
}

static void
settle__shape__fills_what_it_fixes(void **state)
{
    kerf_shape s = {.rank = 4, .dims = {-1, 28, 20, 1}};
    kerf_card card = make_rules();
    kerf_detail why;

    (void)state;
    card.given &= ~(unsigned)KERF_GIVEN_COLOUR;
    assert_int_equal(kerf_card_settle(&card, &s, &why), KERF_OK);
    assert_int_equal(card.layout, KERF_LAYOUT_NHWC);
    assert_int_equal(card.colour, KERF_COLOUR_GRAY);
    assert_int_equal(kerf_card_channels(&card), 1);
    assert_int_equal(card.height, 28);
    assert_int_equal(card.width, 20);
    assert_int_equal(s.dims[0], 1);
    assert_int_equal(s.dims[3], 1);
}

static char dir[64];

static int
make_dir(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/kerf-card-XXXXXX");
    return mkdtemp(dir) == NULL ? -1 : 0;
}

static int
drop_dir(void **state)
{
    char path[KERF_PATH_MAX];
    kerf_names names = {0};

    (void)state;
    if (kerf_fs_list(dir, 100, &names, NULL) != KERF_OK)
        return -1;
    for (size_t i = 0; i < names.count; i++) {
        if (kerf_path_join(path, dir, names.name[i]) == KERF_OK)
            (void)unlink(path);
    }
    kerf_names_free(&names);
    return rmdir(dir);
}

static const char *
put(const char *name, const char *text)
{
    static char path[KERF_PATH_MAX];

    assert_int_equal(kerf_path_join(path, dir, name), KERF_OK);
    assert_int_equal(kerf_fs_write(path, text, strlen(text), NULL), KERF_OK);
    return path;
}

static void
expect_open(const char *path, kerf_err err, const char *part)
{
    kerf_model_file f = {0};
    kerf_detail why = {.text = ""};

    assert_int_equal(kerf_model_file_open(&f, path, &why), err);
    if (strstr(why.text, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", why.text, part);
    kerf_model_file_close(&f);
}

static void
model_file__what_is_not_a_model__says_why(void **state)
{
    (void)state;
    expect_open("/nonexistent/m", KERF_ENOENT, "no such model");
    expect_open(dir, KERF_EINVAL, "no .pdmodel");
    expect_open(put("a.txt", "x"), KERF_EINVAL, "not a model");
    expect_open(put("w.pdiparams", "w"), KERF_ENOENT, "program");
    expect_open(put("p.json", "{}"), KERF_ECORRUPT, "not a Paddle 3 program");
    expect_open(dir, KERF_EINVAL, "no .pdmodel"); /* no weights: any JSON */
    expect_open(put("p.pdiparams", "w"), KERF_ECORRUPT, "not a Paddle 3");
    expect_open(dir, KERF_ECORRUPT, "p.json: not a Paddle 3 program");
    expect_open(put("e.onnx", ""), KERF_ECORRUPT, "empty");
    expect_open(dir, KERF_EINVAL, "2 models");
}

static void
model_file__program_of_paddle_3__is_translated(void **state)
{
    static const char program[] =
        "{\"base_code\":{\"magic\":\"pir\",\"version\":4},\"program\":"
        "{\"regions\":[{\"blocks\":[{\"args\":[],\"ops\":["
        "{\"#\":\"1.data\",\"A\":[{\"N\":\"name\",\"AT\":{\"#\":\"0.a_str\","
        "\"D\":\"x\"}}],\"I\":[],\"O\":[{\"%\":1,\"TT\":{\"#\":"
        "\"0.t_dtensor\",\"D\":[{\"#\":\"0.t_f32\"},[1],\"NCHW\",[],0]}}]},"
        "{\"#\":\"1.fetch\",\"A\":[{\"N\":\"col\",\"AT\":{\"#\":\"0.a_i32\","
        "\"D\":0}}],\"I\":[{\"%\":1}],\"O\":[]}]}]}]}}";
    kerf_detail why = {.text = ""};

    (void)state;
    (void)put("inference.json", program);
    (void)put("inference.pdiparams", "");
    (void)put("inference.kerf.json", "{\"kerf_card\":1}");
    (void)put("labels.json", "[]");
    for (int map = 0; map < 2; map++) {
        kerf_model_file f = {0};
        kerf_err err = map == 0 ? kerf_model_file_open(&f, dir, &why)
                                : kerf_model_file_map(&f, dir, &why);

        assert_string_equal(why.text, "");
        assert_int_equal(err, KERF_OK);
        assert_int_equal(f.format, KERF_FORMAT_PADDLE);
        assert_true(kerf_path_ends(f.graph_path, "/inference.json"));
        assert_true(kerf_path_ends(f.card_path, "/inference.kerf.json"));
        assert_non_null(memmem(f.graph, f.graph_len, "feed", 4));
        assert_null(memmem(f.graph, f.graph_len, "base_code", 9));
        kerf_model_file_close(&f);
    }
}

static void
model_file__prefix_folder_and_card__are_found(void **state)
{
    char path[KERF_PATH_MAX];
    kerf_model_file f = {0};
    kerf_detail why = {.text = ""};

    (void)state;
    (void)put("net.pdmodel", "graph");
    (void)put("net.json", "{}"); /* the same in the other form */
    (void)put("net.pdiparams", "weights");
    (void)put("client_infer_net.pdmodel", "half");
    (void)put("other.kerf.json", "{\"kerf_card\":1}");
    assert_int_equal(kerf_model_file_open(&f, dir, &why), KERF_OK);
    assert_string_equal(f.name, "net");
    assert_int_equal(f.weights_len, 7);
    assert_true(kerf_path_ends(f.card_path, "/other.kerf.json"));
    assert_true(f.card_is_other);
    kerf_model_file_close(&f);

    /* With a second model there, nobody knows whose card that is. */
    assert_int_equal(kerf_path_join(path, dir, "net"), KERF_OK);
    (void)put("second.onnx", "graph");
    assert_int_equal(kerf_model_file_open(&f, path, &why), KERF_OK);
    assert_string_equal(f.card_path, "");
    assert_false(f.card_is_other);
    kerf_model_file_close(&f);

    (void)put("net.kerf.json", "{\"kerf_card\":1}");
    assert_int_equal(kerf_path_join(path, dir, "net"), KERF_OK);
    assert_int_equal(kerf_model_file_open(&f, path, &why), KERF_OK);
    assert_true(kerf_path_ends(f.card_path, "/net.kerf.json"));
    assert_true(kerf_path_ends(f.graph_path, "/net.pdmodel"));
    kerf_model_file_close(&f);
}

static void
read_labels__numbered_lines__lose_their_number(void **state)
{
    kerf_card card;
    kerf_detail why = {.text = ""};

    (void)state;
    kerf_card_init(&card);
    assert_int_equal(
        kerf_card_read_labels(&card, put("l", "0 a b\r\n1 c\n"), &why),
        KERF_OK);
    assert_int_equal(card.label_count, 2);
    assert_string_equal(card.label[0], "a b");
    assert_int_equal(kerf_card_read_labels(&card, put("l", "0\n1\n7"), &why),
                     KERF_OK);
    assert_int_equal(card.label_count, 3);
    assert_string_equal(card.label[2], "7");
    assert_int_equal(kerf_card_read_labels(&card, put("l", ""), &why),
                     KERF_EINVAL);
    kerf_card_fini(&card);
}

static void
read_labels__bom_and_blank_end__do_not_count(void **state)
{
    kerf_card card;
    kerf_detail why = {.text = ""};

    (void)state;
    kerf_card_init(&card);
    assert_int_equal(
        kerf_card_read_labels(&card,
                              put("l", "\xef\xbb\xbf"
                                       "0 a\n1 caf\xc3\xa9\n\n \r\n"),
                              &why),
        KERF_OK);
    assert_int_equal(card.label_count, 2);
    assert_string_equal(card.label[0], "a");
    assert_string_equal(card.label[1], "caf\xc3\xa9");
    kerf_card_fini(&card);
}

static void
read_labels__what_a_card_cannot_hold__is_refused(void **state)
{
    static char line[KERF_CARD_LABEL_BYTES_MAX + 2];
    kerf_card card;
    kerf_detail why = {.text = ""};

    (void)state;
    kerf_card_init(&card);
    assert_int_equal(
        kerf_card_read_labels(&card, put("l", "a\ncaf\xe9\nb\n"), &why),
        KERF_ECORRUPT);
    assert_non_null(strstr(why.text, "line 2"));
    memset(line, 'x', sizeof line - 1);
    assert_int_equal(kerf_card_read_labels(&card, put("l", line), &why),
                     KERF_ETOOBIG);
    assert_non_null(strstr(why.text, "line 1"));
    line[KERF_CARD_LABEL_BYTES_MAX] = '\0';
    assert_int_equal(kerf_card_read_labels(&card, put("l", line), &why),
                     KERF_OK);
    assert_int_equal(card.label_count, 1);
    kerf_card_fini(&card);
}

static void
format__what_parse_would_refuse__is_an_error(void **state)
{
    static char long_one[KERF_CARD_LABEL_BYTES_MAX + 2];
    static char *many[1100];
    char latin[] = "caf\xe9";
    char *bad[] = {latin};
    char *text = NULL;
    kerf_card card;

    (void)state;
    kerf_card_init(&card);
    card.label = bad;
    card.label_count = 1;
    assert_int_equal(kerf_card_format(&card, &text), KERF_ECORRUPT);
    memset(long_one, 'x', sizeof long_one - 1);
    bad[0] = long_one;
    assert_int_equal(kerf_card_format(&card, &text), KERF_ETOOBIG);
    long_one[KERF_CARD_LABEL_BYTES_MAX] = '\0';
    for (size_t i = 0; i < sizeof many / sizeof *many; i++)
        many[i] = long_one;
    card.label = many;
    card.label_count = sizeof many / sizeof *many;
    assert_int_equal(kerf_card_format(&card, &text), KERF_ETOOBIG);
    card.label_count = 0;
    card.is_image = true;
    card.given = KERF_GIVEN_MEAN;
    card.mean[1] = INFINITY;
    assert_int_equal(kerf_card_format(&card, &text), KERF_ECORRUPT);
    assert_null(text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse__full_card__every_member_survives_format),
        cmocka_unit_test(parse__wrong_member__is_named_and_card_untouched),
        cmocka_unit_test(parse__every_truncation__is_corrupt),
        cmocka_unit_test(settle__missing_rules__are_named_by_flag),
        cmocka_unit_test(settle__contradictions__are_named_by_flag),
        cmocka_unit_test(settle__shape__fills_what_it_fixes),
        cmocka_unit_test_setup_teardown(
            model_file__what_is_not_a_model__says_why, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(
            model_file__program_of_paddle_3__is_translated, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(
            model_file__prefix_folder_and_card__are_found, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(
            read_labels__numbered_lines__lose_their_number, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(
            read_labels__bom_and_blank_end__do_not_count, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(
            read_labels__what_a_card_cannot_hold__is_refused, make_dir,
            drop_dir),
        cmocka_unit_test(format__what_parse_would_refuse__is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
