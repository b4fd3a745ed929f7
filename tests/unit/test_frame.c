#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/rng.h"
#include "proto/frame.h"

#define MB ((uint64_t)1 << 20)

static void
put_le(uint8_t *at, uint64_t v, size_t len)
{
    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)(v >> (8 * i));
}

/* A right header with one field changed and the hash made anew. */
static kerf_err
get_changed(size_t at, size_t len, uint64_t v, kerf_header *h, kerf_detail *why)
{
    uint8_t bytes[KERF_HEADER_LEN];
    kerf_header good = {.version = KERF_WIRE_VERSION,
                        .type = KERF_FRAME_TENSOR,
                        .id = 7,
                        .meta_len = 100,
                        .payload_len = 128};

    kerf_header_put(bytes, &good);
    put_le(bytes + at, v, len);
    put_le(bytes + 56, kerf_xxh3(bytes, 56), 8);
    return kerf_header_get(h, bytes, MB, why);
}

static void
head_len__around_a_step__rounds_up(void **state)
{
    (void)state;
    assert_int_equal(kerf_head_len(0), 256);
    assert_int_equal(kerf_head_len(192), 256);
    assert_int_equal(kerf_head_len(193), 512);
    assert_int_equal(kerf_head_len(KERF_META_MAX), KERF_HEAD_MAX);
}

