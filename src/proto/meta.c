#include "base/bytes.h"
#include "proto/frame.h"

#include <string.h>

static size_t
written(const kerf_wr *w, const uint8_t *start)
{
    return w->bad ? 0 : (size_t)(w->at - start);
}

/* The error of a meta that ended too early or holds an impossible string. */
static kerf_err
check_end(const kerf_rd *r, const char *what, kerf_detail *why)
{
    if (r->bad)
        return kerf_fail(why, KERF_ECORRUPT,
                         "%s: cut short, or a text in it is too long", what);
    return KERF_OK;
}

static void
read_copy(kerf_rd *r, uint8_t *out, size_t len)
{
    const uint8_t *at = kerf_rd_bytes(r, len);

    if (at != NULL)
        memcpy(out, at, len);
    else
        memset(out, 0, len);
}

size_t
kerf_hello_put(uint8_t *out, size_t cap, const kerf_hello *m)
{
    kerf_wr w = {.at = out, .left = cap};

    if (m->bundle_count > KERF_HELLO_BUNDLES)
        return 0;
    kerf_wr_u16(&w, m->version_min);
    kerf_wr_u16(&w, m->version_max);
    kerf_wr_u32(&w, m->codecs);
    kerf_wr_u64(&w, m->payload_max);
    kerf_wr_str(&w, m->name);
    kerf_wr_str(&w, m->want);
    kerf_wr_str(&w, m->engine);
    kerf_wr_u16(&w, m->bundle_count);
    for (size_t i = 0; i < m->bundle_count; i++)
        kerf_wr_bytes(&w, m->bundle[i], KERF_BUNDLE_ID_LEN);
    if (m->part_codecs != 0 || m->asks != 0)
        kerf_wr_u32(&w, m->part_codecs);
    if (m->asks != 0)
        kerf_wr_u32(&w, m->asks);
    return written(&w, out);
}

kerf_err
kerf_hello_get(kerf_hello *m, const uint8_t *in, size_t len, kerf_detail *why)
{
    kerf_rd r = {.at = in, .left = len};

    m->version_min = kerf_rd_u16(&r);
    m->version_max = kerf_rd_u16(&r);
    m->codecs = kerf_rd_u32(&r);
    m->payload_max = kerf_rd_u64(&r);
    kerf_rd_str(&r, m->name, sizeof m->name);
    kerf_rd_str(&r, m->want, sizeof m->want);
    kerf_rd_str(&r, m->engine, sizeof m->engine);
    m->bundle_count = kerf_rd_u16(&r);
    if (m->bundle_count > KERF_HELLO_BUNDLES)
        return kerf_fail(why, KERF_ECORRUPT,
                         "HELLO: lists %u bundles, the limit is %d",
                         m->bundle_count, KERF_HELLO_BUNDLES);
    for (size_t i = 0; i < m->bundle_count; i++)
        read_copy(&r, m->bundle[i], KERF_BUNDLE_ID_LEN);
    m->part_codecs = !r.bad && r.left >= 4 ? kerf_rd_u32(&r) : 0;
    m->asks = !r.bad && r.left >= 4 ? kerf_rd_u32(&r) : 0;
    if (!r.bad && m->version_min > m->version_max)
        return kerf_fail(why, KERF_ECORRUPT, "HELLO: versions %u to %u",
                         m->version_min, m->version_max);
    return check_end(&r, "HELLO", why);
}

size_t
kerf_welcome_put(uint8_t *out, size_t cap, const kerf_welcome *m)
{
    kerf_wr w = {.at = out, .left = cap};

    kerf_wr_u16(&w, m->version);
    kerf_wr_u32(&w, m->codecs);
    kerf_wr_u64(&w, m->payload_max);
    kerf_wr_bytes(&w, m->token, KERF_TOKEN_LEN);
    kerf_wr_u32(&w, m->window);
    kerf_wr_u32(&w, m->heartbeat_ms);
    kerf_wr_str(&w, m->name);
    if (m->features != 0)
        kerf_wr_u32(&w, m->features);
    return written(&w, out);
}

