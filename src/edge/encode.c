#include "edge/encode.h"

#include "base/clock.h"
#include "base/log.h"
#include "edge/edge.h"
#include "kerf/codec.h"

#include <stdlib.h>
#include <string.h>

#define PLAIN_LEAST ((size_t)2 << 20) /* docs/BENCHMARKS.md */

/* What may be used now. */
struct way {
    uint32_t codecs;
    uint64_t rate; /* of the link, when that counts */
    bool blocks;
    bool plain; /* blocks also of what is not coded */
};

static struct way
look_at_link(kerf_edge *edge, const kerf_flight *f)
{
    struct way way = {0};

    (void)pthread_mutex_lock(&edge->lock);
    way.codecs = edge->codecs;
    way.blocks = edge->blocks && edge->block_values > 0;
    way.plain = way.blocks && edge->tensors != NULL && edge->tls == NULL &&
                (edge->codecs >> KERF_CODEC_EXACT & 1) != 0 &&
                kerf_link_is_alone(edge, f);
    if (edge->opts.codec_auto && edge->tensors != NULL)
        way.rate = kerf_conn_rate(edge->tensors);
    (void)pthread_mutex_unlock(&edge->lock);
    return way;
}

static kerf_codec_id
pick_codec(const kerf_edge *edge, const kerf_tensor *t, const struct way *way)
{
    kerf_codec_id id = edge->opts.codec;

    if (edge->opts.codec_auto) {
        size_t block = edge->block_values * sizeof(float);
        double share = way->blocks && t->bytes > block
                           ? (double)block / (double)t->bytes
                           : 1;

        id = kerf_tune_pick(&edge->tune, way->codecs, t->bytes, way->rate,
                            share);
    }
    return (way->codecs >> id & 1) == 0 || t->dtype != KERF_F32 || t->bytes == 0
               ? KERF_CODEC_RAW
               : id;
}

/* Makes output i of the flight a blob in its memory. RAW: it is better off as
 * it is. */
static kerf_codec_id
encode_whole(kerf_edge *edge, kerf_flight *f, size_t i, kerf_codec_id id,
             size_t *len)
{
    const kerf_tensor *t = &f->out[i];
    uint64_t start_ns = kerf_now_ns();

    if (id == KERF_CODEC_RAW || !kerf_flight_make_room(f, i) ||
        kerf_codec_encode(edge->codec, id, t, f->coded[i], t->bytes - 1, len) !=
            KERF_OK)
        return KERF_CODEC_RAW;
    if (edge->opts.codec_auto)
        kerf_tune_learn(&edge->tune, id, t->bytes, *len,
                        kerf_now_ns() - start_ns);
    return id;
}

/* The piece of output i, coded or as it is, and its desc. */
static void
put_piece(kerf_edge *edge, kerf_flight *f, size_t i)
{
    const kerf_tensor *t = &f->out[i];
    size_t len = 0;
    kerf_codec_id id = encode_whole(edge, f, i, f->packed[i], &len);

    f->packed[i] = id;
    if (id == KERF_CODEC_RAW)
        len = t->bytes;
    edge->encoded.tensor[i] = (kerf_tensor_desc){
        .dtype = t->dtype, .codec = (uint8_t)id, .shape = t->shape, .len = len};
    f->send.piece[i] = id == KERF_CODEC_RAW ? t->data : f->coded[i];
    f->send.len[i] = len;
    f->coded_bytes += len;
}

/* Of a tensor in blocks. On the wire it is coded, and any of its blocks may be
 * as it is: all are, if it is not. */
static kerf_codec_id
codec_in_blocks(const kerf_flight *f, size_t i)
{
    return f->packed[i] == KERF_CODEC_RAW ? KERF_CODEC_EXACT : f->packed[i];
}

/* Output i will follow in blocks. */
static void
put_off(kerf_edge *edge, kerf_flight *f, size_t i)
{
    const kerf_tensor *t = &f->out[i];

    edge->encoded.tensor[i] =
        (kerf_tensor_desc){.dtype = t->dtype,
                           .codec = (uint8_t)codec_in_blocks(f, i),
                           .shape = t->shape};
    f->send.piece[i] = NULL;
    f->send.len[i] = 0;
}

static bool
is_in_blocks(const kerf_flight *f, size_t i)
{
    return (f->in_blocks >> i & 1) != 0;
}

