/* The frozen bytes of tests/golden/frames, both ways: what we write is what
 * stands there, and what stands there is read as what was meant. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "golden_hex.h"
#include "proto/frame.h"

#define SENT 1000000001u

typedef struct frame {
    kerf_header h;
    uint8_t bytes[4096];
    size_t meta_len;
    const void *piece[2];
    size_t piece_len[2];
    size_t piece_count;
    bool hashed;
} frame;

static const float tensor_f32[] = {0.0f, 1.0f, -1.0f, 0.5f};
static const uint8_t tensor_u8[] = {1, 2, 3};
static const float scores[] = {0.25f, 0.5f, 0.25f};
static const char manifest[] = "{\"kerf_manifest\":1}";

static void
count_up(uint8_t *out, size_t len, uint8_t from)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(from + i);
}

static size_t
make_hello(frame *f, uint8_t *out, size_t cap)
{
    kerf_hello m = {.version_min = 1,
                    .version_max = 1,
                    .codecs = 1,
                    .payload_max = 64u << 20,
                    .name = "edge-1",
                    .want = "digits",
                    .engine = "openvino 2026.4.1",
                    .bundle_count = 1};

    f->h.sent_ns = SENT;
    count_up(m.bundle[0], KERF_BUNDLE_ID_LEN, 0);
    return kerf_hello_put(out, cap, &m);
}

static size_t
welcome_with(frame *f, uint8_t *out, size_t cap, uint32_t features)
{
    kerf_welcome m = {.version = 1,
                      .codecs = 1,
                      .payload_max = 1u << 30,
                      .window = 8,
                      .heartbeat_ms = 2000,
                      .name = "cloud-1",
                      .features = features};

    f->h.sent_ns = SENT + 1;
    count_up(m.token, KERF_TOKEN_LEN, 0xa0);
    return kerf_welcome_put(out, cap, &m);
}

static size_t
make_welcome(frame *f, uint8_t *out, size_t cap)
{
    return welcome_with(f, out, cap, 0);
}

static size_t
make_attach(frame *f, uint8_t *out, size_t cap)
{
    uint8_t token[KERF_TOKEN_LEN];

    f->h.sent_ns = SENT + 2;
    count_up(token, sizeof token, 0xa0);
    return kerf_token_put(out, cap, token);
}

static size_t
make_attached(frame *f, uint8_t *out, size_t cap)
{
    (void)out;
    (void)cap;
    f->h.sent_ns = SENT + 3;
    f->hashed = false;
    return 0;
}

static size_t
make_error(frame *f, uint8_t *out, size_t cap)
{
    kerf_notice m = {.err = KERF_EVERSION,
                     .text = "this cloud speaks wire version 1"};

    f->h.sent_ns = SENT + 4;
    return kerf_notice_put(out, cap, &m);
}

static size_t
make_ping(frame *f, uint8_t *out, size_t cap)
{
    (void)out;
    (void)cap;
    f->h.sent_ns = SENT + 5;
    f->hashed = false;
    return 0;
}

static size_t
make_pong(frame *f, uint8_t *out, size_t cap)
{
    kerf_pong m = {.echo_ns = SENT + 5, .received_ns = 77};

    f->h.sent_ns = 90;
    return kerf_pong_put(out, cap, &m);
}

static size_t
make_offer(frame *f, uint8_t *out, size_t cap)
{
    kerf_offer m = {.run = true, .manifest_len = sizeof manifest - 1};

    f->h.sent_ns = SENT + 6;
    f->piece[0] = manifest;
    f->piece_len[0] = sizeof manifest - 1;
    f->piece_count = 1;
    count_up(m.bundle, sizeof m.bundle, 0);
    return kerf_offer_put(out, cap, &m);
}

static size_t
make_fetch(frame *f, uint8_t *out, size_t cap)
{
    kerf_range m = {.part = 1};

    f->h.sent_ns = SENT + 7;
    count_up(m.bundle, sizeof m.bundle, 0);
    return kerf_range_put(out, cap, &m);
}

static size_t
make_fetch_range(frame *f, uint8_t *out, size_t cap)
{
    kerf_range m = {.part = 1, .offset = 262144, .len = 70000};

    f->h.sent_ns = SENT + 7;
    count_up(m.bundle, sizeof m.bundle, 0);
    return kerf_range_put(out, cap, &m);
}

static size_t
make_part(frame *f, uint8_t *out, size_t cap)
{
    kerf_range m = {.part = 1, .offset = 262144, .len = 5};

    f->h.sent_ns = SENT + 8;
    f->piece[0] = "hello";
    f->piece_len[0] = 5;
    f->piece_count = 1;
    count_up(m.bundle, sizeof m.bundle, 0);
    return kerf_range_put(out, cap, &m);
}

/* 100 bytes from offset 8192, packed; what a block is, is not looked at. */
static size_t
make_part_kwz(frame *f, uint8_t *out, size_t cap)
{
    static const uint8_t block[] = {0x28, 0xb5, 0x2f, 0xfd};
    kerf_range m = {.part = 2,
                    .offset = 8192,
                    .len = sizeof block,
                    .codec = KERF_PART_KWZ,
                    .kind = 2,
                    .plain = 100};

    f->h.sent_ns = SENT + 14;
    f->piece[0] = block;
    f->piece_len[0] = sizeof block;
    f->piece_count = 1;
    count_up(m.bundle, KERF_BUNDLE_ID_LEN, 0);
    return kerf_range_put(out, cap, &m);
}

