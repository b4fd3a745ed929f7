/* Paddle 3's programs that cannot be translated, and damaged ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/pdmodel.h"
#include "graph/pir.h"
#include "pir_programs.h"

static void
expect_error(kerf_err want, const char *part)
{
    const char *json = take_program();
    uint8_t *bytes = NULL;
    size_t len = 0;
    kerf_detail why = {.text = ""};
    kerf_err err = kerf_pir_translate(json, strlen(json), &bytes, &len, &why);

    if (strstr(why.text, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", why.text, part);
    assert_int_equal(err, want);
    assert_null(bytes);
}

/* One op after the input, and its result as output. */
static void
one_op(const char *id, const char *attrs, const char *in, const char *out)
{
    data();
    op(id, attrs, in, out);
    fetch(2, 0);
}

static void
translate__beyond_the_table__names_it_and_the_way_out(void **state)
{
    (void)state;
    data();
    op("1.frob", "", "1", "2 f32 4");
    op("1.frob", "", "1", "3 f32 4");
    op("3.custom\\u001b", "", "1", "4 f32 4");
    fetch(2, 0);
    expect_error(KERF_ENOTSUP,
                 "no translation for the ops 1.frob 3.custom\\x1b: export with "
                 "FLAGS_enable_pir_api=0");
    data();
    put(",{'#':'1.if','I':[{'%%':1}],'O':[],'regions':[]}");
    fetch(1, 0);
    expect_error(KERF_ENOTSUP, "the op 1.if: export");
    data();
    for (char id[] = "1.a"; id[2] < 'h'; id[2]++)
        op(id, "", "", "");
    expect_error(KERF_ENOTSUP, "1.f and more");
    one_op("1.relu", A("slope", "0.a_f32", "0.5"), "1", "2 f32 4");
    expect_error(KERF_ENOTSUP, "op 1, 1.relu: unknown attribute 'slope'");
    one_op("1.softmax", A("axis", "1.a_layout", "'NCHW'"), "1", "2 f32 4");
    expect_error(KERF_ENOTSUP, "attribute 'axis'");
    one_op("1.round", INT("decimals", "2"), "1", "2 f32 4");
    expect_error(KERF_ENOTSUP, "its 'decimals' is not 0");
    one_op("1.mean", "", "1,1", "2 f32 4");
    expect_error(KERF_ENOTSUP, "its 'dim' is computed");
    one_op("1.relu", "", "1,1", "2 f32 4");
    expect_error(KERF_ENOTSUP, "2 operands, known are 1");
    one_op("1.relu", "", "1", "2 f32 4; 3 f32 4");
    expect_error(KERF_ENOTSUP, "2 results, known are 1");
}

static void
translate__values_of_the_wrong_kind__are_refused(void **state)
{
    (void)state;
    one_op("1.softmax", A("axis", "0.a_f32", "0.5"), "1", "2 f32 4");
    expect_error(KERF_ENOTSUP, "its 'axis' does not fit");
    one_op("1.softmax", A("axis", "0.a_i64", "4294967296"), "1", "2 f32 4");
    expect_error(KERF_ENOTSUP, "its 'axis' does not fit");
    one_op("1.softmax", STR("axis", "a"), "1", "2 f32 4");
    expect_error(KERF_ENOTSUP, "its 'axis' does not fit");
    one_op("1.gelu", INT("approximate", "2"), "1", "2 f32 4");
    expect_error(KERF_ENOTSUP, "its 'approximate' does not fit");
    one_op("1.softmax", INT("axis", "'1'"), "1", "2 f32 4");
    expect_error(KERF_ECORRUPT, "attribute 'axis'");
    one_op("1.cast", A("dtype", "1.a_dtype", "'complex64'"), "1", "2 f32 4");
    expect_error(KERF_ENOTSUP, "attribute 'dtype'");
    one_op("1.relu", "", "1", "2 c64 4");
    expect_error(KERF_ENOTSUP, "no tensor that is known");
    one_op("1.relu", "", "1", "2 f32 1,1,1,1,1,1,1,1,1");
    expect_error(KERF_ENOTSUP, "no tensor that is known");
    one_op("1.relu", "", "1", "2 f32 -2");
    expect_error(KERF_ECORRUPT, "op 1, 1.relu");
    one_op("1.assign_value_", LIST("values", F64(1)), "1",
           "2 i64 1000000000000,1000000000000");
    expect_error(KERF_ECORRUPT, "a constant that it reads");
    one_op("1.assign_value_", LIST("values", F64(1)), "1", "2 f16 1");
    expect_error(KERF_ENOTSUP, "a constant that it reads");
}

