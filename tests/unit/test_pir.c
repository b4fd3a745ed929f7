/* Paddle 3's programs become old ones: small programs made here, against the
 * ops that they must turn into. */
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
#include "graph/wire.h"
#include "pir_programs.h"

#define TEXT_MAX 16384

/* ---- old programs as text ----------------------------------------------- */

typedef struct text {
    char at[TEXT_MAX];
    size_t len;
} text;

static void say(text *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
say(text *t, const char *fmt, ...)
{
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(t->at + t->len, sizeof t->at - t->len, fmt, args);
    va_end(args);
    assert_in_range(n, 0, sizeof t->at - t->len - 1);
    t->len += (size_t)n;
}

static void
say_args(text *t, kerf_rd r)
{
    kerf_wire_field f;
    bool first = true;

    while (kerf_wire_next(&r, &f)) {
        say(t,
            f.number == 1 ? " %.*s="
            : first       ? "%.*s"
                          : ",%.*s",
            (int)f.len, (const char *)f.bytes);
        first = f.number == 1;
    }
    assert_false(r.bad);
}

/* "name:type=values": i, f, s, I, F, B, L, LL as AttrType goes. */
static void
say_attr(text *t, kerf_rd r)
{
    static const char *const types[] = {"i", "f", "s", "I", "F", "S",
                                        "b", "B", "?", "l", "?", "L"};
    kerf_wire_field f;
    bool first = true;

    while (kerf_wire_next(&r, &f)) {
        uint32_t bits = (uint32_t)f.value;
        float real;

        memcpy(&real, &bits, sizeof real);
        if (f.number == 1) {
            say(t, " %.*s", (int)f.len, (const char *)f.bytes);
        } else if (f.number == 2) {
            assert_in_range(f.value, 0, 11);
            say(t, ":%s=", types[f.value]);
        } else {
            say(t, first ? "" : ",");
            first = false;
            if (f.wire == 2)
                say(t, "%.*s", (int)f.len, (const char *)f.bytes);
            else if (f.wire == 5)
                say(t, "%g", (double)real);
            else
                say(t, "%lld", (long long)f.value);
        }
    }
    assert_false(r.bad);
}

/* "type in=a,b out=c attr:i=1\n" */
static void
say_op(text *t, kerf_rd r)
{
    text args = {0};
    kerf_wire_field f;

    while (kerf_wire_next(&r, &f)) {
        if (f.number == 3)
            say(t, "%.*s", (int)f.len, (const char *)f.bytes);
        else if (f.number == 4)
            say_attr(&args, kerf_wire_inside(&f));
        else
            say_args(&args, kerf_wire_inside(&f));
    }
    assert_false(r.bad);
    say(t, "%s\n", args.at);
}

/* The ops, one per line. */
static void
say_program(text *t, const uint8_t *bytes, size_t len)
{
    kerf_rd r = {.at = bytes, .left = len};
    kerf_wire_field f, g;

    while (kerf_wire_next(&r, &f)) {
        kerf_rd block = kerf_wire_inside(&f);

        while (f.number == 1 && kerf_wire_next(&block, &g)) {
            if (g.number == 4)
                say_op(t, kerf_wire_inside(&g));
        }
        assert_false(block.bad);
    }
    assert_false(r.bad);
}

static uint8_t *
translate(size_t *len)
{
    const char *json = take_program();
    uint8_t *bytes = NULL;
    kerf_detail why = {.text = ""};
    kerf_err err = kerf_pir_translate(json, strlen(json), &bytes, len, &why);

    assert_string_equal(why.text, "");
    assert_int_equal(err, KERF_OK);
    return bytes;
}

/* These ops; feed and fetch, which all programs have alike, left out. */
static void
expect(const char *want)
{
    size_t len = 0;
    uint8_t *bytes = translate(&len);
    text whole = {0}, is = {0};

    say_program(&whole, bytes, len);
    for (char *line = strtok(whole.at, "\n"); line != NULL;
         line = strtok(NULL, "\n")) {
        if (strncmp(line, "feed ", 5) != 0 && strncmp(line, "fetch ", 6) != 0)
            say(&is, "%s\n", line);
    }
    assert_string_equal(is.at, want);
    free(bytes);
}

/* ---- what becomes of programs ------------------------------------------- */

static void
translate__one_op__with_ports_and_variables(void **state)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    text is = {0};
    kerf_pdmodel model = {0};

    (void)state;
    data();
    op("1.relu", STR("struct_name", "/a/b/"), "1", "2 f32 -1,4");
    fetch(2, 0);
    bytes = translate(&len);
    say_program(&is, bytes, len);
    assert_string_equal(is.at, "feed X=feed Out=x col:i=0\n"
                               "relu X=x Out=out0\n"
                               "fetch X=out0 Out=fetch col:i=0\n");
    assert_int_equal(kerf_pdmodel_open(&model, bytes, len, NULL), KERF_OK);
    assert_int_equal(model.version, 2006000);
    assert_int_equal(model.op_count, 3);
    assert_int_equal(model.param_count, 0);
    kerf_pdmodel_close(&model);
    free(bytes);
}