static void
header_get__every_bit_flip__is_an_error(void **state)
{
    kerf_header good = {.version = KERF_WIRE_VERSION,
                        .type = KERF_FRAME_TENSOR,
                        .meta_len = 100,
                        .payload_len = 128};
    uint8_t bytes[KERF_HEADER_LEN];

    (void)state;
    kerf_header_put(bytes, &good);
    for (unsigned bit = 0; bit < 8 * KERF_HEADER_LEN; bit++) {
        kerf_err expected = bit / 8 == 4 ? KERF_EVERSION : KERF_EPROTO;
        kerf_detail why = {{0}};
        kerf_header h;

        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_int_equal(kerf_header_get(&h, bytes, MB, &why), expected);
        assert_true(why.text[0] != '\0');
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
}

static void
header_get__lengths__are_bounded(void **state)
{
    static const struct {
        uint64_t v;
        kerf_err err;
    } payloads[] = {
        {0, KERF_OK},
        {1, KERF_EPROTO},
        {64, KERF_OK},
        {MB, KERF_OK},
        {MB + 64, KERF_ETOOBIG},
        {MB + 1, KERF_ETOOBIG},
        {(uint64_t)1 << 63, KERF_ETOOBIG},
        {UINT64_MAX, KERF_ETOOBIG},
    };
    kerf_detail why;
    kerf_header h;

    (void)state;
    for (size_t i = 0; i < sizeof payloads / sizeof *payloads; i++)
        assert_int_equal(get_changed(24, 8, payloads[i].v, &h, &why),
                         payloads[i].err);
    assert_int_equal(get_changed(16, 4, 0, &h, &why), KERF_OK);
    assert_int_equal(get_changed(16, 4, KERF_META_MAX, &h, &why), KERF_OK);
    assert_int_equal(get_changed(16, 4, KERF_META_MAX + 1, &h, &why),
                     KERF_ETOOBIG);
    assert_int_equal(get_changed(16, 4, UINT32_MAX, &h, &why), KERF_ETOOBIG);
}

static void
header_get__payload_over_the_wires_limit__is_too_big(void **state)
{
    kerf_header good = {.version = KERF_WIRE_VERSION,
                        .payload_len = KERF_PAYLOAD_MAX + 64};
    uint8_t bytes[KERF_HEADER_LEN];
    kerf_header h;

    (void)state;
    kerf_header_put(bytes, &good);
    assert_int_equal(kerf_header_get(&h, bytes, UINT64_MAX, NULL),
                     KERF_ETOOBIG);
}

static void
header_get__reserved_bytes_and_flags__are_ignored(void **state)
{
    kerf_detail why;
    kerf_header h;

    (void)state;
    assert_int_equal(get_changed(20, 4, UINT32_MAX, &h, &why), KERF_OK);
    assert_int_equal(get_changed(48, 8, UINT64_MAX, &h, &why), KERF_OK);
    assert_int_equal(get_changed(6, 2, 0xFFFE, &h, &why), KERF_OK);
    assert_int_equal(get_changed(5, 1, 200, &h, &why), KERF_OK);
    assert_int_equal(h.type, 200);
}

static void
header_get__other_version__names_both(void **state)
{
    kerf_detail why;
    kerf_header h;

    (void)state;
    assert_int_equal(get_changed(4, 1, 3, &h, &why), KERF_EVERSION);
    assert_int_equal(h.version, 3);
    assert_int_equal(h.type, 0);
    assert_non_null(strstr(why.text, "version 3"));
    assert_non_null(strstr(why.text, "version 1"));
}

static void
header_get__error_frame_of_another_version__can_be_read(void **state)
{
    kerf_header sent = {.version = 9, .type = KERF_FRAME_ERROR, .meta_len = 40};
    uint8_t bytes[KERF_HEADER_LEN];
    kerf_header h;

    (void)state;
    kerf_header_put(bytes, &sent);
    assert_int_equal(kerf_header_get(&h, bytes, MB, NULL), KERF_EVERSION);
    assert_int_equal(h.type, KERF_FRAME_ERROR);
    assert_int_equal(h.meta_len, 40);
    sent.meta_len = KERF_META_MAX + 1; /* not one that we would read */
    kerf_header_put(bytes, &sent);
    assert_int_equal(kerf_header_get(&h, bytes, MB, NULL), KERF_EVERSION);
    assert_int_equal(h.type, 0);
    sent.meta_len = 40;
    kerf_header_put(bytes, &sent);
    bytes[10] ^= 1; /* its hash is wrong */
    assert_int_equal(kerf_header_get(&h, bytes, MB, NULL), KERF_EVERSION);
    assert_int_equal(h.type, 0);
}

static void
header_get__not_kerf__shows_the_first_bytes(void **state)
{
    uint8_t bytes[KERF_HEADER_LEN] = "GET / HTTP/1.1\r\n";
    kerf_detail why;
    kerf_header h;

    (void)state;
    assert_int_equal(kerf_header_get(&h, bytes, MB, &why), KERF_EPROTO);
    assert_non_null(strstr(why.text, "47 45 54 20"));
}

static void
header__random_fields__survive_a_round_trip(void **state)
{
    uint64_t seed = 11;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        kerf_header a = {.version = KERF_WIRE_VERSION,
                         .type = (uint8_t)kerf_rng_next(&seed),
                         .flags = (uint16_t)kerf_rng_next(&seed),
                         .id = kerf_rng_next(&seed),
                         .meta_len = kerf_rng_next(&seed) % KERF_META_MAX,
                         .payload_len = kerf_rng_next(&seed) % 1000 * 64,
                         .sent_ns = kerf_rng_next(&seed),
                         .body_hash = kerf_rng_next(&seed)};
        uint8_t bytes[KERF_HEADER_LEN];
        kerf_header b;

        kerf_header_put(bytes, &a);
        assert_int_equal(kerf_header_get(&b, bytes, MB, NULL), KERF_OK);
        assert_true(a.type == b.type && a.flags == b.flags && a.id == b.id &&
                    a.meta_len == b.meta_len &&
                    a.payload_len == b.payload_len && a.sent_ns == b.sent_ns &&
                    a.body_hash == b.body_hash);
    }
}

static void
head_seal__dirty_memory__is_padded_with_zeros(void **state)
{
    uint8_t head[512];
    kerf_header h = {.type = KERF_FRAME_PONG};

    (void)state;
    memset(head, 0xEE, sizeof head);
    assert_int_equal(kerf_head_seal(head, &h, 10), 256);
    for (size_t i = KERF_HEADER_LEN; i < KERF_HEADER_LEN + 10; i++)
        assert_int_equal(head[i], 0xEE);
    for (size_t i = KERF_HEADER_LEN + 10; i < 256; i++)
        assert_int_equal(head[i], 0);
    assert_int_equal(head[256], 0xEE);
}