static void
translate__values_that_do_not_meet__are_corrupt(void **state)
{
    (void)state;
    one_op("1.relu", "", "3", "2 f32 4");
    expect_error(KERF_ECORRUPT, "op 1, 1.relu: a value without a number");
    data();
    op("1.relu", "", "3", "2 f32 4");
    op("1.relu", "", "1", "3 f32 4");
    fetch(2, 0);
    expect_error(KERF_ECORRUPT, "value 3 is not given before it is read");
    data();
    op("1.relu", "", "1", "2 f32 4");
    op("1.relu", "", "1", "2 f32 4");
    fetch(2, 0);
    expect_error(KERF_ECORRUPT, "value 2 is given twice");
    data();
    op("1.relu", "", "1", "0 f32 4");
    fetch(1, 0);
    expect_error(KERF_ECORRUPT, "a result without a number");
    one_op("1.relu", "", "0", "2 f32 4");
    expect_error(KERF_ECORRUPT, "operand 0 is missing");
    one_op("1.relu", "", "1", "1048576 f32 4");
    expect_error(KERF_ECORRUPT, "a value without a number");
    one_op("1.relu", "", "1", "-1 f32 4");
    expect_error(KERF_ECORRUPT, "a value without a number");
    weight(2, "x", "4");
    one_op("1.relu", "", "1", "3 f32 4");
    expect_error(KERF_ECORRUPT, "the name 'x' comes twice");
    weight(2, "", "4");
    one_op("1.relu", "", "1", "3 f32 4");
    expect_error(KERF_ECORRUPT, "a name of 1 to 1024 bytes");
}

static void
translate__lists_that_do_not_meet__are_corrupt(void **state)
{
    (void)state;
    data();
    op("0.combine", "", "1", "3 []");
    op("1.relu", "", "3", "2 f32 4");
    fetch(2, 0);
    expect_error(KERF_ECORRUPT, "value 3 is a list, a tensor is expected");
    data();
    full(3, "i32", "1", "1");
    op("1.concat", "", "1,3", "2 f32 4");
    fetch(2, 0);
    expect_error(KERF_ECORRUPT, "value 1 is no list, one is expected");
    one_op("0.split", "", "1", "2 f32 4");
    expect_error(KERF_ECORRUPT, "value 1 has no element 0");
    data();
    op("0.combine", "", "1", "3 []");
    op("0.slice", INT("index", "1"), "3", "2 f32 4");
    fetch(2, 0);
    expect_error(KERF_ECORRUPT, "value 3 has no element 1");
}

static void
translate__outputs_out_of_order__are_corrupt(void **state)
{
    (void)state;
    data();
    fetch(1, 1);
    expect_error(KERF_ECORRUPT, "numbered 0 to 0");
    data();
    fetch(1, 0);
    fetch(1, 0);
    expect_error(KERF_ECORRUPT, "numbered 0 to 1");
    data();
    op("1.fetch", STR("name", "y"), "1", "");
    expect_error(KERF_ECORRUPT, "'col' is missing");
    data();
    expect_error(KERF_ECORRUPT, "without an output");
}

static void
translate__not_a_program__says_so(void **state)
{
    static const struct {
        const char *json;
        const char *part;
    } bad[] = {
        {"", "JSON"},
        {"{", "JSON"},
        {"[1, 2", "JSON"},
        {"{}", "not a Paddle 3 program"},
        {"{\"base_code\":{\"magic\":\"onnx\"}}", "not a Paddle 3 program"},
        {"{\"base_code\":{\"magic\":\"pir\"}}", "one block"},
        {"{\"base_code\":{\"magic\":\"pir\"},\"base_code\":1}", "JSON"},
        {"{\"base_code\":{\"magic\":\"pir\"},\"program\":{\"regions\":"
         "[{\"blocks\":[{\"ops\":[1]}]}]}}",
         "op 0, : no op"},
        {"{\"base_code\":{\"magic\":\"pir\"},\"program\":{\"regions\":"
         "[{\"blocks\":[{\"ops\":[]},{\"ops\":[]}]}]}}",
         "one block"},
    };
    uint8_t *out = NULL;
    size_t len = 0;
    kerf_detail why;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(kerf_pir_translate(bad[i].json, strlen(bad[i].json),
                                            &out, &len, &why),
                         KERF_ECORRUPT);
        if (strstr(why.text, bad[i].part) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", why.text, bad[i].part);
    }
    assert_int_equal(
        kerf_pir_translate("{}", KERF_PIR_BYTES_MAX + 1, &out, &len, &why),
        KERF_ETOOBIG);
    assert_null(out);
}

