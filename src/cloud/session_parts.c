/*
 * Parts of bundles on their way to an edge: what it asks for, one after the
 * other, chunk by chunk, packed where that pays.
 */
#include "cloud/session_own.h"

#include <stdlib.h>
#include <string.h>

#define ROW 4                     /* chunks, about a quarter of a millisecond */
#define PACK_RATE_MOST 400000000u /* bytes/s, as TCP measures them */

static void ship_next(kerf_session *s);

/* On the loop's thread: nobody else sends here. */
static void
on_chunk_sent(void *ctx, kerf_err err)
{
    kerf_session *s = ctx;

    if (s->chunk_now && err == KERF_OK) {
        s->chunk_sending = false; /* ship_next() goes on */
        return;
    }
    s->refs++; /* the post's */
    kerf_loop_post(s->cloud->loop, &s->chunk_sent);
}

static void
on_chunk_turn(void *ctx)
{
    kerf_session *s = ctx;

    s->chunk_sending = false;
    if (s->control != NULL)
        ship_next(s);
    kerf_session_unref(s);
}

/* A link that is faster than what packing and unpacking can keep up with: the
 * bytes as they are. It is measured on the way, so the first go packed. */
static bool
may_pack(const kerf_session *s)
{
    switch (s->cloud->opts.model_codec) {
    case KERF_MODEL_CODEC_RAW:
        return false;
    case KERF_MODEL_CODEC_KWZ:
        break;
    case KERF_MODEL_CODEC_AUTO:
        if (kerf_conn_rate(s->control) > PACK_RATE_MOST)
            return false;
        break;
    }
    return (s->hello.part_codecs >> KERF_PART_KWZ & 1) != 0;
}

static uint32_t
some_of(const kerf_session *s, uint64_t left)
{
    size_t most = kerf_session_pace_chunk(s);

    return left < most ? (uint32_t)left : (uint32_t)most;
}

/* The next bytes of what was asked for: a packed block, where one begins here
 * and all of it was asked for; else some of this block as they are. To pack
 * those for one edge would cost the loop up to 12 ms, at any peer's will. */
static const uint8_t *
choose_chunk(const kerf_session *s, const struct kerf_fetch *f, kerf_range *m)
{
    const kerf_packed_block *b =
        kerf_packed_at(&f->served->packed[f->role], f->at);
    uint64_t left = f->end - f->at;
    bool packs = b != NULL && b->data != NULL && may_pack(s);

    m->offset = f->at;
    if (packs && b->offset == f->at && b->len <= left) {
        m->codec = KERF_PART_KWZ;
        m->kind = b->kind;
        m->plain = b->len;
        m->len = b->data_len;
        return b->data;
    }
    if (b != NULL && b->offset + b->len - f->at < left)
        left = b->offset + b->len - f->at;
    m->len = some_of(s, left);
    return f->served->pair.data[f->role] + f->at;
}

static void
ship_chunk(kerf_session *s, struct kerf_fetch *f)
{
    kerf_range m = {.part = f->part};
    kerf_header h = {.type = KERF_FRAME_PART};
    const uint8_t *data;
    uint32_t plain;
    size_t meta_len;

    kerf_session_pace_shipping(s);
    data = choose_chunk(s, f, &m);
    plain = m.codec == KERF_PART_RAW ? m.len : m.plain;
    memcpy(m.bundle, f->served->manifest.id, sizeof m.bundle);
    meta_len = kerf_range_put(s->chunk_head + KERF_HEADER_LEN,
                              sizeof s->chunk_head - KERF_HEADER_LEN, &m);
    s->chunk = (kerf_out){.count = 1, .done = on_chunk_sent, .ctx = s};
    s->chunk.piece[0] = data;
    s->chunk.len[0] = m.len;
    kerf_out_seal_over(&s->chunk, s->chunk_head, &h, meta_len,
                       s->cloud->tls != NULL);
    s->chunk_sent = (kerf_post){.fn = on_chunk_turn, .ctx = s};
    s->chunk_sending = true;
    s->shipped_bytes += plain;
    s->shipped_wire += m.len;
    f->at += plain;
    kerf_conn_send(s->control, &s->chunk);
}

/* False: nothing is asked for. */
static bool
find_next(kerf_session *s)
{
    while (s->fetch_count > 0 && s->fetch[0].at == s->fetch[0].end) {
        kerf_served_unref(s->fetch[0].served);
        s->fetch_count--;
        if (s->fetch_count == 0)
            kerf_lanes_move_update(s->lane, KERF_UPDATE_LOADING);
        memmove(&s->fetch[0], &s->fetch[1],
                s->fetch_count * sizeof s->fetch[0]);
    }
    return s->fetch_count > 0;
}

/* As long as the kernel takes it at once, some chunks in a row; then others
 * have their turn. Goes on in on_chunk_turn(). */
static void
ship_next(kerf_session *s)
{
    int row = kerf_session_pace_beside(s) ? 1 : ROW;

    if (s->chunk_sending)
        return;
    for (int i = 0; i < row && !s->chunk_sending; i++) {
        if (!find_next(s))
            return;
        s->chunk_now = i + 1 < row;
        ship_chunk(s, &s->fetch[0]);
        s->chunk_now = false;
    }
}

kerf_err
kerf_session_on_fetch(kerf_session *s, const kerf_frame_in *frame,
                      kerf_detail *why)
{
    kerf_range m;
    kerf_served *served;
    const kerf_file *file;
    kerf_err err = kerf_range_get(&m, frame->meta, frame->header.meta_len, why);

    if (err != KERF_OK)
        return err;
    served = kerf_session_held(s, m.bundle);
    if (served == NULL)
        return kerf_fail(why, KERF_ENOENT, "FETCH of a bundle not offered");
    err = kerf_session_check_may(s, served, why);
    if (err != KERF_OK)
        return err;
    if (m.part >= served->manifest.file_count)
        return kerf_fail(why, KERF_EPROTO, "FETCH of part %u of %zu", m.part,
                         served->manifest.file_count);
    file = &served->manifest.file[m.part];
    if (!kerf_role_is_shipped(file->role, s->cloud->opts.share_tail) ||
        m.offset > file->size || m.len > file->size - m.offset)
        return kerf_fail(why, KERF_EPROTO, "FETCH of part %u is not allowed",
                         m.part);
    if (s->fetch_count == KERF_FETCHES_MAX)
        return kerf_fail(why, KERF_EPROTO, "more than %d FETCH at a time",
                         KERF_FETCHES_MAX);
    s->fetch[s->fetch_count++] =
        (struct kerf_fetch){.served = kerf_served_ref(served),
                            .role = file->role,
                            .at = m.offset,
                            .end = m.len == 0 ? file->size : m.offset + m.len,
                            .part = m.part};
    kerf_lanes_move_update(s->lane, KERF_UPDATE_RECEIVING);
    s->loads = s->loads && served->number != s->told;
    ship_next(s);
    return KERF_OK;
}
