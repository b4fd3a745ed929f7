/* Parts of models that are shipped packed: their metas, and their blocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cloud/packed.h"
#include "codec/block.h"
#include "proto/frame.h"

static void
put_le(uint8_t *at, uint64_t v, size_t len)
{
    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)(v >> (8 * i));
}

static void
hello_get__part_codecs__may_be_missing(void **state)
{
    kerf_hello m = {.version_min = 1,
                    .version_max = 1,
                    .bundle_count = 1,
                    .part_codecs = 3};
    uint8_t bytes[256];
    size_t len = kerf_hello_put(bytes, sizeof bytes, &m);

    (void)state;
    m.part_codecs = 7;
    assert_int_equal(kerf_hello_get(&m, bytes, len, NULL), KERF_OK);
    assert_int_equal(m.part_codecs, 3);
    for (size_t less = 1; less <= 4; less++) { /* as an older edge ends */
        assert_int_equal(kerf_hello_get(&m, bytes, len - less, NULL), KERF_OK);
        assert_int_equal(m.part_codecs, 0);
    }
    assert_int_equal(kerf_hello_get(&m, bytes, len - 5, NULL), KERF_ECORRUPT);
}

static void
part_get__packed__is_bounded(void **state)
{
    const kerf_range good = {.part = 2,
                             .offset = 77,
                             .len = 9,
                             .codec = KERF_PART_KWZ,
                             .kind = 3,
                             .plain = KERF_PART_BLOCK};
    kerf_range m = {0};
    uint8_t bytes[128];
    size_t len = kerf_range_put(bytes, sizeof bytes, &good);
    kerf_detail why = {{0}};

    (void)state;
    assert_int_equal(len, 52);
    assert_int_equal(kerf_range_get(&m, bytes, len, NULL), KERF_OK);
    assert_int_equal(m.codec, KERF_PART_KWZ);
    assert_int_equal(m.kind, 3);
    assert_int_equal(m.plain, KERF_PART_BLOCK);
    for (size_t cut = 47; cut < len; cut++)
        assert_int_equal(kerf_range_get(&m, bytes, cut, NULL), KERF_ECORRUPT);
    put_le(bytes + 48, KERF_PART_BLOCK + 1, 4); /* a bomb */
    assert_int_equal(kerf_range_get(&m, bytes, len, &why), KERF_ECORRUPT);
    put_le(bytes + 48, UINT32_MAX, 4);
    assert_int_equal(kerf_range_get(&m, bytes, len, NULL), KERF_ECORRUPT);
    put_le(bytes + 48, 9, 4); /* no smaller than what it stands for */
    assert_int_equal(kerf_range_get(&m, bytes, len, NULL), KERF_ECORRUPT);
    put_le(bytes + 48, 10, 4);
    assert_int_equal(kerf_range_get(&m, bytes, len, NULL), KERF_OK);
    bytes[46] = KERF_PART_CODECS; /* one that was not asked for */
    assert_int_equal(kerf_range_get(&m, bytes, len, NULL), KERF_ECORRUPT);
}

/* Half of it floats with few exponents, the other half noise. */
static size_t
fill(uint8_t *data, size_t len)
{
    uint64_t x = 9;

    for (size_t i = 0; i < len; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        data[i] = (uint8_t)(x >> 56);
    }
    for (size_t i = 0; i + 4 <= len / 2; i += 4)
        data[i + 3] = (uint8_t)(0x3c | (data[i + 3] & 0x81));
    return len;
}

static bool
bring_back(void *ctx, uint64_t offset, uint8_t *to, size_t len)
{
    memcpy(to, (const uint8_t *)ctx + offset, len);
    return true;
}

/* Every byte is in one block, and each block gives it back. */
static void
packed_make__any_bytes__cover_the_file(void **state)
{
    enum { LEN = 3000001 };
    uint8_t *data = malloc(LEN);
    uint8_t *back = malloc(LEN);
    kerf_block_coder *bc = NULL;
    kerf_packed p = {0};
    uint64_t at = 0;
    uint64_t sent = 0;

    (void)state;
    assert_non_null(data);
    assert_non_null(back);
    assert_int_equal(kerf_block_coder_new(&bc), KERF_OK);
    assert_int_equal(kerf_packed_make(&p, data, fill(data, LEN)), KERF_OK);
    assert_true(p.count > 1);
    for (size_t i = 0; i < p.count; i++) {
        const kerf_packed_block *b = &p.block[i];

        assert_int_equal(b->offset, at);
        assert_ptr_equal(kerf_packed_at(&p, at), b);
        assert_ptr_equal(kerf_packed_at(&p, at + b->len - 1), b);
        assert_true(b->len <= KERF_PART_BLOCK);
        if (b->data == NULL) {
            assert_int_equal(b->data_len, b->len);
            memcpy(back + at, data + at, b->len);
        } else {
            assert_true(b->data_len < b->len);
            assert_int_equal(kerf_block_decode(bc, back + at, b->len,
                                               (kerf_block_kind)b->kind,
                                               b->data, b->data_len, at,
                                               bring_back, back),
                             KERF_OK);
        }
        sent += b->data_len;
        at += b->len;
    }
    assert_int_equal(at, LEN);
    assert_true(sent < (uint64_t)LEN / 100 * 95);
    assert_memory_equal(back, data, LEN);
    assert_null(kerf_packed_at(&p, LEN));
    kerf_packed_fini(&p);
    assert_null(kerf_packed_at(&p, 0));
    kerf_block_coder_free(bc);
    free(back);
    free(data);
}

/* Noise and files of nothing are not worth it: they are left as they are. */
static void
packed_make__what_does_not_pack__is_empty(void **state)
{
    uint8_t noise[4000];
    kerf_packed p = {0};

    (void)state;
    (void)fill(noise, sizeof noise);
    assert_int_equal(kerf_packed_make(&p, noise + 2000, 2000), KERF_OK);
    assert_int_equal(p.count, 0);
    assert_int_equal(kerf_packed_make(&p, noise, 0), KERF_OK);
    assert_int_equal(p.count, 0);
    kerf_packed_fini(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello_get__part_codecs__may_be_missing),
        cmocka_unit_test(part_get__packed__is_bounded),
        cmocka_unit_test(packed_make__any_bytes__cover_the_file),
        cmocka_unit_test(packed_make__what_does_not_pack__is_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