/* Values of a block of output i. */
static size_t
block_values(const kerf_edge *edge, const kerf_flight *f, size_t i)
{
    size_t grain = kerf_codec_grain(codec_in_blocks(f, i), &f->out[i].shape);

    return (edge->block_values + grain - 1) / grain * grain;
}

/* Which codec each output takes, and which go in blocks, if these pay: a
 * request of no more values than one block has nothing to overlap. What is not
 * coded does if it is large and alone: its hash goes before it, and to make
 * that of all of it takes longer than to send a block. */
static void
pick_codecs(kerf_edge *edge, kerf_flight *f, const struct way *way)
{
    size_t values = 0;

    f->in_blocks = 0;
    for (size_t i = 0; i < f->send.count; i++) {
        const kerf_tensor *t = &f->out[i];

        f->packed[i] = pick_codec(edge, t, way);
        if (f->packed[i] == KERF_CODEC_RAW &&
            (!way->plain || t->dtype != KERF_F32 || t->bytes < PLAIN_LEAST))
            continue;
        f->in_blocks |= UINT64_C(1) << i;
        values += t->bytes / sizeof(float);
    }
    if (!way->blocks || values <= edge->block_values)
        f->in_blocks = 0;
}

/* Room for the frames of all blocks. */
static bool
make_blocks(const kerf_edge *edge, kerf_flight *f)
{
    f->block_goal = 0;
    for (size_t i = 0; i < f->send.count; i++) {
        size_t count = f->out[i].bytes / sizeof(float);
        size_t each;

        if (!is_in_blocks(f, i))
            continue;
        if (f->packed[i] != KERF_CODEC_RAW && !kerf_flight_make_room(f, i))
            return false;
        each = block_values(edge, f, i);
        f->block_goal += (count + each - 1) / each;
    }
    if (f->block_goal <= f->block_room)
        return true;
    free(f->block);
    f->block = calloc(f->block_goal, sizeof *f->block);
    f->block_room = f->block == NULL ? 0 : f->block_goal;
    return f->block != NULL;
}

/* Seals the TENSOR frame with these descs; pieces are set. */
static void
seal_tensors(const kerf_edge *edge, kerf_flight *f, const kerf_tensors *m)
{
    f->codecs = 0;
    for (size_t i = 0; i < m->count; i++)
        f->codecs |= UINT32_C(1) << m->tensor[i].codec;
    f->meta_len = kerf_tensors_put(f->head + KERF_HEADER_LEN,
                                   KERF_TENSORS_ROOM(f->send.count), m);
    f->header = (kerf_header){.type = KERF_FRAME_TENSOR, .id = f->id};
    kerf_out_seal_over(&f->send, f->head, &f->header, f->meta_len,
                       edge->tls != NULL);
}

bool
kerf_encode(kerf_edge *edge, kerf_flight *f)
{
    kerf_tensors *m = &edge->encoded;
    struct way way = look_at_link(edge, f);

    memcpy(m->bundle, f->program->manifest.id, sizeof m->bundle);
    m->deadline_ms = (uint32_t)edge->opts.deadline_ms;
    m->late = false;
    m->echo_ns = m->received_ns = m->queue_ns = m->decode_ns = m->tail_ns = 0;
    m->count = (uint16_t)f->program->sent_count;
    f->send.count = f->program->sent_count;
    f->block_count = 0;
    pick_codecs(edge, f, &way);
    if (f->in_blocks != 0 && !make_blocks(edge, f))
        f->in_blocks = 0;
    for (size_t i = 0; i < f->send.count; i++) {
        if (is_in_blocks(f, i))
            put_off(edge, f, i);
        else
            put_piece(edge, f, i);
        f->tensor_bytes += f->out[i].bytes;
    }
    f->codec = f->packed[0];
    seal_tensors(edge, f, m);
    f->send.done = kerf_flight_sent;
    f->send.ctx = f;
    if (kerf_log_on(KERF_LOG_TRACE) && f->in_blocks == 0)
        kerf_log(KERF_LOG_TRACE, "edge.encoded", "id=%llu bytes=%llu",
                 (unsigned long long)f->id, (unsigned long long)f->coded_bytes);
    return f->in_blocks != 0;
}