/* Every kind of meta behind one signature. */
typedef struct any_meta {
    kerf_hello hello;
    kerf_welcome welcome;
    uint8_t token[KERF_TOKEN_LEN];
    kerf_offer offer;
    kerf_range part;
    kerf_ready ready;
    kerf_tensors tensors;
    kerf_notice notice;
    kerf_pong pong;
} any_meta;

enum { META_KINDS = 9, TENSORS_PAYLOAD = 128 };

static void
fill_metas(any_meta *m)
{
    memset(m, 0, sizeof *m);
    m->hello = (kerf_hello){.version_min = 1,
                            .version_max = 2,
                            .name = "edge",
                            .want = "digits",
                            .engine = "fake",
                            .bundle_count = 2};
    m->welcome = (kerf_welcome){.version = 1, .window = 1, .heartbeat_ms = 100};
    m->offer = (kerf_offer){.manifest_len = 1};
    m->part = (kerf_range){.part = 4, .offset = 1, .len = 2};
    m->ready = (kerf_ready){.err = 3, .reason = "why"};
    m->tensors = (kerf_tensors){
        .count = 2,
        .tensor = {
            {.dtype = KERF_F32, .shape = {.rank = 1, .dims = {3}}, .len = 12},
            {.dtype = KERF_U8, .shape = {.rank = 0}, .len = 1},
        }};
    m->notice = (kerf_notice){.err = 9, .text = "text"};
    m->pong = (kerf_pong){.echo_ns = 1, .received_ns = 2};
}

static void
ready__errors_of_the_moment__are_told_from_the_others(void **state)
{
    static const kerf_err passing[] = {
        KERF_ENOMEM,  KERF_EIO,    KERF_EBUSY, KERF_EDEADLINE,
        KERF_ECLOSED, KERF_ENOSPC, KERF_EINTR, KERF_EAGAIN};
    size_t count = 0;

    (void)state;
    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++)
        assert_true(kerf_ready_is_passing((uint16_t)passing[i]));
    for (uint32_t err = 0; err <= UINT16_MAX; err++)
        count += kerf_ready_is_passing((uint16_t)err);
    assert_int_equal(count, sizeof passing / sizeof *passing);
}

static size_t
put_any(int kind, uint8_t *out, size_t cap, const any_meta *m)
{
    switch (kind) {
    case 0:
        return kerf_hello_put(out, cap, &m->hello);
    case 1:
        return kerf_welcome_put(out, cap, &m->welcome);
    case 2:
        return kerf_token_put(out, cap, m->token);
    case 3:
        return kerf_offer_put(out, cap, &m->offer);
    case 4:
        return kerf_range_put(out, cap, &m->part);
    case 5:
        return kerf_ready_put(out, cap, &m->ready);
    case 6:
        return kerf_tensors_put(out, cap, &m->tensors);
    case 7:
        return kerf_notice_put(out, cap, &m->notice);
    default:
        return kerf_pong_put(out, cap, &m->pong);
    }
}

static kerf_err
get_any(int kind, any_meta *m, const uint8_t *in, size_t len, kerf_detail *why)
{
    switch (kind) {
    case 0:
        return kerf_hello_get(&m->hello, in, len, why);
    case 1:
        return kerf_welcome_get(&m->welcome, in, len, why);
    case 2:
        return kerf_token_get(m->token, in, len, why);
    case 3:
        return kerf_offer_get(&m->offer, in, len, why);
    case 4:
        return kerf_range_get(&m->part, in, len, why);
    case 5:
        return kerf_ready_get(&m->ready, in, len, why);
    case 6:
        return kerf_tensors_get(&m->tensors, in, len, TENSORS_PAYLOAD, why);
    case 7:
        return kerf_notice_get(&m->notice, in, len, why);
    default:
        return kerf_pong_get(&m->pong, in, len, why);
    }
}

