/* The walks of .pdmodel and .pdiparams, on files made here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "graph/pdiparams.h"
#include "graph/wire.h"

struct file {
    uint8_t bytes[1024];
    size_t len;
};

static void
put(struct file *f, const void *data, size_t len)
{
    assert_true(f->len + len <= sizeof f->bytes);
    memcpy(f->bytes + f->len, data, len);
    f->len += len;
}

/* One field of wire type 2. */
static void
put_message(struct file *f, uint8_t number, const struct file *in)
{
    const uint8_t head[] = {(uint8_t)(number << 3 | 2), (uint8_t)in->len};

    assert_true(in->len < 128);
    put(f, head, sizeof head);
    put(f, in->bytes, in->len);
}

static void
put_text(struct file *f, uint8_t number, const char *text)
{
    struct file in = {.len = strlen(text)};

    memcpy(in.bytes, text, in.len);
    put_message(f, number, &in);
}

/* A block's VarDesc: a dense tensor of f32. */
static void
put_var(struct file *block, const char *name, const uint8_t *desc,
        size_t desc_len, bool is_persistable)
{
    struct file tensor = {0}, dense = {0}, type = {0}, var = {0};
    const uint8_t kind[] = {0x08, 7};
    const uint8_t persistable[] = {0x18, is_persistable};

    put(&tensor, desc, desc_len);
    put_message(&dense, 1, &tensor);
    put(&type, kind, sizeof kind);
    put_message(&type, 3, &dense);
    put_text(&var, 1, name);
    put_message(&var, 2, &type);
    put(&var, persistable, sizeof persistable);
    put_message(block, 3, &var);
}

static const uint8_t desc_3[] = {0x08, 5, 0x10, 3};               /* f32 [3] */
static const uint8_t desc_23[] = {0x08, 5, 0x12, 2, 2, 3};        /* packed */
static const uint8_t desc_free[] = {0x08, 5,    0x10, 0xFF, 0xFF, /* f32 [-1] */
                                    0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                    0xFF, 0xFF, 0x01};

/* Parameters "b" [2,3] and "a" [3], a free "x", ops conv2d and relu. */
static struct file
make_program(void)
{
    static const uint8_t version[] = {0x08, 0xB0, 0xB8, 0x7A}; /* 2006064 */
    struct file program = {0}, block = {0}, op = {0}, v = {0};

    put_var(&block, "b", desc_23, sizeof desc_23, true);
    put_var(&block, "x", desc_free, sizeof desc_free, false);
    put_text(&op, 3, "conv2d");
    put_message(&block, 4, &op);
    op.len = 0;
    put_text(&op, 3, "relu");
    put_message(&block, 4, &op);
    put_message(&program, 1, &block);
    block.len = 0;
    put_var(&block, "a", desc_3, sizeof desc_3, true);
    put_var(&block, "b", desc_23, sizeof desc_23, true);
    put_message(&program, 1, &block);
    put(&v, version, sizeof version);
    put_message(&program, 4, &v);
    return program;
}

static void
put_record(struct file *f, const uint8_t *desc, uint8_t desc_len, size_t count)
{
    uint8_t head[20] = {0};

    head[16] = desc_len;
    put(f, head, sizeof head);
    put(f, desc, desc_len);
    for (size_t i = 0; i < count; i++) {
        float v = (float)i;

        put(f, &v, sizeof v);
    }
}

static struct file
make_params(void)
{
    struct file f = {0};

    put_record(&f, desc_3, sizeof desc_3, 3);
    put_record(&f, desc_23, sizeof desc_23, 6);
    return f;
}

/* A copy of exactly len bytes, so that a sanitizer sees one byte too many. */
static uint8_t *
exactly(const struct file *f, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);

    assert_non_null(copy);
    memcpy(copy, f->bytes, len);
    return copy;
}

static void
pdmodel_open__whole__gives_version_ops_and_parameters(void **state)
{
    struct file f = make_program();
    kerf_pdmodel p = {0};

    (void)state;
    assert_int_equal(kerf_pdmodel_open(&p, f.bytes, f.len, NULL), KERF_OK);
    assert_int_equal(p.version, 2006064);
    assert_int_equal(p.op_count, 2);
    assert_memory_equal(p.op[1].type.at, "relu", 4);
    assert_int_equal(p.param_count, 2); /* "b" of both blocks is one */
    assert_memory_equal(p.param[0].name.at, "a", 1);
    assert_int_equal(p.param[1].desc.shape.rank, 2);
    assert_int_equal(p.param[1].desc.shape.dims[1], 3);
    assert_int_equal(p.param[1].desc.dtype, KERF_F32);
    assert_true(kerf_wire_has(f.bytes, f.len, 4));
    assert_false(kerf_wire_has(f.bytes, f.len, 7));
    kerf_pdmodel_close(&p);
    kerf_pdmodel_close(&p);
}