static void
translate__parameters__keep_names_and_shapes(void **state)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    kerf_pdmodel model = {0};

    (void)state;
    weight(3, "b.w_0", "4,2");
    weight(2, "a.w_0", "4,8");
    param(7, "state", "ui8 ", false); /* in no file */
    data();
    op("1.matmul", "", "1,2", "4 f32 -1,8");
    fetch(4, 0);
    bytes = translate(&len);
    assert_int_equal(kerf_pdmodel_open(&model, bytes, len, NULL), KERF_OK);
    assert_int_equal(model.param_count, 2);
    assert_memory_equal(model.param[0].name.at, "a.w_0", 5);
    assert_int_equal(model.param[0].desc.dtype, KERF_F32);
    assert_int_equal(model.param[0].desc.shape.dims[1], 8);
    assert_memory_equal(model.param[1].name.at, "b.w_0", 5);
    kerf_pdmodel_close(&model);
    free(bytes);
}

static void
translate__attributes__get_the_old_names_and_types(void **state)
{
    (void)state;
    data();
    weight(2, "w", "4,4,1,1");
    op("1.conv2d",
       LIST("strides", I64(1) "," I32(2)) "," STR(
           "padding_algorithm", "SAME") "," INT("groups", "1"),
       "1,2", "3 f32 -1,4");
    op("1.leaky_relu", A("negative_slope", "0.a_f64", "0.25"), "3",
       "4 f32 -1,4");
    op("1.transpose", LIST("perm", I32(1) "," I32(0)), "4", "5 f32 4,-1");
    op("1.cast", A("dtype", "1.a_dtype", "'int64'"), "5", "6 i64 4,-1");
    fetch(6, 0);
    expect("conv2d Input=x Filter=w Output=conv2d_0 strides:I=1,2"
           " padding_algorithm:s=SAME groups:i=1\n"
           "leaky_relu X=conv2d_0 Out=leaky_relu_0 alpha:f=0.25\n"
           "transpose2 X=leaky_relu_0 Out=transpose2_0 axis:I=1,0\n"
           "cast X=transpose2_0 Out=out0 in_dtype:i=5 out_dtype:i=3\n");
    data();
    op("1.hardswish", "", "1", "2 f32 -1,4");
    fetch(2, 0);
    expect("hard_swish X=x Out=out0 threshold:f=6 scale:f=6 offset:f=3\n");
}

static void
translate__numbers_of_every_form__are_read(void **state)
{
    static const char *const numbers[] = {
        "{'#':'0.a_f64','VD':'-INF'}",
        "-inf",
        "{'#':'0.a_f32','VD':'INF'}",
        "inf",
        "{'#':'0.a_f32','D':0.5}",
        "0.5",
        "{'#':'0.a_i64','D':3}",
        "3",
        "{'#':'1.a_scalar','D':['int64',7]}",
        "7",
        "{'#':'1.a_scalar','D':['float32',0.5]}",
        "0.5",
    };
    char attr[128], want[128];

    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i += 2) {
        (void)snprintf(attr, sizeof attr, "{'N':'alpha','AT':%s}", numbers[i]);
        (void)snprintf(want, sizeof want, "elu X=x Out=out0 alpha:f=%s\n",
                       numbers[i + 1]);
        data();
        op("1.elu", attr, "1", "2 f32 -1,4");
        fetch(2, 0);
        expect(want);
    }
}

static void
translate__constants__become_attributes(void **state)
{
    (void)state;
    data();
    full(2, "f32", "1", "0.5");
    op("1.scale", A("bias", "0.a_f32", "1.0"), "1,2", "3 f32 -1,4");
    ints(4, "2", I64(-1) "," I64(2));
    op("1.reshape", "", "3,4", "5 f32 -1,2");
    full(6, "i32", "1", "-1.0");
    op("1.argmax", BOOL("keepdims", "true"), "5,6", "7 i64 -1,1");
    fetch(7, 0);
    expect("scale X=x Out=scale_0 scale:f=0.5 bias:f=1\n"
           "reshape2 X=scale_0 Out=reshape2_0 shape:I=-1,2\n"
           "arg_max X=reshape2_0 Out=out0 axis:l=1 keepdims:b=1\n");
}