static void
meta_get__every_truncation__is_corrupt(void **state)
{
    any_meta m;

    (void)state;
    for (int kind = 0; kind < META_KINDS; kind++) {
        uint8_t bytes[2048];
        size_t len;

        fill_metas(&m);
        len = put_any(kind, bytes, sizeof bytes, &m);
        assert_true(len > 0);
        for (size_t cut = 0; cut < len; cut++) {
            uint8_t *exact = malloc(cut + 1); /* so that ASan sees overreads */
            kerf_detail why = {{0}};

            assert_non_null(exact);
            memcpy(exact, bytes, cut);
            assert_int_equal(get_any(kind, &m, exact, cut, &why),
                             KERF_ECORRUPT);
            assert_true(why.text[0] != '\0');
            free(exact);
        }
        assert_int_equal(get_any(kind, &m, bytes, len, NULL), KERF_OK);
    }
}

static void
meta_get__bytes_after_the_fields__are_ignored(void **state)
{
    any_meta m;

    (void)state;
    for (int kind = 0; kind < META_KINDS; kind++) {
        uint8_t bytes[2048];
        size_t len;

        fill_metas(&m);
        len = put_any(kind, bytes, sizeof bytes, &m);
        memset(bytes + len, 0xAB, 32);
        memset(bytes + len, 0, 6); /* fields that may be missing: none */
        assert_int_equal(get_any(kind, &m, bytes, len + 32, NULL), KERF_OK);
    }
}

static void
meta_put__no_room__is_zero(void **state)
{
    any_meta m;

    (void)state;
    fill_metas(&m);
    for (int kind = 0; kind < META_KINDS; kind++) {
        uint8_t bytes[2048];
        size_t len = put_any(kind, bytes, sizeof bytes, &m);

        for (size_t cap = 0; cap < len; cap++)
            assert_int_equal(put_any(kind, bytes, cap, &m), 0);
        assert_int_equal(put_any(kind, bytes, len, &m), len);
    }
}

/* What is read after a flip is still within all bounds: it can be written. */
static void
meta_get__every_bit_flip__is_refused_or_within_bounds(void **state)
{
    any_meta m;

    (void)state;
    for (int kind = 0; kind < META_KINDS; kind++) {
        uint8_t bytes[2048];
        uint8_t again[KERF_META_MAX];
        size_t len;

        fill_metas(&m);
        len = put_any(kind, bytes, sizeof bytes, &m);
        for (size_t bit = 0; bit < 8 * len; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            if (get_any(kind, &m, bytes, len, NULL) == KERF_OK)
                assert_true(put_any(kind, again, sizeof again, &m) > 0);
            bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        }
    }
}

static void
hello_get__text_lengths__are_bounded(void **state)
{
    static const struct {
        uint16_t len;
        kerf_err err;
    } cases[] = {{0, KERF_OK},
                 {1, KERF_OK},
                 {KERF_NAME_MAX - 1, KERF_OK},
                 {KERF_NAME_MAX, KERF_ECORRUPT},
                 {0x7FFF, KERF_ECORRUPT},
                 {0xFFFF, KERF_ECORRUPT}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t bytes[512] = {1, 0, 1, 0};
        kerf_wr w = {.at = bytes + 16, .left = sizeof bytes - 16};
        size_t fits = cases[i].len <= KERF_NAME_MAX ? cases[i].len : 0;
        kerf_hello m;

        kerf_wr_u16(&w, cases[i].len);
        memset(w.at, 'x', fits);
        w.at += fits;
        assert_int_equal(kerf_hello_get(&m, bytes, sizeof bytes, NULL),
                         cases[i].err);
        if (cases[i].err == KERF_OK)
            assert_int_equal(strlen(m.name), cases[i].len);
    }
}

static void
hello_get__bundle_count_and_versions__are_checked(void **state)
{
    kerf_hello m = {.version_min = 1, .version_max = 1};
    uint8_t bytes[4096];
    size_t len;

    (void)state;
    m.bundle_count = KERF_HELLO_BUNDLES;
    len = kerf_hello_put(bytes, sizeof bytes, &m);
    assert_true(len > 0 && len <= KERF_META_MAX);
    assert_int_equal(kerf_hello_get(&m, bytes, len, NULL), KERF_OK);
    put_le(bytes + 22, KERF_HELLO_BUNDLES + 1, 2);
    assert_int_equal(kerf_hello_get(&m, bytes, sizeof bytes, NULL),
                     KERF_ECORRUPT);
    put_le(bytes + 22, 0xFFFF, 2);
    assert_int_equal(kerf_hello_get(&m, bytes, sizeof bytes, NULL),
                     KERF_ECORRUPT);
    m = (kerf_hello){.version_min = 2, .version_max = 1};
    len = kerf_hello_put(bytes, sizeof bytes, &m);
    assert_int_equal(kerf_hello_get(&m, bytes, len, NULL), KERF_ECORRUPT);
    m.bundle_count = KERF_HELLO_BUNDLES + 1;
    assert_int_equal(kerf_hello_put(bytes, sizeof bytes, &m), 0);
}