/* As an edge says it that takes parts packed. */
static size_t
make_hello_parts(frame *f, uint8_t *out, size_t cap)
{
    kerf_hello m = {.version_min = 1,
                    .version_max = 1,
                    .codecs = 1,
                    .payload_max = 64u << 20,
                    .name = "edge-1",
                    .part_codecs = 3};

    f->h.sent_ns = SENT;
    return kerf_hello_put(out, cap, &m);
}

static size_t
make_ready(frame *f, uint8_t *out, size_t cap)
{
    kerf_ready m = {.err = KERF_EENGINE, .reason = "probe 0 differs"};

    f->h.sent_ns = SENT + 9;
    count_up(m.bundle, sizeof m.bundle, 0);
    return kerf_ready_put(out, cap, &m);
}

static size_t
make_tensor(frame *f, uint8_t *out, size_t cap)
{
    kerf_tensors m = {
        .deadline_ms = 500,
        .count = 2,
        .tensor = {
            {.dtype = KERF_F32,
             .shape = {.rank = 4, .dims = {1, 2, 2, 1}},
             .len = sizeof tensor_f32},
            {.dtype = KERF_U8, .shape = {.rank = 1, .dims = {3}}, .len = 3},
        }};

    f->h.id = 7;
    f->h.sent_ns = SENT + 10;
    f->piece[0] = tensor_f32;
    f->piece_len[0] = sizeof tensor_f32;
    f->piece[1] = tensor_u8;
    f->piece_len[1] = sizeof tensor_u8;
    f->piece_count = 2;
    count_up(m.bundle, sizeof m.bundle, 0);
    return kerf_tensors_put(out, cap, &m);
}

/* Fifteen times -2.5, by codec q8: tests/golden/blobs/one.hex. */
static const uint8_t blob[] = {0x04, 0x00, 0x00, 0x00, 0x0c, 0x7a, 0xe1, 0x99,
                               0x0f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x20, 0xc0};

static size_t
make_tensor_q8(frame *f, uint8_t *out, size_t cap)
{
    kerf_tensors m = {.count = 1,
                      .tensor = {{.dtype = KERF_F32,
                                  .codec = KERF_CODEC_Q8,
                                  .shape = {.rank = 2, .dims = {3, 5}},
                                  .len = sizeof blob}}};

    f->h.id = 8;
    f->h.sent_ns = SENT + 14;
    f->piece[0] = blob;
    f->piece_len[0] = sizeof blob;
    f->piece_count = 1;
    count_up(m.bundle, sizeof m.bundle, 0);
    return kerf_tensors_put(out, cap, &m);
}

static size_t
put_hello_asking(frame *f, uint8_t *out, size_t cap, uint32_t asks)
{
    kerf_hello m = {.version_min = 1,
                    .version_max = 1,
                    .codecs = 1,
                    .payload_max = 64u << 20,
                    .name = "edge-1",
                    .part_codecs = 1u << KERF_PART_RAW | 1u << KERF_PART_KWZ,
                    .asks = asks};

    f->h.sent_ns = SENT;
    return kerf_hello_put(out, cap, &m);
}