kerf_err
kerf_welcome_get(kerf_welcome *m, const uint8_t *in, size_t len,
                 kerf_detail *why)
{
    kerf_rd r = {.at = in, .left = len};
    kerf_err err;

    m->version = kerf_rd_u16(&r);
    m->codecs = kerf_rd_u32(&r);
    m->payload_max = kerf_rd_u64(&r);
    read_copy(&r, m->token, KERF_TOKEN_LEN);
    m->window = kerf_rd_u32(&r);
    m->heartbeat_ms = kerf_rd_u32(&r);
    kerf_rd_str(&r, m->name, sizeof m->name);
    m->features = !r.bad && r.left >= 4 ? kerf_rd_u32(&r) : 0;
    err = check_end(&r, "WELCOME", why);
    if (err != KERF_OK)
        return err;
    if (m->window < 1)
        return kerf_fail(why, KERF_ECORRUPT, "WELCOME: a window of 0");
    if (m->heartbeat_ms < KERF_HEARTBEAT_MIN_MS)
        return kerf_fail(why, KERF_ECORRUPT,
                         "WELCOME: a heartbeat of %lu ms, the least is %d",
                         (unsigned long)m->heartbeat_ms, KERF_HEARTBEAT_MIN_MS);
    return KERF_OK;
}

size_t
kerf_token_put(uint8_t *out, size_t cap, const uint8_t token[KERF_TOKEN_LEN])
{
    kerf_wr w = {.at = out, .left = cap};

    kerf_wr_bytes(&w, token, KERF_TOKEN_LEN);
    return written(&w, out);
}

kerf_err
kerf_token_get(uint8_t token[KERF_TOKEN_LEN], const uint8_t *in, size_t len,
               kerf_detail *why)
{
    kerf_rd r = {.at = in, .left = len};

    read_copy(&r, token, KERF_TOKEN_LEN);
    return check_end(&r, "ATTACH", why);
}

size_t
kerf_offer_put(uint8_t *out, size_t cap, const kerf_offer *m)
{
    kerf_wr w = {.at = out, .left = cap};

    kerf_wr_bytes(&w, m->bundle, KERF_BUNDLE_ID_LEN);
    kerf_wr_u8(&w, m->run ? 1 : 0);
    kerf_wr_u32(&w, m->manifest_len);
    return written(&w, out);
}

kerf_err
kerf_offer_get(kerf_offer *m, const uint8_t *in, size_t len, kerf_detail *why)
{
    kerf_rd r = {.at = in, .left = len};
    uint8_t run;
    kerf_err err;

    read_copy(&r, m->bundle, KERF_BUNDLE_ID_LEN);
    run = kerf_rd_u8(&r);
    m->run = run == 1;
    m->manifest_len = kerf_rd_u32(&r);
    err = check_end(&r, "OFFER", why);
    if (err != KERF_OK)
        return err;
    if (run > 1)
        return kerf_fail(why, KERF_ECORRUPT, "OFFER: run is %u", run);
    if (m->manifest_len == 0 || m->manifest_len > KERF_MANIFEST_MAX)
        return kerf_fail(why, KERF_ECORRUPT,
                         "OFFER: manifest of %lu bytes, the limit is %zu",
                         (unsigned long)m->manifest_len, KERF_MANIFEST_MAX);
    return KERF_OK;
}

size_t
kerf_range_put(uint8_t *out, size_t cap, const kerf_range *m)
{
    kerf_wr w = {.at = out, .left = cap};

    kerf_wr_bytes(&w, m->bundle, KERF_BUNDLE_ID_LEN);
    kerf_wr_u16(&w, m->part);
    kerf_wr_u64(&w, m->offset);
    kerf_wr_u32(&w, m->len);
    if (m->codec != KERF_PART_RAW) {
        kerf_wr_u8(&w, m->codec);
        kerf_wr_u8(&w, m->kind);
        kerf_wr_u32(&w, m->plain);
    }
    return written(&w, out);
}

