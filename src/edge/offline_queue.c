/*
 * Requests on disk: what is sent of a flight, and what its answer is shown
 * with.
 *
 *     record   16 bytes of the spool's own, then
 *              u64 index, u32 codecs, u8 codec, u64 tensor bytes,
 *              u64 coded bytes, text input, u32 length of the meta,
 *              u16 pieces, u64 length of each; u32 blocks, u16 length of the
 *              meta and u64 length of the piece of each; the meta; the pieces;
 *              the meta and the piece of each block
 */
#include "edge/offline.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "edge/edge.h"
#include "edge/encode.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_LISTED 10 /* bytes of a block's lengths */
#define BLOCK_FIXED (BLOCK_LISTED + KERF_HEAD_STEP)
/* Each but the last of a tensor has so many values, a byte each or more. */
#define BLOCKS_MOST (KERF_PAYLOAD_MAX / KERF_BLOCK_VALUES_MIN + KERF_PORTS_MAX)
#define AGAIN_MS 1000 /* until a record that could not be read is tried */
#define FIXED (KERF_SPOOL_HEAD + 64 + KERF_PATH_MAX + 8 * KERF_PORTS_MAX)

static const char *
input_of(const kerf_flight *f)
{
    return f->item.path[0] != '\0' ? f->item.path : f->item.name;
}

/* Its record -> free(), or NULL. */
static uint8_t *
write_record(const kerf_flight *f, size_t *len)
{
    size_t room = FIXED + f->meta_len;
    uint8_t *data;
    kerf_wr w;

    for (size_t i = 0; i < f->send.count; i++)
        room += f->send.len[i];
    for (size_t i = 0; i < f->block_count; i++)
        room += BLOCK_FIXED + f->block[i].out.len[0];
    data = malloc(room);
    if (data == NULL)
        return NULL;
    w = (kerf_wr){.at = data, .left = room};
    kerf_wr_zero(&w, KERF_SPOOL_HEAD);
    kerf_wr_u64(&w, f->index);
    kerf_wr_u32(&w, f->codecs);
    kerf_wr_u8(&w, (uint8_t)f->codec);
    kerf_wr_u64(&w, f->tensor_bytes);
    kerf_wr_u64(&w, f->coded_bytes);
    kerf_wr_str(&w, input_of(f));
    kerf_wr_u32(&w, (uint32_t)f->meta_len);
    kerf_wr_u16(&w, (uint16_t)f->send.count);
    for (size_t i = 0; i < f->send.count; i++)
        kerf_wr_u64(&w, f->send.len[i]);
    kerf_wr_u32(&w, (uint32_t)f->block_count);
    for (size_t i = 0; i < f->block_count; i++) {
        kerf_wr_u16(&w, (uint16_t)f->block[i].header.meta_len);
        kerf_wr_u64(&w, f->block[i].out.len[0]);
    }
    kerf_wr_bytes(&w, f->head + KERF_HEADER_LEN, f->meta_len);
    for (size_t i = 0; i < f->send.count; i++)
        kerf_wr_bytes(&w, f->send.piece[i], f->send.len[i]);
    for (size_t i = 0; i < f->block_count; i++) {
        const kerf_flight_block *b = &f->block[i];

        kerf_wr_bytes(&w, b->head + KERF_HEADER_LEN, b->header.meta_len);
        kerf_wr_bytes(&w, b->out.piece[0], b->out.len[0]);
    }
    if (w.bad) {
        free(data);
        return NULL;
    }
    *len = (size_t)(w.at - data);
    return data;
}

/* Lengths of the blocks; what they hold comes later. */
static kerf_err
read_blocks(kerf_flight *f, kerf_rd *r)
{
    uint32_t count = kerf_rd_u32(r);

    free(f->block);
    f->block = NULL;
    f->block_count = 0;
    if (r->bad || count > r->left / BLOCK_LISTED || count > BLOCKS_MOST)
        return KERF_ECORRUPT;
    if (count == 0)
        return KERF_OK;
    f->block = calloc(count, sizeof *f->block);
    if (f->block == NULL)
        return KERF_ENOMEM;
    f->block_count = count;
    for (size_t i = 0; i < count; i++) {
        kerf_flight_block *b = &f->block[i];

        b->header.meta_len = kerf_rd_u16(r);
        b->out.count = 1;
        b->out.len[0] = kerf_rd_u64(r);
        if (b->header.meta_len > sizeof b->head - KERF_HEADER_LEN)
            r->bad = true;
    }
    return r->bad ? KERF_ECORRUPT : KERF_OK;
}