static void
translate__reductions__say_whether_all_and_cast_first(void **state)
{
    (void)state;
    data();
    ints(2, "0", "");
    op("1.mean", BOOL("keepdim", "false"), "1,2", "3 f32 ");
    fetch(3, 0);
    expect("reduce_mean X=x Out=out0 dim:I= keep_dim:b=0 reduce_all:b=1\n");
    data();
    ints(2, "1", I64(1));
    op("1.sum", "", "1,2", "3 i64 -1");
    fetch(3, 0);
    expect("cast X=x Out=cast_0 in_dtype:i=5 out_dtype:i=3\n"
           "reduce_sum X=cast_0 Out=out0 dim:I=1 reduce_all:b=0\n");
}

/* Once, when first read; their names do not meet those of others. */
static void
translate__constants_that_tensors_meet__become_ops(void **state)
{
    (void)state;
    weight(9, "fill_constant_0", "4");
    data();
    full(2, "f32", "4", "1.5");
    op("1.add", "", "1,2", "3 f32 -1,4");
    op("1.multiply", "", "3,2", "4 f32 -1,4");
    fetch(4, 0);
    expect("fill_constant Out=fill_constant_0_ shape:L=4 dtype:i=5"
           " value:f=1.5\n"
           "elementwise_add X=x Y=fill_constant_0_ Out=elementwise_add_0"
           " axis:i=-1\n"
           "elementwise_mul X=elementwise_add_0 Y=fill_constant_0_ Out=out0"
           " axis:i=-1\n");
}

static void
translate__constants_by_element__keep_every_bit(void **state)
{
    (void)state;
    data();
    full(2, "i64", "2", "16777217.0"); /* no f32 */
    fetch(2, 0);
    expect("assign_value Out=out0 shape:I=2 dtype:i=3"
           " int64_values:L=16777217,16777217\n");
    data();
    ints(2, "3", I64(1) "," I64(2) "," I64(3));
    fetch(2, 0);
    expect("assign_value Out=out0 shape:I=3 dtype:i=3 int64_values:L=1,2,3\n");
    data();
    op("1.assign_value_", LIST("values", F64(0.5) "," F64(2)), "1",
       "2 f32 1,2");
    fetch(2, 0);
    expect("assign_value Out=out0 shape:I=1,2 dtype:i=5 fp32_values:F=0.5,2\n");
    data();
    op("1.assign_value_", LIST("values", F64(1) "," F64(0)), "1", "2 bool 2");
    fetch(2, 0);
    expect("assign_value Out=out0 shape:I=2 dtype:i=0 bool_values:I=1,0\n");
}

static void
translate__lists__are_taken_apart(void **state)
{
    (void)state;
    data();
    full(2, "i32", "1", "1.0");
    op("1.split_with_num", INT("num", "2"), "1,2", "3 [f32 -1,2|f32 -1,2]");
    op("0.split", "", "3", "4 f32 -1,2; 5 f32 -1,2");
    op("0.slice", INT("index", "1"), "3", "6 f32 -1,2");
    op("0.combine", "", "4,6,5", "7 []");
    op("1.concat", "", "7,2", "8 f32 -1,6");
    fetch(8, 0);
    expect("split X=x Out=split_0.0,split_0.1 axis:i=1 num:i=2\n"
           "concat X=split_0.0,split_0.1,split_0.1 Out=out0 axis:i=1\n");
    /* A list of constants is as good as one constant. */
    data();
    full(2, "i64", "", "4.0");
    full(3, "i64", "1", "-1.0");
    op("0.combine", "", "2,3", "4 []");
    op("1.reshape", "", "1,4", "5 f32 4,-1");
    fetch(5, 0);
    expect("reshape2 X=x Out=out0 shape:I=4,-1\n");
}

static void
translate__scalars__are_stacked_as_lists_of_one(void **state)
{
    (void)state;
    /* Half of a size, as the end of a slice. */
    data();
    op("1.shape64", "", "1", "2 i64 2");
    full(3, "i64", "1", "1.0");
    op("1.reshape", "", "2,3", "4 i64 ");
    op("0.combine", "", "4,4", "5 []");
    op("1.stack", INT("axis", "0"), "5", "6 i64 2");
    fetch(6, 0);
    expect("shape Input=x Out=shape_0\n"
           "cast X=shape_0 Out=cast_0 in_dtype:i=2 out_dtype:i=3\n"
           "reshape2 X=cast_0 Out=reshape2_0 shape:I=1\n"
           "reshape2 X=reshape2_0 Out=reshape2_1 shape:I=1\n"
           "reshape2 X=reshape2_0 Out=reshape2_2 shape:I=1\n"
           "concat X=reshape2_1,reshape2_2 Out=out0 axis:i=0\n");
    /* Others are stacked as they are. */
    data();
    op("0.combine", "", "1,1", "2 []");
    op("1.stack", INT("axis", "0"), "2", "3 f32 2,-1,4");
    fetch(3, 0);
    expect("stack X=x,x Y=out0 axis:i=0\n");
}