/* An edge that asks whether the cloud is well. */
static size_t
make_hello_probe(frame *f, uint8_t *out, size_t cap)
{
    return put_hello_asking(f, out, cap, KERF_ASKS_PROBE);
}

/* An edge whose session ended, and which went on. */
static size_t
make_hello_again(frame *f, uint8_t *out, size_t cap)
{
    return put_hello_asking(f, out, cap, KERF_ASKS_AGAIN);
}

static size_t
make_loading(frame *f, uint8_t *out, size_t cap)
{
    uint8_t bundle[KERF_BUNDLE_ID_LEN];

    f->h.sent_ns = SENT + 9;
    count_up(bundle, sizeof bundle, 0);
    return kerf_loading_put(out, cap, bundle);
}

/* As a cloud says it that takes BLOCK. */
static size_t
make_welcome_blocks(frame *f, uint8_t *out, size_t cap)
{
    return welcome_with(f, out, cap, KERF_FEATURE_BLOCKS);
}

/* As a cloud says it whose FETCH may say how much. */
static size_t
make_welcome_ranges(frame *f, uint8_t *out, size_t cap)
{
    return welcome_with(f, out, cap, KERF_FEATURE_RANGES);
}

/* 65,551 values follow in blocks, and three come with it. */
static size_t
make_tensor_blocks(frame *f, uint8_t *out, size_t cap)
{
    kerf_tensors m = {
        .count = 2,
        .tensor = {
            {.dtype = KERF_F32,
             .codec = KERF_CODEC_Q8,
             .shape = {.rank = 2, .dims = {1, 65551}}},
            {.dtype = KERF_U8, .shape = {.rank = 1, .dims = {3}}, .len = 3},
        }};

    f->h.id = 9;
    f->h.sent_ns = SENT + 15;
    f->piece[1] = tensor_u8;
    f->piece_len[1] = sizeof tensor_u8;
    f->piece_count = 2;
    count_up(m.bundle, sizeof m.bundle, 0);
    return kerf_tensors_put(out, cap, &m);
}

/* The last of these blocks; the first has 65,536 values. */
static size_t
make_block(frame *f, uint8_t *out, size_t cap)
{
    kerf_tensor_block m = {.codec = KERF_CODEC_Q8,
                           .first = 65536,
                           .count = 15,
                           .len = sizeof blob};

    f->h.id = 9;
    f->h.sent_ns = SENT + 16;
    f->piece[0] = blob;
    f->piece_len[0] = sizeof blob;
    f->piece_count = 1;
    return kerf_tensor_block_put(out, cap, &m);
}

static size_t
put_result(frame *f, uint8_t *out, size_t cap, bool late)
{
    kerf_tensors m = {.echo_ns = SENT + 10,
                      .received_ns = 5000,
                      .queue_ns = 1000,
                      .tail_ns = 150000,
                      .late = late,
                      .count = 1,
                      .tensor = {{.dtype = KERF_F32,
                                  .shape = {.rank = 2, .dims = {1, 3}},
                                  .len = sizeof scores}}};

    f->h.id = 7;
    f->h.sent_ns = 160000;
    f->piece[0] = scores;
    f->piece_len[0] = sizeof scores;
    f->piece_count = 1;
    count_up(m.bundle, sizeof m.bundle, 0);
    return kerf_tensors_put(out, cap, &m);
}

static size_t
make_result(frame *f, uint8_t *out, size_t cap)
{
    return put_result(f, out, cap, false);
}

static size_t
make_result_late(frame *f, uint8_t *out, size_t cap)
{
    return put_result(f, out, cap, true);
}

static size_t
make_busy(frame *f, uint8_t *out, size_t cap)
{
    kerf_notice m = {.err = KERF_EBUSY, .retry_ms = 20};

    f->h.id = 7;
    f->h.sent_ns = SENT + 11;
    return kerf_notice_put(out, cap, &m);
}

static size_t
make_failed(frame *f, uint8_t *out, size_t cap)
{
    kerf_notice m = {.err = KERF_EDEADLINE,
                     .text = "deadline of 500 ms passed"};

    f->h.id = 7;
    f->h.sent_ns = SENT + 12;
    return kerf_notice_put(out, cap, &m);
}

static size_t
make_bye(frame *f, uint8_t *out, size_t cap)
{
    kerf_notice m = {.retry_ms = 1000, .text = "stopping"};

    f->h.sent_ns = SENT + 13;
    return kerf_notice_put(out, cap, &m);
}