kerf_err
kerf_range_get(kerf_range *m, const uint8_t *in, size_t len, kerf_detail *why)
{
    kerf_rd r = {.at = in, .left = len};
    kerf_err err;

    read_copy(&r, m->bundle, KERF_BUNDLE_ID_LEN);
    m->part = kerf_rd_u16(&r);
    m->offset = kerf_rd_u64(&r);
    m->len = kerf_rd_u32(&r);
    m->codec = KERF_PART_RAW;
    m->kind = 0;
    m->plain = 0;
    if (!r.bad && r.left > 0)
        m->codec = kerf_rd_u8(&r);
    if (m->codec != KERF_PART_RAW) {
        m->kind = kerf_rd_u8(&r);
        m->plain = kerf_rd_u32(&r);
    }
    err = check_end(&r, "part", why);
    if (err != KERF_OK)
        return err;
    if (m->codec >= KERF_PART_CODECS ||
        (m->codec == KERF_PART_KWZ &&
         (m->len >= m->plain || m->plain > KERF_PART_BLOCK)))
        return kerf_fail(
            why, KERF_ECORRUPT, "part %u: %lu bytes for %lu by codec %u",
            m->part, (unsigned long)m->len, (unsigned long)m->plain, m->codec);
    if (m->offset > KERF_MODEL_BYTES_MAX ||
        m->len > KERF_MODEL_BYTES_MAX - m->offset) {
        return kerf_fail(why, KERF_ECORRUPT,
                         "part %u: %lu bytes at %llu, the limit is %zu",
                         m->part, (unsigned long)m->len,
                         (unsigned long long)m->offset, KERF_MODEL_BYTES_MAX);
    }
    return KERF_OK;
}

size_t
kerf_ready_put(uint8_t *out, size_t cap, const kerf_ready *m)
{
    kerf_wr w = {.at = out, .left = cap};

    kerf_wr_bytes(&w, m->bundle, KERF_BUNDLE_ID_LEN);
    kerf_wr_u16(&w, m->err);
    kerf_wr_str(&w, m->reason);
    return written(&w, out);
}

kerf_err
kerf_ready_get(kerf_ready *m, const uint8_t *in, size_t len, kerf_detail *why)
{
    kerf_rd r = {.at = in, .left = len};

    read_copy(&r, m->bundle, KERF_BUNDLE_ID_LEN);
    m->err = kerf_rd_u16(&r);
    kerf_rd_str(&r, m->reason, sizeof m->reason);
    return check_end(&r, "READY", why);
}

size_t
kerf_loading_put(uint8_t *out, size_t cap,
                 const uint8_t bundle[KERF_BUNDLE_ID_LEN])
{
    kerf_wr w = {.at = out, .left = cap};

    kerf_wr_bytes(&w, bundle, KERF_BUNDLE_ID_LEN);
    return written(&w, out);
}

kerf_err
kerf_loading_get(uint8_t bundle[KERF_BUNDLE_ID_LEN], const uint8_t *in,
                 size_t len, kerf_detail *why)
{
    kerf_rd r = {.at = in, .left = len};

    read_copy(&r, bundle, KERF_BUNDLE_ID_LEN);
    return check_end(&r, "LOADING", why);
}

bool
kerf_ready_is_passing(uint16_t err)
{
    switch ((kerf_err)err) {
    case KERF_ENOMEM:
    case KERF_EIO:
    case KERF_EBUSY:
    case KERF_EDEADLINE:
    case KERF_ECLOSED:
    case KERF_ENOSPC:
    case KERF_EINTR:
    case KERF_EAGAIN:
        return true;
    default:
        return false;
    }
}

static void
write_desc(kerf_wr *w, const kerf_tensor_desc *d)
{
    kerf_wr_u8(w, (uint8_t)d->dtype);
    kerf_wr_u8(w, d->codec);
    kerf_wr_u16(w, (uint16_t)d->shape.rank);
    for (uint32_t i = 0; i < d->shape.rank; i++)
        kerf_wr_u64(w, (uint64_t)d->shape.dims[i]);
    kerf_wr_u64(w, d->len);
}

#define TENSORS_LATE 1u /* of the flags behind the tensors */