static void
welcome_get__impossible_values__are_corrupt(void **state)
{
    kerf_welcome m = {.version = 1, .window = 0, .heartbeat_ms = 1000};
    uint8_t bytes[256];
    size_t len = kerf_welcome_put(bytes, sizeof bytes, &m);

    (void)state;
    assert_int_equal(kerf_welcome_get(&m, bytes, len, NULL), KERF_ECORRUPT);
    m.window = 1;
    m.heartbeat_ms = KERF_HEARTBEAT_MIN_MS - 1;
    len = kerf_welcome_put(bytes, sizeof bytes, &m);
    assert_int_equal(kerf_welcome_get(&m, bytes, len, NULL), KERF_ECORRUPT);
}

static void
offer_and_part_get__lengths__are_bounded(void **state)
{
    kerf_offer offer = {.manifest_len = KERF_MANIFEST_MAX};
    kerf_range part = {.offset = KERF_MODEL_BYTES_MAX};
    uint8_t bytes[128];
    size_t len;

    (void)state;
    len = kerf_offer_put(bytes, sizeof bytes, &offer);
    assert_int_equal(kerf_offer_get(&offer, bytes, len, NULL), KERF_OK);
    put_le(bytes + 33, KERF_MANIFEST_MAX + 1, 4);
    assert_int_equal(kerf_offer_get(&offer, bytes, len, NULL), KERF_ECORRUPT);
    put_le(bytes + 33, 0, 4);
    assert_int_equal(kerf_offer_get(&offer, bytes, len, NULL), KERF_ECORRUPT);
    put_le(bytes + 33, 1, 4);
    bytes[32] = 2; /* run */
    assert_int_equal(kerf_offer_get(&offer, bytes, len, NULL), KERF_ECORRUPT);

    len = kerf_range_put(bytes, sizeof bytes, &part);
    assert_int_equal(kerf_range_get(&part, bytes, len, NULL), KERF_OK);
    put_le(bytes + 42, 1, 4);
    assert_int_equal(kerf_range_get(&part, bytes, len, NULL), KERF_ECORRUPT);
    put_le(bytes + 34, (uint64_t)1 << 63, 8);
    assert_int_equal(kerf_range_get(&part, bytes, len, NULL), KERF_ECORRUPT);
    put_le(bytes + 34, UINT64_MAX, 8);
    assert_int_equal(kerf_range_get(&part, bytes, len, NULL), KERF_ECORRUPT);
}

/* Reads a meta of one tensor [3] f32 after a change at byte `at`. */
static kerf_err
get_tensors(size_t at, size_t len, uint64_t v, uint64_t payload_len)
{
    static kerf_tensors m;
    uint8_t bytes[256];
    size_t end;

    m = (kerf_tensors){
        .count = 1,
        .tensor = {
            {.dtype = KERF_F32, .shape = {.rank = 1, .dims = {3}}, .len = 12}}};
    end = kerf_tensors_put(bytes, sizeof bytes, &m);
    put_le(bytes + at, v, len);
    return kerf_tensors_get(&m, bytes, end, payload_len, NULL);
}