static void
read_block(kerf_flight_block *b, kerf_rd *r)
{
    const uint8_t *meta = kerf_rd_bytes(r, b->header.meta_len);

    if (meta != NULL)
        memcpy(b->head + KERF_HEADER_LEN, meta, b->header.meta_len);
    b->out.piece[0] = kerf_rd_bytes(r, b->out.len[0]);
}

/* The pieces stay in data. */
static kerf_err
read_record(kerf_flight *f, const uint8_t *data, size_t len, kerf_detail *why)
{
    kerf_rd r = {.at = data + KERF_SPOOL_HEAD, .left = len - KERF_SPOOL_HEAD};
    const uint8_t *meta;
    uint16_t count;
    kerf_err err;

    f->index = kerf_rd_u64(&r);
    f->codecs = kerf_rd_u32(&r);
    f->codec = (kerf_codec_id)kerf_rd_u8(&r);
    f->tensor_bytes = kerf_rd_u64(&r);
    f->coded_bytes = kerf_rd_u64(&r);
    kerf_rd_str(&r, f->item.path, sizeof f->item.path);
    f->meta_len = kerf_rd_u32(&r);
    count = kerf_rd_u16(&r);
    if (r.bad || count > KERF_PORTS_MAX || f->meta_len > KERF_META_MAX)
        return kerf_fail(why, KERF_ECORRUPT, "a queued request is damaged");
    f->send.count = count;
    for (size_t i = 0; i < count; i++)
        f->send.len[i] = kerf_rd_u64(&r);
    err = read_blocks(f, &r);
    if (err != KERF_OK)
        return kerf_fail(why, err, "%s",
                         err == KERF_ENOMEM ? "no memory for a queued request"
                                            : "a queued request is damaged");
    meta = kerf_rd_bytes(&r, f->meta_len);
    for (size_t i = 0; i < count; i++)
        f->send.piece[i] = kerf_rd_bytes(&r, f->send.len[i]);
    for (size_t i = 0; i < f->block_count; i++)
        read_block(&f->block[i], &r);
    if (r.bad || meta == NULL)
        return kerf_fail(why, KERF_ECORRUPT, "a queued request is damaged");
    free(f->head);
    f->head = calloc(1, kerf_head_len(f->meta_len));
    if (f->head == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory for a queued request");
    memcpy(f->head + KERF_HEADER_LEN, meta, f->meta_len);
    return KERF_OK;
}

/* Putting. */

/* Whether a record that was read with this outcome may be removed: any other
 * error (no files or memory left, a disk that fails) may pass. */
static bool
may_go(kerf_err err)
{
    return err == KERF_OK || err == KERF_ECORRUPT || err == KERF_ENOENT;
}

static void
tell_dropped(kerf_edge *edge, const kerf_flight *f, uint64_t seq, kerf_err err,
             const char *why)
{
    kerf_note *note = kerf_note_new(KERF_NOTE_DROPPED);

    kerf_edge_wait_for_room(edge);
    (void)pthread_mutex_lock(&edge->lock);
    edge->total.asked += kerf_queue_is_earlier(edge, seq) ? 1 : 0;
    edge->total.failed++;
    (void)pthread_mutex_unlock(&edge->lock);
    if (note == NULL)
        return;
    note->index = f->index;
    note->earlier = kerf_queue_is_earlier(edge, seq);
    note->err = err;
    (void)snprintf(note->name, sizeof note->name, "%s", input_of(f));
    (void)snprintf(note->text, sizeof note->text, "%s", why);
    kerf_edge_tell(edge, note);
}

/* The oldest record goes, and its request has failed. False: all are on their
 * way, or it cannot be read now, and so cannot be named. */
static bool
drop_oldest(kerf_edge *edge, const char *reason)
{
    kerf_spool *s = edge->offline.spool;
    kerf_flight *f;
    uint8_t *data = NULL;
    kerf_detail why = {{0}};
    uint64_t seq;
    size_t len = 0;
    kerf_err err;

    if (!kerf_spool_take(s, &seq))
        return false;
    f = calloc(1, sizeof *f);
    err = f == NULL ? KERF_ENOMEM : kerf_spool_read(s, seq, &data, &len, &why);
    if (err == KERF_OK)
        err = read_record(f, data, len, &why);
    if (may_go(err)) {
        tell_dropped(edge, f, seq, err == KERF_OK ? KERF_ETOOBIG : err,
                     err == KERF_OK ? reason : why.text);
        kerf_spool_remove(s, seq);
    } else {
        kerf_spool_give_back(s, seq);
    }
    free(data);
    if (f != NULL) {
        free(f->head);
        free(f->block);
    }
    free(f);
    return may_go(err);
}

static kerf_err
put(kerf_edge *edge, uint8_t *data, size_t len, kerf_detail *why)
{
    kerf_spool *s = edge->offline.spool;
    uint64_t seq;
    kerf_err err = kerf_spool_add(s, data, len, &seq, why);

    while (err == KERF_ETOOBIG && kerf_spool_holds(s, len) &&
           edge->opts.queue_full == KERF_QUEUE_FULL_DROP_OLDEST &&
           kerf_spool_count(s) > 0 && drop_oldest(edge, why->text))
        err = kerf_spool_add(s, data, len, &seq, why);
    return err;
}

void
kerf_queue_put(kerf_edge *edge, kerf_flight *f)
{
    kerf_detail why = {{0}};
    size_t len = 0;
    uint8_t *data;
    kerf_err err;
    bool online;

    kerf_encode_join(edge, f);
    data = write_record(f, &len);
    err = data == NULL ? KERF_ENOMEM : put(edge, data, len, &why);
    free(data);
    (void)pthread_mutex_lock(&edge->lock);
    online = !edge->offline.offline;
    if (err == KERF_OK) {
        f->queued = true;
        kerf_edge_tell_queued(edge, f);
    } else if (err == KERF_ETOOBIG && !edge->gave_up &&
               edge->opts.queue_full == KERF_QUEUE_FULL_WAIT) {
        f->state = KERF_FLIGHT_WAITING; /* and the inputs wait for it */
        kerf_link_send(edge, f);
    } else {
        kerf_err named = kerf_fail_in(&why, err, "the request is not queued");

        kerf_edge_answer(edge, f, named, why.text);
    }
    (void)pthread_mutex_unlock(&edge->lock);
    if (err == KERF_OK && online)
        kerf_queue_ask(edge);
}

/* Draining. */

bool
kerf_queue_is_earlier(const kerf_edge *edge, uint64_t seq)
{
    return seq < kerf_spool_first_new(edge->offline.spool);
}

void
kerf_queue_ask(kerf_edge *edge)
{
    kerf_offline_state *o = &edge->offline;

    if (o->spool != NULL && !atomic_exchange(&o->drain_asked, true))
        (void)!kerf_queue_push(o->jobs, &o->drain_token);
}

/* A free flight for a record, which is this thread's now; NULL. */
static kerf_flight *
take_flight(kerf_edge *edge)
{
    kerf_flight *found = NULL;

    (void)pthread_mutex_lock(&edge->lock);
    for (size_t i = 0; i < KERF_DRAIN_FLIGHTS && found == NULL; i++) {
        kerf_flight *f = &edge->offline.drain[i];

        if (f->state == KERF_FLIGHT_FREE && atomic_load(&f->sending) == 0)
            found = f;
    }
    if (edge->offline.offline || edge->gave_up)
        found = NULL;
    if (found != NULL)
        found->state = KERF_FLIGHT_OFFLINE;
    (void)pthread_mutex_unlock(&edge->lock);
    return found;
}

static void
send_record(kerf_edge *edge, kerf_flight *f, uint64_t seq)
{
    f->record_seq = seq;
    f->id = KERF_DRAIN_ID | seq;
    f->via = KERF_VIA_QUEUED;
    f->stages = (kerf_stages){0};
    f->start_ns = f->encoded_ns = kerf_now_ns();
    f->deadline_ns = f->retry_ns = f->stranded_ns = 0;
    f->bytes_sent = f->bytes_received = 0;
    f->busy_row = 0;
    f->result_count = 0;
    f->header = (kerf_header){.type = KERF_FRAME_TENSOR, .id = f->id};
    kerf_out_seal_over(&f->send, f->head, &f->header, f->meta_len,
                       edge->tls != NULL);
    f->send.done = kerf_flight_sent;
    f->send.ctx = f;
    for (size_t i = 0; i < f->block_count; i++) {
        kerf_flight_block *b = &f->block[i];
        size_t meta_len = b->header.meta_len;

        b->header = (kerf_header){.type = KERF_FRAME_BLOCK, .id = f->id};
        kerf_out_seal_over(&b->out, b->head, &b->header, meta_len,
                           edge->tls != NULL);
        b->out.done = kerf_flight_sent;
        b->out.ctx = f;
    }
    (void)pthread_mutex_lock(&edge->lock);
    f->state = KERF_FLIGHT_WAITING;
    if (edge->gave_up)
        kerf_queue_let_go(edge, f);
    else
        kerf_link_send(edge, f);
    (void)pthread_mutex_unlock(&edge->lock);
}

static void
free_record(kerf_edge *edge, kerf_flight *f)
{
    uint8_t *record = f->record;

    f->record = NULL;
    kerf_edge_free_flight(edge, f);
    free(record);
}

/* What the cloud before did not serve is tried again. */
static void
release_put_off(kerf_edge *edge)
{
    kerf_offline_state *o = &edge->offline;
    uint64_t but[KERF_DRAIN_FLIGHTS];
    size_t n = 0;

    (void)pthread_mutex_lock(&edge->lock);
    for (size_t i = 0; i < KERF_DRAIN_FLIGHTS; i++) {
        if (o->drain[i].state != KERF_FLIGHT_FREE)
            but[n++] = o->drain[i].record_seq;
    }
    (void)pthread_mutex_unlock(&edge->lock);
    kerf_spool_release(o->spool, but, n);
}

void
kerf_queue_again(void *ctx)
{
    kerf_queue_ask(ctx);
}

void
kerf_queue_put_timer(void *ctx)
{
    kerf_edge *edge = ctx;

    kerf_timer_start(edge->offline.again, AGAIN_MS, 0);
}

/* The record stays the oldest one, and is tried again in a while. */
static void
put_off_draining(kerf_edge *edge, kerf_flight *f, uint64_t seq, const char *why)
{
    kerf_offline_state *o = &edge->offline;

    if (!o->unreadable)
        kerf_log(KERF_LOG_WARN, "edge.queue_unreadable", "again_ms=%d why=%s",
                 AGAIN_MS, KERF_Q(why));
    o->unreadable = true;
    kerf_spool_give_back(o->spool, seq);
    free_record(edge, f);
    kerf_loop_post(edge->loop, &o->put_off);
}

void
kerf_queue_drain(kerf_edge *edge)
{
    kerf_spool *s = edge->offline.spool;
    kerf_flight *f;

    atomic_store(&edge->offline.drain_asked, false);
    if (atomic_exchange(&edge->offline.session_is_new, false))
        release_put_off(edge);
    while ((f = take_flight(edge)) != NULL) {
        kerf_detail why = {{0}};
        uint64_t seq;
        size_t len = 0;
        kerf_err err;

        free(f->record); /* of a request that was let go */
        f->record = NULL;
        if (!kerf_spool_take(s, &seq)) {
            kerf_edge_free_flight(edge, f);
            return;
        }
        err = kerf_spool_read(s, seq, &f->record, &len, &why);
        if (err == KERF_OK)
            err = read_record(f, f->record, len, &why);
        if (err == KERF_OK) {
            edge->offline.unreadable = false;
            send_record(edge, f, seq);
            continue;
        }
        if (!may_go(err)) {
            put_off_draining(edge, f, seq, why.text);
            return;
        }
        kerf_log(KERF_LOG_WARN, "edge.queue_damaged", "why=%s",
                 KERF_Q(why.text));
        f->item.path[0] = f->item.name[0] = '\0';
        tell_dropped(edge, f, seq, err, why.text);
        kerf_spool_remove(s, seq);
        free_record(edge, f);
    }
}

void
kerf_queue_told(kerf_edge *edge, kerf_flight *f)
{
    kerf_spool *s = edge->offline.spool;

    if (kerf_queue_is_earlier(edge, f->record_seq)) {
        (void)pthread_mutex_lock(&edge->lock);
        edge->total.asked++;
        (void)pthread_mutex_unlock(&edge->lock);
    }
    kerf_spool_remove(s, f->record_seq);
    free_record(edge, f);
    kerf_queue_ask(edge);
}

void
kerf_queue_put_off(kerf_edge *edge, kerf_flight *f)
{
    free(f->record); /* all of it was sent */
    f->record = NULL;
    f->state = KERF_FLIGHT_FREE; /* and taken, as long as the session is */
    kerf_queue_ask(edge);
}

void
kerf_queue_let_go(kerf_edge *edge, kerf_flight *f)
{
    kerf_spool_give_back(edge->offline.spool, f->record_seq);
    f->state = KERF_FLIGHT_FREE; /* its record is freed at the end */
}