static void
translate__deep_nesting__is_no_danger(void **state)
{
    const size_t depth = 1000000;
    char *json = malloc(depth);
    uint8_t *out = NULL;
    size_t len = 0;

    (void)state;
    assert_non_null(json);
    memset(json, '[', depth);
    assert_int_equal(kerf_pir_translate(json, depth, &out, &len, NULL),
                     KERF_ECORRUPT);
    free(json);
}

/* ---- damage ------------------------------------------------------------- */

/* A program with one of nearly everything. */
static const char *
rich_program(void)
{
    weight(2, "w", "4,4,1,1");
    data();
    full(3, "f32", "1", "0.5");
    op("1.conv2d", LIST("strides", I32(1) "," I32(1)), "1,2", "4 f32 -1,4");
    op("1.add", "", "4,3", "5 f32 -1,4");
    op("1.shape64", "", "5", "6 i64 2");
    op("0.combine", "", "4,5", "7 []");
    full(8, "i32", "1", "1.0");
    op("1.concat", "", "7,8", "9 f32 -1,8");
    op("1.unbind", INT("axis", "0"), "9", "10 [f32 8]");
    op("0.split", "", "10", "11 f32 8");
    fetch(11, 0);
    fetch(6, 1);
    return take_program();
}

/* Whatever it is by now, it is refused, or becomes a whole program. */
static bool
try_one(const char *json, size_t len)
{
    char *copy = malloc(len + 1); /* its own bytes, for ASan */
    uint8_t *out = NULL;
    size_t out_len = 0;
    kerf_detail why = {.text = ""};
    kerf_pdmodel model = {0};
    kerf_err err;

    assert_non_null(copy);
    memcpy(copy, json, len);
    err = kerf_pir_translate(copy, len, &out, &out_len, &why);
    if (err == KERF_OK) {
        assert_int_equal(kerf_pdmodel_open(&model, out, out_len, NULL),
                         KERF_OK);
        kerf_pdmodel_close(&model);
    } else {
        assert_true(why.text[0] != '\0');
        assert_null(strchr(why.text, '\n'));
        assert_null(out);
    }
    free(out);
    free(copy);
    return err == KERF_OK;
}

static void
translate__every_truncation__is_refused(void **state)
{
    const char *json = rich_program();
    size_t len = strlen(json);

    (void)state;
    assert_true(try_one(json, len));
    for (size_t i = 0; i < len; i++)
        assert_false(try_one(json, i));
}

static void
translate__every_changed_byte__is_no_danger(void **state)
{
    static const char with[] = {'9', '"', '\0'};
    char json[PROGRAM_MAX];
    size_t len, whole = 0;

    (void)state;
    (void)snprintf(json, sizeof json, "%s", rich_program());
    len = strlen(json);
    for (size_t i = 0; i < len; i++) {
        char was = json[i];

        for (size_t k = 0; k < sizeof with; k++) {
            json[i] = with[k];
            whole += try_one(json, len);
        }
        for (unsigned bit = 0; bit < 8; bit++) {
            json[i] = (char)(was ^ (1 << bit));
            whole += try_one(json, len);
        }
        json[i] = was;
    }
    assert_true(whole > 0);
}

static void
translate__long_lists__are_too_big(void **state)
{
    uint8_t *out = NULL;
    const char *json;
    size_t len = 0;
    kerf_detail why;

    (void)state;
    put("{'#':'0.combine','I':[{'%%':1}");
    for (size_t i = 0; i < 4096; i++)
        put(",{'%%':1}");
    put("],'O':[{'%%':1}]}");
    json = take_program();
    assert_int_equal(kerf_pir_translate(json, strlen(json), &out, &len, &why),
                     KERF_ETOOBIG);
    assert_non_null(strstr(why.text, "a list of 4097 tensors"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(translate__beyond_the_table__names_it_and_the_way_out),
        cmocka_unit_test(translate__values_of_the_wrong_kind__are_refused),
        cmocka_unit_test(translate__values_that_do_not_meet__are_corrupt),
        cmocka_unit_test(translate__lists_that_do_not_meet__are_corrupt),
        cmocka_unit_test(translate__outputs_out_of_order__are_corrupt),
        cmocka_unit_test(translate__not_a_program__says_so),
        cmocka_unit_test(translate__deep_nesting__is_no_danger),
        cmocka_unit_test(translate__every_truncation__is_refused),
        cmocka_unit_test(translate__every_changed_byte__is_no_danger),
        cmocka_unit_test(translate__long_lists__are_too_big),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