void
kerf_encode_join(kerf_edge *edge, kerf_flight *f)
{
    kerf_tensors m;
    bool plain = f->in_blocks != 0 && f->record == NULL;

    for (size_t i = 0; plain && i < f->send.count; i++)
        plain = !is_in_blocks(f, i) || f->packed[i] == KERF_CODEC_RAW;
    if (!plain || kerf_tensors_get(&m, f->head + KERF_HEADER_LEN, f->meta_len,
                                   f->header.payload_len, NULL) != KERF_OK)
        return;
    for (size_t i = 0; i < f->send.count; i++) {
        if (!is_in_blocks(f, i))
            continue;
        m.tensor[i].codec = KERF_CODEC_RAW;
        m.tensor[i].len = f->out[i].bytes;
        f->send.piece[i] = f->out[i].data;
        f->send.len[i] = f->out[i].bytes;
    }
    f->in_blocks = 0;
    f->block_count = 0;
    seal_tensors(edge, f, &m);
}

/* One BLOCK frame, whose blob goes to coded[i] + at, or which is sent as it is.
 * Returns the bytes of the blob. */
static size_t
put_block(kerf_edge *edge, kerf_flight *f, size_t i, size_t at,
          kerf_tensor_block *m)
{
    kerf_flight_block *b = &f->block[f->block_count++];
    const float *x = f->out[i].data;
    size_t len = 0;

    if (m->codec != KERF_CODEC_RAW &&
        kerf_codec_encode_block(edge->codec, m->first, m->count,
                                f->coded[i] + at, m->count * sizeof *x - 1,
                                &len) != KERF_OK)
        m->codec = KERF_CODEC_RAW;
    m->len =
        (uint32_t)(m->codec == KERF_CODEC_RAW ? m->count * sizeof *x : len);
    b->out = (kerf_out){.count = 1, .done = kerf_flight_sent, .ctx = f};
    b->out.piece[0] = m->codec == KERF_CODEC_RAW ? (const void *)(x + m->first)
                                                 : f->coded[i] + at;
    b->out.len[0] = m->len;
    b->header = (kerf_header){.type = KERF_FRAME_BLOCK, .id = f->id};
    kerf_out_seal_over(&b->out, b->head, &b->header,
                       kerf_tensor_block_put(b->head + KERF_HEADER_LEN,
                                             sizeof b->head - KERF_HEADER_LEN,
                                             m),
                       edge->tls != NULL);
    if (kerf_log_on(KERF_LOG_TRACE))
        kerf_log(KERF_LOG_TRACE, "edge.block", "id=%llu first=%lu bytes=%lu",
                 (unsigned long long)f->id, (unsigned long)m->first,
                 (unsigned long)m->len);
    if (f->block_count < f->block_goal)
        kerf_link_block(edge, f, b);
    f->coded_bytes += m->len;
    return m->codec == KERF_CODEC_RAW ? 0 : len;
}

void
kerf_encode_blocks(kerf_edge *edge, kerf_flight *f)
{
    for (size_t i = 0; i < f->send.count; i++) {
        const kerf_tensor *t = &f->out[i];
        kerf_codec_id id = f->packed[i];
        size_t count = t->bytes / sizeof(float);
        size_t start_bytes = f->coded_bytes;
        uint64_t start_ns = kerf_now_ns();
        size_t blob = 0;
        size_t each;
        bool codes;

        if (!is_in_blocks(f, i))
            continue;
        each = block_values(edge, f, i);
        codes = id != KERF_CODEC_RAW &&
                kerf_codec_begin(edge->codec, id, t) == KERF_OK;
        for (size_t at = 0; at < count; at += each) {
            kerf_tensor_block m = {
                .tensor = (uint16_t)i,
                .codec = (uint8_t)(codes ? id : KERF_CODEC_RAW),
                .first = (uint32_t)at,
                .count = (uint32_t)(count - at < each ? count - at : each)};

            blob += put_block(edge, f, i, blob, &m);
        }
        if (edge->opts.codec_auto && id != KERF_CODEC_RAW)
            kerf_tune_learn(&edge->tune, id, t->bytes,
                            f->coded_bytes - start_bytes,
                            kerf_now_ns() - start_ns);
    }
    if (kerf_log_on(KERF_LOG_TRACE))
        kerf_log(KERF_LOG_TRACE, "edge.encoded", "id=%llu bytes=%llu",
                 (unsigned long long)f->id, (unsigned long long)f->coded_bytes);
}