/* Either an error, or (cut between two fields) a shorter program. */
static void
pdmodel_open__every_truncation_and_bit__is_safe(void **state)
{
    struct file f = make_program();
    kerf_pdmodel p = {0};

    (void)state;
    for (size_t len = 0; len < f.len; len++) {
        uint8_t *copy = exactly(&f, len);

        if (kerf_pdmodel_open(&p, copy, len, NULL) == KERF_OK)
            kerf_pdmodel_close(&p);
        free(copy);
    }
    for (size_t bit = 0; bit < 8 * f.len; bit++) {
        uint8_t *copy = exactly(&f, f.len);

        copy[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        if (kerf_pdmodel_open(&p, copy, f.len, NULL) == KERF_OK)
            kerf_pdmodel_close(&p);
        free(copy);
    }
}

static void
pdiparams_check__whole__is_ok(void **state)
{
    struct file f = make_program(), params = make_params();
    kerf_pdmodel p = {0};

    (void)state;
    assert_int_equal(kerf_pdmodel_open(&p, f.bytes, f.len, NULL), KERF_OK);
    assert_int_equal(
        kerf_pdiparams_check(&p, params.bytes, params.len, NULL, NULL),
        KERF_OK);
    kerf_pdmodel_close(&p);
}

static void
pdiparams_check__every_truncation__is_corrupt(void **state)
{
    struct file f = make_program(), params = make_params();
    kerf_pdmodel p = {0};
    kerf_detail why;

    (void)state;
    assert_int_equal(kerf_pdmodel_open(&p, f.bytes, f.len, NULL), KERF_OK);
    for (size_t len = 0; len < params.len; len++) {
        uint8_t *copy = exactly(&params, len);

        assert_int_equal(kerf_pdiparams_check(&p, copy, len, NULL, &why),
                         KERF_ECORRUPT);
        free(copy);
    }
    assert_int_equal(kerf_pdiparams_check(&p, NULL, 0, NULL, &why),
                     KERF_ECORRUPT);
    assert_non_null(strstr(why.text, "missing"));
    kerf_pdmodel_close(&p);
}

static void
pdiparams_check__shifted_or_longer__is_corrupt(void **state)
{
    struct file f = make_program(), params = make_params(), other = {0};
    kerf_pdmodel p = {0};
    kerf_detail why;

    (void)state;
    assert_int_equal(kerf_pdmodel_open(&p, f.bytes, f.len, NULL), KERF_OK);
    put_record(&other, desc_23, sizeof desc_23, 6);
    put_record(&other, desc_3, sizeof desc_3, 3);
    assert_int_equal(
        kerf_pdiparams_check(&p, other.bytes, other.len, NULL, &why),
        KERF_ECORRUPT);
    assert_string_equal(why.text, "the .pdiparams, parameter 1 of 2 'a': the "
                                  "file has f32 (2, 3), the program says f32 "
                                  "(3,)");
    params.len++;
    assert_int_equal(
        kerf_pdiparams_check(&p, params.bytes, params.len, NULL, &why),
        KERF_ECORRUPT);
    kerf_pdmodel_close(&p);
}

/* No bit of a header can be wrong without being seen. */
static void
pdiparams_check__every_header_bit__is_an_error(void **state)
{
    struct file f = make_program(), params = make_params();
    kerf_pdmodel p = {0};

    (void)state;
    assert_int_equal(kerf_pdmodel_open(&p, f.bytes, f.len, NULL), KERF_OK);
    for (size_t bit = 0; bit < 8 * (20 + sizeof desc_3); bit++) {
        uint8_t *copy = exactly(&params, params.len);

        copy[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_int_not_equal(
            kerf_pdiparams_check(&p, copy, params.len, NULL, NULL), KERF_OK);
        free(copy);
    }
    kerf_pdmodel_close(&p);
}

static void
record_read__huge_dims__are_refused_before_any_use(void **state)
{
    static const uint8_t huge[] = {0x08, 5,    0x10, 0xFF, 0xFF, 0xFF, 0xFF,
                                   0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 0x10, 2};
    struct file f = {0};
    kerf_pd_record record;
    kerf_rd r;

    (void)state;
    put_record(&f, huge, sizeof huge, 4);
    r = (kerf_rd){.at = f.bytes, .left = f.len};
    assert_int_equal(kerf_pd_record_read(&r, &record), KERF_ETOOBIG);
    f.len = 0;
    put_record(&f, desc_free, sizeof desc_free, 4);
    r = (kerf_rd){.at = f.bytes, .left = f.len};
    assert_int_equal(kerf_pd_record_read(&r, &record), KERF_ECORRUPT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pdmodel_open__whole__gives_version_ops_and_parameters),
        cmocka_unit_test(pdmodel_open__every_truncation_and_bit__is_safe),
        cmocka_unit_test(pdiparams_check__whole__is_ok),
        cmocka_unit_test(pdiparams_check__every_truncation__is_corrupt),
        cmocka_unit_test(pdiparams_check__shifted_or_longer__is_corrupt),
        cmocka_unit_test(pdiparams_check__every_header_bit__is_an_error),
        cmocka_unit_test(record_read__huge_dims__are_refused_before_any_use),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
