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
    way.plain = way.blocks && edge->tls == NULL &&
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

static bool
make_room(kerf_flight *f, size_t i)
{
    if (f->coded[i] == NULL)
        f->coded[i] = malloc(f->out[i].bytes);
    return f->coded[i] != NULL;
}

/* Makes output i of the flight a blob in its memory. RAW: it is better off as
 * it is. */
static kerf_codec_id
encode_whole(kerf_edge *edge, kerf_flight *f, size_t i, kerf_codec_id id,
             size_t *len)
{
    const kerf_tensor *t = &f->out[i];
    uint64_t start_ns = kerf_now_ns();

    if (id == KERF_CODEC_RAW || !make_room(f, i) ||
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
    kerf_codec_id id = encode_whole(edge, f, i, edge->picked[i], &len);

    edge->picked[i] = id;
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
codec_in_blocks(const kerf_edge *edge, size_t i)
{
    return edge->picked[i] == KERF_CODEC_RAW ? KERF_CODEC_EXACT
                                             : edge->picked[i];
}

/* Output i will follow in blocks. */
static void
put_off(kerf_edge *edge, kerf_flight *f, size_t i)
{
    const kerf_tensor *t = &f->out[i];

    edge->encoded.tensor[i] =
        (kerf_tensor_desc){.dtype = t->dtype,
                           .codec = (uint8_t)codec_in_blocks(edge, i),
                           .shape = t->shape};
    f->send.piece[i] = NULL;
    f->send.len[i] = 0;
}

/* Values of a block of output i. */
static size_t
block_values(const kerf_edge *edge, const kerf_flight *f, size_t i)
{
    size_t grain = kerf_codec_grain(codec_in_blocks(edge, i), &f->out[i].shape);

    return (edge->block_values + grain - 1) / grain * grain;
}

static bool
is_in_blocks(const kerf_edge *edge, size_t i)
{
    const kerf_tensor_desc *d = &edge->encoded.tensor[i];

    return d->codec != KERF_CODEC_RAW && d->len == 0;
}

/* Whether output i goes in blocks where there are any. What is not coded does
 * if it is large and alone: its hash goes before it, and to make that of all of
 * it takes longer than to send a block. */
static bool
may_be_in_blocks(const kerf_edge *edge, const kerf_flight *f,
                 const struct way *way, size_t i)
{
    const kerf_tensor *t = &f->out[i];

    return edge->picked[i] != KERF_CODEC_RAW ||
           (way->plain && t->dtype == KERF_F32 && t->bytes >= PLAIN_LEAST);
}

/* Room for the frames of all blocks. */
static bool
make_blocks(kerf_edge *edge, kerf_flight *f, const struct way *way)
{
    f->block_goal = 0;
    for (size_t i = 0; i < f->send.count; i++) {
        size_t count = f->out[i].bytes / sizeof(float);
        size_t each;

        if (!may_be_in_blocks(edge, f, way, i))
            continue;
        if (edge->picked[i] != KERF_CODEC_RAW && !make_room(f, i))
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

/* Which codec each output takes, and whether blocks pay: a request of no more
 * values than one block has nothing to overlap. */
static bool
pick_codecs(kerf_edge *edge, const kerf_flight *f, const struct way *way)
{
    size_t values = 0;

    for (size_t i = 0; i < f->send.count; i++) {
        edge->picked[i] = pick_codec(edge, &f->out[i], way);
        if (may_be_in_blocks(edge, f, way, i))
            values += f->out[i].bytes / sizeof(float);
    }
    return way->blocks && values > edge->block_values;
}

bool
kerf_encode(kerf_edge *edge, kerf_flight *f)
{
    kerf_tensors *m = &edge->encoded;
    struct way way = look_at_link(edge, f);
    bool blocks;

    memcpy(m->bundle, f->program->manifest.id, sizeof m->bundle);
    m->deadline_ms = (uint32_t)edge->opts.deadline_ms;
    m->late = false;
    m->echo_ns = m->received_ns = m->queue_ns = m->decode_ns = m->tail_ns = 0;
    m->count = (uint16_t)f->program->sent_count;
    f->send.count = f->program->sent_count;
    f->block_count = 0;
    blocks = pick_codecs(edge, f, &way) && make_blocks(edge, f, &way);
    for (size_t i = 0; i < f->send.count; i++) {
        if (blocks && may_be_in_blocks(edge, f, &way, i))
            put_off(edge, f, i);
        else
            put_piece(edge, f, i);
        f->tensor_bytes += f->out[i].bytes;
        f->codecs |= UINT32_C(1) << m->tensor[i].codec;
    }
    f->codec = edge->picked[0];
    f->meta_len = kerf_tensors_put(f->head + KERF_HEADER_LEN,
                                   KERF_TENSORS_ROOM(f->send.count), m);
    f->header = (kerf_header){.type = KERF_FRAME_TENSOR, .id = f->id};
    kerf_out_seal_over(&f->send, f->head, &f->header, f->meta_len,
                       edge->tls != NULL);
    f->send.done = kerf_flight_sent;
    f->send.ctx = f;
    if (kerf_log_on(KERF_LOG_TRACE) && !blocks)
        kerf_log(KERF_LOG_TRACE, "edge.encoded", "id=%llu bytes=%llu",
                 (unsigned long long)f->id, (unsigned long long)f->coded_bytes);
    return blocks;
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
        kerf_codec_id id = edge->picked[i];
        size_t count = t->bytes / sizeof(float);
        size_t start_bytes = f->coded_bytes;
        uint64_t start_ns = kerf_now_ns();
        size_t blob = 0;
        size_t each;
        bool codes;

        if (!is_in_blocks(edge, i))
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