static void
translate__unbind__becomes_slices(void **state)
{
    (void)state;
    weight(2, "w", "2,4");
    op("1.unbind", INT("axis", "-2"), "2", "3 [f32 4|f32 4]");
    op("0.split", "", "3", "4 f32 4; 5 f32 4");
    op("1.add", "", "4,5", "6 f32 4");
    fetch(6, 0);
    expect("slice Input=w Out=unbind_0.0 axes:I=0 starts:I=0 ends:I=1 "
           "infer_flags:I=1 decrease_axis:I=0\n"
           "slice Input=w Out=unbind_0.1 axes:I=0 starts:I=1 ends:I=2 "
           "infer_flags:I=1 decrease_axis:I=0\n"
           "elementwise_add X=unbind_0.0 Y=unbind_0.1 Out=out0 axis:i=-1\n");
}

static void
translate__shapes__are_i32_and_cast(void **state)
{
    (void)state;
    data();
    op("1.shape64", "", "1", "2 i64 2");
    op("1.expand", "", "1,2", "3 f32 -1,-1");
    fetch(3, 0);
    expect("shape Input=x Out=shape_0\n"
           "cast X=shape_0 Out=cast_0 in_dtype:i=2 out_dtype:i=3\n"
           "cast X=cast_0 Out=cast_1 in_dtype:i=3 out_dtype:i=2\n"
           "expand_v2 X=x Shape=cast_1 Out=out0 shape:I=\n");
    data();
    op("1.shape", "", "1", "2 i32 2");
    fetch(2, 0);
    expect("shape Input=x Out=out0\n");
}

static void
translate__running_means__are_written_in_place(void **state)
{
    (void)state;
    data();
    weight(2, "m", "4");
    weight(3, "v", "4");
    weight(4, "s", "4");
    weight(5, "b", "4");
    op("1.batch_norm_", STR("data_format", "NCHW"), "1,2,3,4,5",
       "6 f32 -1,4; 7 f32 4; 8 f32 4; 9 f32 4; 10 f32 4; 11 ui8 -1");
    op("1.add", "", "6,7", "12 f32 -1,4");
    fetch(12, 0);
    expect("batch_norm X=x Mean=m Variance=v Scale=s Bias=b Y=batch_norm_0"
           " MeanOut=m VarianceOut=v SavedMean=batch_norm_0.SavedMean"
           " SavedVariance=batch_norm_0.SavedVariance data_layout:s=NCHW\n"
           "elementwise_add X=batch_norm_0 Y=m Out=out0 axis:i=-1\n");
}

static void
translate__optional_operands__may_be_left_out(void **state)
{
    (void)state;
    data();
    weight(2, "w", "4,4,1,1");
    op("1.deformable_conv", "", "1,1,2,0", "3 f32 -1,4");
    fetch(3, 0);
    expect("deformable_conv_v1 Input=x Offset=x Filter=w Output=out0\n");
    data();
    op("1.unique", "", "1", "2 f32 -1; 3 NULL; 4 i64 -1; 5 NULL");
    fetch(2, 0);
    expect("unique X=x Out=out0 Index=out0.Index\n");
}

static void
translate__outputs__stand_in_the_order_of_their_numbers(void **state)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    text is = {0};

    (void)state;
    data();
    op("1.relu", "", "1", "2 f32 -1,4");
    fetch(2, 2);
    fetch(1, 0);
    fetch(2, 1);
    bytes = translate(&len);
    say_program(&is, bytes, len);
    assert_string_equal(is.at, "feed X=feed Out=x col:i=0\n"
                               "relu X=x Out=out2\n"
                               "fetch X=x Out=fetch col:i=0\n"
                               "fetch X=out2 Out=fetch col:i=1\n"
                               "fetch X=out2 Out=fetch col:i=2\n");
    free(bytes);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(translate__one_op__with_ports_and_variables),
        cmocka_unit_test(translate__parameters__keep_names_and_shapes),
        cmocka_unit_test(translate__attributes__get_the_old_names_and_types),
        cmocka_unit_test(translate__numbers_of_every_form__are_read),
        cmocka_unit_test(translate__constants__become_attributes),
        cmocka_unit_test(translate__reductions__say_whether_all_and_cast_first),
        cmocka_unit_test(translate__constants_that_tensors_meet__become_ops),
        cmocka_unit_test(translate__constants_by_element__keep_every_bit),
        cmocka_unit_test(translate__lists__are_taken_apart),
        cmocka_unit_test(translate__scalars__are_stacked_as_lists_of_one),
        cmocka_unit_test(translate__unbind__becomes_slices),
        cmocka_unit_test(translate__shapes__are_i32_and_cast),
        cmocka_unit_test(translate__running_means__are_written_in_place),
        cmocka_unit_test(translate__optional_operands__may_be_left_out),
        cmocka_unit_test(
            translate__outputs__stand_in_the_order_of_their_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