static void
tensors_get__each_field__is_checked(void **state)
{
    static const uint64_t big[] = {0, 1, UINT32_MAX, (uint64_t)1 << 63,
                                   UINT64_MAX};
    enum { COUNT = 76, DTYPE = 78, CODEC = 79, RANK = 80, DIM = 82, LEN = 90 };

    (void)state;
    assert_int_equal(get_tensors(COUNT, 2, 1, 64), KERF_OK);
    assert_int_equal(get_tensors(COUNT, 2, 1, 0), KERF_ECORRUPT);
    assert_int_equal(get_tensors(COUNT, 2, 1, 128), KERF_ECORRUPT);
    assert_int_equal(get_tensors(COUNT, 2, 0, 64), KERF_ECORRUPT);
    assert_int_equal(get_tensors(COUNT, 2, KERF_PORTS_MAX, 64), KERF_ECORRUPT);
    assert_int_equal(get_tensors(COUNT, 2, KERF_PORTS_MAX + 1, 64),
                     KERF_ECORRUPT);
    assert_int_equal(get_tensors(COUNT, 2, UINT16_MAX, 64), KERF_ECORRUPT);
    assert_int_equal(get_tensors(DTYPE, 1, KERF_DTYPE_COUNT, 64),
                     KERF_ECORRUPT);
    assert_int_equal(get_tensors(DTYPE, 1, 255, 64), KERF_ECORRUPT);
    assert_int_equal(get_tensors(CODEC, 1, 1, 64), KERF_ECORRUPT);
    assert_int_equal(get_tensors(RANK, 2, KERF_RANK_MAX + 1, 64),
                     KERF_ECORRUPT);
    assert_int_equal(get_tensors(RANK, 2, UINT16_MAX, 64), KERF_ECORRUPT);
    for (size_t i = 0; i < sizeof big / sizeof *big; i++) {
        assert_int_equal(get_tensors(DIM, 8, big[i], 64), KERF_ECORRUPT);
        assert_int_equal(get_tensors(LEN, 8, big[i], 64), KERF_ECORRUPT);
    }
}

/* A blob is of f32 and smaller than its tensor; 0: blocks follow. */
static kerf_err
get_coded(kerf_dtype dtype, uint8_t codec, uint64_t len)
{
    static kerf_tensors m;
    uint8_t bytes[256];
    size_t end;

    m = (kerf_tensors){.count = 1};
    m.tensor[0] = (kerf_tensor_desc){.dtype = dtype,
                                     .codec = codec,
                                     .shape = {.rank = 1, .dims = {50}},
                                     .len = len};
    end = kerf_tensors_put(bytes, sizeof bytes, &m);
    return kerf_tensors_get(&m, bytes, end, (len + 63) / 64 * 64, NULL);
}

static void
tensors_get__coded__is_f32_and_smaller(void **state)
{
    (void)state;
    for (uint8_t id = 1; id < (uint8_t)KERF_CODEC_COUNT; id++) {
        assert_int_equal(get_coded(KERF_F32, id, 1), KERF_OK);
        assert_int_equal(get_coded(KERF_F32, id, 199), KERF_OK);
        assert_int_equal(get_coded(KERF_F32, id, 0), KERF_OK);
        assert_int_equal(get_coded(KERF_I32, id, 0), KERF_ECORRUPT);
        assert_int_equal(get_coded(KERF_F32, id, 200), KERF_ECORRUPT);
        assert_int_equal(get_coded(KERF_F32, id, (uint64_t)1 << 40),
                         KERF_ECORRUPT);
        assert_int_equal(get_coded(KERF_I32, id, 100), KERF_ECORRUPT);
    }
    assert_int_equal(get_coded(KERF_F32, KERF_CODEC_COUNT, 100), KERF_ECORRUPT);
    assert_int_equal(get_coded(KERF_F32, 255, 100), KERF_ECORRUPT);
}

static void
tensors__most_and_largest__fit_into_a_meta(void **state)
{
    static kerf_tensors m;
    static kerf_tensors back;
    static uint8_t bytes[KERF_META_MAX];
    size_t len;

    (void)state;
    m = (kerf_tensors){.count = KERF_PORTS_MAX};
    for (size_t i = 0; i < KERF_PORTS_MAX; i++) {
        m.tensor[i] = (kerf_tensor_desc){
            .dtype = KERF_U8,
            .shape = {.rank = 8, .dims = {1, 1, 1, 1, 1, 1, 1, 65}},
            .len = 65};
    }
    len = kerf_tensors_put(bytes, sizeof bytes, &m);
    assert_true(len > 0);
    assert_int_equal(kerf_tensors_get(&back, bytes, len,
                                      (uint64_t)128 * KERF_PORTS_MAX, NULL),
                     KERF_OK);
    for (size_t i = 0; i < KERF_PORTS_MAX; i++)
        assert_true(
            kerf_shape_equal(&m.tensor[i].shape, &back.tensor[i].shape));
    m.tensor[0].shape.rank = KERF_RANK_MAX + 1;
    assert_int_equal(kerf_tensors_put(bytes, sizeof bytes, &m), 0);
    m.count = KERF_PORTS_MAX + 1;
    assert_int_equal(kerf_tensors_put(bytes, sizeof bytes, &m), 0);
}