size_t
kerf_tensors_put(uint8_t *out, size_t cap, const kerf_tensors *m)
{
    kerf_wr w = {.at = out, .left = cap};

    if (m->count < 1 || m->count > KERF_PORTS_MAX)
        return 0;
    kerf_wr_bytes(&w, m->bundle, KERF_BUNDLE_ID_LEN);
    kerf_wr_u32(&w, m->deadline_ms);
    kerf_wr_u64(&w, m->echo_ns);
    kerf_wr_u64(&w, m->received_ns);
    kerf_wr_u64(&w, m->queue_ns);
    kerf_wr_u64(&w, m->decode_ns);
    kerf_wr_u64(&w, m->tail_ns);
    kerf_wr_u16(&w, m->count);
    for (size_t i = 0; i < m->count; i++) {
        if (m->tensor[i].shape.rank > KERF_RANK_MAX)
            return 0;
        write_desc(&w, &m->tensor[i]);
    }
    if (m->late)
        kerf_wr_u32(&w, TENSORS_LATE);
    return written(&w, out);
}

static kerf_err
read_desc(kerf_rd *r, kerf_tensor_desc *d, size_t index, kerf_detail *why)
{
    uint8_t dtype = kerf_rd_u8(r);
    uint8_t codec = kerf_rd_u8(r);
    uint16_t rank = kerf_rd_u16(r);
    size_t bytes = 0;

    if (dtype >= KERF_DTYPE_COUNT)
        return kerf_fail(why, KERF_ECORRUPT, "tensor %zu: unknown dtype %u",
                         index, dtype);
    if (codec >= KERF_CODEC_COUNT ||
        (codec != KERF_CODEC_RAW && dtype != KERF_F32))
        return kerf_fail(why, KERF_ECORRUPT,
                         "tensor %zu: unknown codec %u for dtype %u", index,
                         codec, dtype);
    if (rank > KERF_RANK_MAX)
        return kerf_fail(why, KERF_ECORRUPT,
                         "tensor %zu: rank %u, the limit is %d", index, rank,
                         KERF_RANK_MAX);
    *d = (kerf_tensor_desc){
        .dtype = (kerf_dtype)dtype, .codec = codec, .shape.rank = rank};
    for (size_t i = 0; i < rank; i++)
        d->shape.dims[i] = (int64_t)kerf_rd_u64(r);
    d->len = kerf_rd_u64(r);
    if (r->bad)
        return check_end(r, "tensor meta", why);
    if (kerf_shape_bytes(&d->shape, d->dtype, &bytes) != KERF_OK)
        return kerf_fail(why, KERF_ECORRUPT,
                         "tensor %zu: impossible or too large shape", index);
    if (codec != KERF_CODEC_RAW && d->len >= bytes)
        return kerf_fail(why, KERF_ECORRUPT,
                         "tensor %zu: coded in %llu bytes, raw it has %zu",
                         index, (unsigned long long)d->len, bytes);
    if (codec == KERF_CODEC_RAW && d->len != bytes)
        return kerf_fail(why, KERF_ECORRUPT,
                         "tensor %zu: %llu bytes, its shape has %zu", index,
                         (unsigned long long)d->len, bytes);
    return KERF_OK;
}

kerf_err
kerf_tensors_get(kerf_tensors *m, const uint8_t *in, size_t len,
                 uint64_t payload_len, kerf_detail *why)
{
    kerf_rd r = {.at = in, .left = len};
    uint64_t sum = 0;
    kerf_err err;

    read_copy(&r, m->bundle, KERF_BUNDLE_ID_LEN);
    m->deadline_ms = kerf_rd_u32(&r);
    m->echo_ns = kerf_rd_u64(&r);
    m->received_ns = kerf_rd_u64(&r);
    m->queue_ns = kerf_rd_u64(&r);
    m->decode_ns = kerf_rd_u64(&r);
    m->tail_ns = kerf_rd_u64(&r);
    m->count = kerf_rd_u16(&r);
    if (r.bad)
        return check_end(&r, "tensor meta", why);
    if (m->count < 1 || m->count > KERF_PORTS_MAX)
        return kerf_fail(why, KERF_ECORRUPT,
                         "tensor meta: %u tensors, the limit is %d", m->count,
                         KERF_PORTS_MAX);
    for (size_t i = 0; i < m->count; i++) {
        err = read_desc(&r, &m->tensor[i], i, why);
        if (err != KERF_OK)
            return err;
        sum += kerf_align_up((size_t)m->tensor[i].len, KERF_PIECE_ALIGN);
    }
    m->late = r.left >= 4 && (kerf_rd_u32(&r) & TENSORS_LATE) != 0;
    if (sum != payload_len) {
        return kerf_fail(why, KERF_ECORRUPT,
                         "tensors of %llu padded bytes in a payload of %llu",
                         (unsigned long long)sum,
                         (unsigned long long)payload_len);
    }
    return KERF_OK;
}