static const struct sample {
    const char *name;
    kerf_frame_type type;
    size_t (*make)(frame *f, uint8_t *out, size_t cap);
} samples[] = {
    {"hello", KERF_FRAME_HELLO, make_hello},
    {"hello_parts", KERF_FRAME_HELLO, make_hello_parts},
    {"hello_probe", KERF_FRAME_HELLO, make_hello_probe},
    {"welcome", KERF_FRAME_WELCOME, make_welcome},
    {"welcome_blocks", KERF_FRAME_WELCOME, make_welcome_blocks},
    {"welcome_ranges", KERF_FRAME_WELCOME, make_welcome_ranges},
    {"attach", KERF_FRAME_ATTACH, make_attach},
    {"attached", KERF_FRAME_ATTACHED, make_attached},
    {"error", KERF_FRAME_ERROR, make_error},
    {"ping", KERF_FRAME_PING, make_ping},
    {"pong", KERF_FRAME_PONG, make_pong},
    {"offer", KERF_FRAME_OFFER, make_offer},
    {"fetch", KERF_FRAME_FETCH, make_fetch},
    {"fetch_range", KERF_FRAME_FETCH, make_fetch_range},
    {"part", KERF_FRAME_PART, make_part},
    {"part_kwz", KERF_FRAME_PART, make_part_kwz},
    {"ready", KERF_FRAME_READY, make_ready},
    {"tensor", KERF_FRAME_TENSOR, make_tensor},
    {"tensor_q8", KERF_FRAME_TENSOR, make_tensor_q8},
    {"tensor_blocks", KERF_FRAME_TENSOR, make_tensor_blocks},
    {"block", KERF_FRAME_BLOCK, make_block},
    {"loading", KERF_FRAME_LOADING, make_loading},
    {"hello_again", KERF_FRAME_HELLO, make_hello_again},
    {"result", KERF_FRAME_RESULT, make_result},
    {"result_late", KERF_FRAME_RESULT, make_result_late},
    {"busy", KERF_FRAME_BUSY, make_busy},
    {"failed", KERF_FRAME_FAILED, make_failed},
    {"bye", KERF_FRAME_BYE, make_bye},
};

enum { SAMPLES = sizeof samples / sizeof *samples };

/* The whole frame as it would travel. Returns its length. */
static size_t
build(frame *f, const struct sample *s)
{
    size_t at;

    *f = (frame){.hashed = true};
    f->h.type = (uint8_t)s->type;
    f->meta_len = s->make(f, f->bytes + KERF_HEADER_LEN,
                          sizeof f->bytes - KERF_HEADER_LEN);
    if (f->hashed) {
        f->h.flags = KERF_FLAG_BODY_HASH;
        f->h.body_hash =
            kerf_body_hash(0, f->bytes + KERF_HEADER_LEN, f->meta_len);
    }
    for (size_t i = 0; i < f->piece_count; i++) {
        if (f->piece_len[i] == 0)
            continue;
        f->h.body_hash =
            kerf_body_hash(f->h.body_hash, f->piece[i], f->piece_len[i]);
        f->h.payload_len += kerf_align_up(f->piece_len[i], KERF_PIECE_ALIGN);
    }
    at = kerf_head_seal(f->bytes, &f->h, f->meta_len);
    assert_int_equal(at, kerf_head_len(f->meta_len));
    for (size_t i = 0; i < f->piece_count; i++) {
        if (f->piece_len[i] > 0)
            memcpy(f->bytes + at, f->piece[i], f->piece_len[i]);
        at += kerf_align_up(f->piece_len[i], KERF_PIECE_ALIGN);
    }
    return at;
}

static size_t
read_golden(uint8_t *out, size_t cap, const char *name)
{
    char path[64];

    (void)snprintf(path, sizeof path, "frames/%s", name);
    return read_hex(out, cap, path);
}

static void
frame_put__every_type__writes_the_golden_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLES; i++) {
        uint8_t golden[4096];
        frame f;
        size_t len = build(&f, &samples[i]);

        print_message("%s\n", samples[i].name);
        assert_int_equal(read_golden(golden, sizeof golden, samples[i].name),
                         len);
        assert_memory_equal(f.bytes, golden, len);
    }
}

/* Reads the meta and writes it again; equal bytes mean that each field came
 * through. Returns the length. */