static void
tensors_get__empty_tensor__has_no_payload(void **state)
{
    kerf_tensors m = {
        .count = 1,
        .tensor = {{.dtype = KERF_F32, .shape = {.rank = 2, .dims = {0, 4}}}}};
    uint8_t bytes[256];
    size_t len = kerf_tensors_put(bytes, sizeof bytes, &m);

    (void)state;
    assert_int_equal(kerf_tensors_get(&m, bytes, len, 0, NULL), KERF_OK);
    assert_int_equal(m.tensor[0].len, 0);
}

static void
notice_get__text_with_a_zero__is_corrupt(void **state)
{
    kerf_notice m = {.text = "ab"};
    uint8_t bytes[64];
    size_t len = kerf_notice_put(bytes, sizeof bytes, &m);

    (void)state;
    bytes[len - 1] = 0;
    assert_int_equal(kerf_notice_get(&m, bytes, len, NULL), KERF_ECORRUPT);
}

static void
body_hash__pieces__depend_on_order_and_seed(void **state)
{
    uint64_t ab = kerf_body_hash(kerf_body_hash(0, "a", 1), "b", 1);
    uint64_t ba = kerf_body_hash(kerf_body_hash(0, "b", 1), "a", 1);

    (void)state;
    assert_true(ab != ba);
    assert_true(kerf_body_hash(0, "a", 1) == kerf_xxh3("a", 1));
    assert_true(kerf_body_hash(1, "a", 1) != kerf_body_hash(2, "a", 1));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ready__errors_of_the_moment__are_told_from_the_others),
        cmocka_unit_test(head_len__around_a_step__rounds_up),
        cmocka_unit_test(header_get__every_bit_flip__is_an_error),
        cmocka_unit_test(header_get__lengths__are_bounded),
        cmocka_unit_test(header_get__payload_over_the_wires_limit__is_too_big),
        cmocka_unit_test(header_get__reserved_bytes_and_flags__are_ignored),
        cmocka_unit_test(header_get__other_version__names_both),
        cmocka_unit_test(
            header_get__error_frame_of_another_version__can_be_read),
        cmocka_unit_test(header_get__not_kerf__shows_the_first_bytes),
        cmocka_unit_test(header__random_fields__survive_a_round_trip),
        cmocka_unit_test(head_seal__dirty_memory__is_padded_with_zeros),
        cmocka_unit_test(meta_get__every_truncation__is_corrupt),
        cmocka_unit_test(meta_get__bytes_after_the_fields__are_ignored),
        cmocka_unit_test(meta_put__no_room__is_zero),
        cmocka_unit_test(meta_get__every_bit_flip__is_refused_or_within_bounds),
        cmocka_unit_test(hello_get__text_lengths__are_bounded),
        cmocka_unit_test(hello_get__bundle_count_and_versions__are_checked),
        cmocka_unit_test(welcome_get__impossible_values__are_corrupt),
        cmocka_unit_test(offer_and_part_get__lengths__are_bounded),
        cmocka_unit_test(tensors_get__each_field__is_checked),
        cmocka_unit_test(tensors__most_and_largest__fit_into_a_meta),
        cmocka_unit_test(tensors_get__coded__is_f32_and_smaller),
        cmocka_unit_test(tensors_get__empty_tensor__has_no_payload),
        cmocka_unit_test(notice_get__text_with_a_zero__is_corrupt),
        cmocka_unit_test(body_hash__pieces__depend_on_order_and_seed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