size_t
kerf_tensor_block_put(uint8_t *out, size_t cap, const kerf_tensor_block *m)
{
    kerf_wr w = {.at = out, .left = cap};

    kerf_wr_u16(&w, m->tensor);
    kerf_wr_u8(&w, m->codec);
    kerf_wr_u8(&w, 0);
    kerf_wr_u32(&w, m->first);
    kerf_wr_u32(&w, m->count);
    kerf_wr_u32(&w, m->len);
    return written(&w, out);
}

kerf_err
kerf_tensor_block_get(kerf_tensor_block *m, const uint8_t *in, size_t len,
                      uint64_t payload_len, kerf_detail *why)
{
    kerf_rd r = {.at = in, .left = len};
    uint64_t bytes;
    bool right;
    kerf_err err;

    m->tensor = kerf_rd_u16(&r);
    m->codec = kerf_rd_u8(&r);
    (void)kerf_rd_u8(&r);
    m->first = kerf_rd_u32(&r);
    m->count = kerf_rd_u32(&r);
    m->len = kerf_rd_u32(&r);
    err = check_end(&r, "BLOCK", why);
    if (err != KERF_OK)
        return err;
    bytes = (uint64_t)m->count * sizeof(float);
    right = m->codec == KERF_CODEC_RAW ? m->len == bytes
                                       : m->len > 0 && m->len < bytes;
    if (m->count == 0 || m->codec >= KERF_CODEC_COUNT || !right)
        return kerf_fail(
            why, KERF_ECORRUPT, "BLOCK: %lu values in %lu bytes by codec %u",
            (unsigned long)m->count, (unsigned long)m->len, m->codec);
    if (kerf_align_up(m->len, KERF_PIECE_ALIGN) != payload_len)
        return kerf_fail(
            why, KERF_ECORRUPT, "BLOCK: %lu bytes in a payload of %llu",
            (unsigned long)m->len, (unsigned long long)payload_len);
    return KERF_OK;
}

size_t
kerf_notice_put(uint8_t *out, size_t cap, const kerf_notice *m)
{
    kerf_wr w = {.at = out, .left = cap};

    kerf_wr_u16(&w, m->err);
    kerf_wr_u32(&w, m->retry_ms);
    kerf_wr_str(&w, m->text);
    return written(&w, out);
}

kerf_err
kerf_notice_get(kerf_notice *m, const uint8_t *in, size_t len, kerf_detail *why)
{
    kerf_rd r = {.at = in, .left = len};

    m->err = kerf_rd_u16(&r);
    m->retry_ms = kerf_rd_u32(&r);
    kerf_rd_str(&r, m->text, sizeof m->text);
    return check_end(&r, "notice", why);
}

size_t
kerf_pong_put(uint8_t *out, size_t cap, const kerf_pong *m)
{
    kerf_wr w = {.at = out, .left = cap};

    kerf_wr_u64(&w, m->echo_ns);
    kerf_wr_u64(&w, m->received_ns);
    return written(&w, out);
}

kerf_err
kerf_pong_get(kerf_pong *m, const uint8_t *in, size_t len, kerf_detail *why)
{
    kerf_rd r = {.at = in, .left = len};

    m->echo_ns = kerf_rd_u64(&r);
    m->received_ns = kerf_rd_u64(&r);
    return check_end(&r, "PONG", why);
}