static size_t
write_again(uint8_t *out, size_t cap, const kerf_header *h, const uint8_t *meta,
            kerf_detail *why)
{
    size_t len = h->meta_len;
    uint8_t token[KERF_TOKEN_LEN];
    kerf_welcome welcome;
    kerf_tensors tensors;
    kerf_notice notice;
    kerf_hello hello;
    kerf_offer offer;
    kerf_ready ready;
    kerf_tensor_block block;
    kerf_range part;
    kerf_pong pong;

    switch ((kerf_frame_type)h->type) {
    case KERF_FRAME_HELLO:
        assert_int_equal(kerf_hello_get(&hello, meta, len, why), KERF_OK);
        return kerf_hello_put(out, cap, &hello);
    case KERF_FRAME_WELCOME:
        assert_int_equal(kerf_welcome_get(&welcome, meta, len, why), KERF_OK);
        return kerf_welcome_put(out, cap, &welcome);
    case KERF_FRAME_ATTACH:
        assert_int_equal(kerf_token_get(token, meta, len, why), KERF_OK);
        return kerf_token_put(out, cap, token);
    case KERF_FRAME_PONG:
        assert_int_equal(kerf_pong_get(&pong, meta, len, why), KERF_OK);
        return kerf_pong_put(out, cap, &pong);
    case KERF_FRAME_OFFER:
        assert_int_equal(kerf_offer_get(&offer, meta, len, why), KERF_OK);
        return kerf_offer_put(out, cap, &offer);
    case KERF_FRAME_FETCH:
    case KERF_FRAME_PART:
        assert_int_equal(kerf_range_get(&part, meta, len, why), KERF_OK);
        return kerf_range_put(out, cap, &part);
    case KERF_FRAME_READY:
        assert_int_equal(kerf_ready_get(&ready, meta, len, why), KERF_OK);
        return kerf_ready_put(out, cap, &ready);
    case KERF_FRAME_TENSOR:
    case KERF_FRAME_RESULT:
        assert_int_equal(
            kerf_tensors_get(&tensors, meta, len, h->payload_len, why),
            KERF_OK);
        return kerf_tensors_put(out, cap, &tensors);
    case KERF_FRAME_LOADING:
        assert_int_equal(kerf_loading_get(ready.bundle, meta, len, why),
                         KERF_OK);
        return kerf_loading_put(out, cap, ready.bundle);
    case KERF_FRAME_BLOCK:
        assert_int_equal(
            kerf_tensor_block_get(&block, meta, len, h->payload_len, why),
            KERF_OK);
        return kerf_tensor_block_put(out, cap, &block);
    case KERF_FRAME_ERROR:
    case KERF_FRAME_BUSY:
    case KERF_FRAME_FAILED:
    case KERF_FRAME_BYE:
        assert_int_equal(kerf_notice_get(&notice, meta, len, why), KERF_OK);
        return kerf_notice_put(out, cap, &notice);
    case KERF_FRAME_ATTACHED:
    case KERF_FRAME_PING:
        break;
    }
    return 0;
}

static void
frame_get__golden_bytes__reads_every_field(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLES; i++) {
        uint8_t golden[4096];
        uint8_t again[1024];
        kerf_detail why = {{0}};
        kerf_header h;
        frame f;

        (void)build(&f, &samples[i]);
        (void)read_golden(golden, sizeof golden, samples[i].name);
        assert_int_equal(kerf_header_get(&h, golden, KERF_PAYLOAD_MAX, &why),
                         KERF_OK);
        assert_int_equal(h.version, 1);
        assert_int_equal(h.type, samples[i].type);
        assert_int_equal(h.flags, f.h.flags);
        assert_int_equal(h.id, f.h.id);
        assert_int_equal(h.meta_len, f.meta_len);
        assert_int_equal(h.payload_len, f.h.payload_len);
        assert_int_equal(h.sent_ns, f.h.sent_ns);
        assert_int_equal(h.body_hash, f.h.body_hash);
        assert_int_equal(write_again(again, sizeof again, &h,
                                     golden + KERF_HEADER_LEN, &why),
                         h.meta_len);
        assert_memory_equal(again, golden + KERF_HEADER_LEN, h.meta_len);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_put__every_type__writes_the_golden_bytes),
        cmocka_unit_test(frame_get__golden_bytes__reads_every_field),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
