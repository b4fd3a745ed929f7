/*
 * A file of a model coming in. What is missing of it is asked for in order, in
 * ranges, several at a time, so that small holes cost no round trip each. The
 * cloud answers in order: asked[0] is the one that comes now.
 *
 * What comes damaged is not seen before the file is whole. Then its units tell
 * which bytes they were, and those alone are asked for again.
 */
#include "edge/fetch_own.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of one range, and of all that are under way: what is given up comes in vain.
 */
#define ASK_MOST ((uint64_t)16 << 20)
#define UNDER_WAY_MOST (2 * ASK_MOST)
#define TELL_NS 20000000u /* progress, no more often */
#define TRIES_MOST 3      /* of a file that comes damaged */

_Static_assert(KERF_PART_BLOCK == KERF_BLOCK_MOST, "docs/PROTOCOL.md says it");

/* Asking. */

static void
drop_asked(kerf_fetcher *f)
{
    f->asked_count--;
    memmove(&f->asked[0], &f->asked[1], f->asked_count * sizeof f->asked[0]);
}

/* Where a range that begins at `at` is to end, at the latest: with a unit, as a
 * rule, since packed blocks end there, too. */
static uint64_t
last_end(const kerf_file *file, uint64_t at)
{
    uint64_t end = 0;
    uint64_t best = at + ASK_MOST;

    for (size_t i = 0; i < file->unit_count && end <= at + ASK_MOST; i++) {
        best = end > at ? end : best;
        end += file->unit[i].len;
    }
    return best;
}

static uint64_t
under_way(const kerf_fetcher *f)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < f->asked_count; i++)
        bytes += f->asked[i].dropped ? 0 : f->asked[i].end - f->asked[i].at;
    return bytes;
}

/* A cloud that knows no ranges sends all that follows. Returns what is not
 * asked for yet. */
static uint64_t
ask(kerf_edge *edge, uint64_t offset, uint64_t len)
{
    kerf_fetcher *f = &edge->fetch;
    const kerf_manifest *m = &f->wanted[0].manifest;
    bool ranges = (edge->welcome.features & KERF_FEATURE_RANGES) != 0;
    kerf_range range = {.part = (uint16_t)f->part, .offset = offset};
    kerf_asked *a = &f->asked[f->asked_count++];
    uint8_t meta[64];

    if (len > ASK_MOST)
        len = last_end(&m->file[f->part], offset) - offset;
    *a = (kerf_asked){.part = range.part, .at = offset};
    a->end = ranges ? offset + len : m->file[f->part].size;
    range.len = ranges ? (uint32_t)len : 0;
    memcpy(a->bundle, m->id, sizeof a->bundle);
    memcpy(range.bundle, m->id, sizeof range.bundle);
    (void)!kerf_conn_send_meta(edge->control, KERF_FRAME_FETCH, 0, meta,
                               kerf_range_put(meta, sizeof meta, &range));
    return a->end;
}

/* False: all that was missing has come. */
static bool
ask_more(kerf_edge *edge)
{
    kerf_fetcher *f = &edge->fetch;
    uint64_t offset;
    uint64_t len;

    for (;;) {
        kerf_incoming_missing(f->incoming, f->ask_from, &offset, &len);
        if (len == 0 || f->asked_count == KERF_ASKED_MAX ||
            under_way(f) >= UNDER_WAY_MOST)
            break;
        f->ask_from = ask(edge, offset, len);
    }
    return len > 0 ||
           (f->asked_count > 0 && !f->asked[f->asked_count - 1].dropped);
}

void
kerf_fetch_ask(kerf_edge *edge)
{
    kerf_fetcher *f = &edge->fetch;

    f->state = KERF_FETCH_RECEIVE;
    f->ask_from = 0;
    if (f->tries == 0) {
        f->part_since_ns = kerf_now_ns();
        f->part_wire = 0;
        f->part_counts = kerf_incoming_count(f->incoming);
        f->part_counts.resumed += f->part_counts.received;
    }
    if (!ask_more(edge))
        kerf_fetch_to_loader(edge, KERF_FETCH_COMMIT);
}

void
kerf_fetch_drop_part(kerf_edge *edge)
{
    kerf_fetcher *f = &edge->fetch;

    kerf_incoming_abort(f->incoming);
    f->incoming = NULL;
    for (size_t i = 0; i < f->asked_count; i++)
        f->asked[i].dropped = true;
}

void
kerf_fetch_keep(kerf_fetcher *f)
{
    kerf_incoming_abort(f->kept);
    f->kept = f->incoming;
    f->incoming = NULL;
    memcpy(f->kept_sha256, f->wanted[0].manifest.file[f->part].sha256,
           sizeof f->kept_sha256);
}

bool
kerf_fetch_take_kept(kerf_fetcher *f)
{
    const kerf_file *file = &f->wanted[0].manifest.file[f->part];
    bool same = f->kept != NULL && memcmp(f->kept_sha256, file->sha256,
                                          sizeof f->kept_sha256) == 0;

    if (same)
        f->incoming = f->kept;
    else
        kerf_incoming_abort(f->kept);
    f->kept = NULL;
    return same;
}

bool
kerf_fetch_try_again(kerf_edge *edge, kerf_err err)
{
    kerf_fetcher *f = &edge->fetch;
    const kerf_file *file = &f->wanted[0].manifest.file[f->part];

    if (err != KERF_ECORRUPT || ++f->tries == TRIES_MOST || f->cut ||
        edge->control == NULL)
        return false;
    kerf_log(KERF_LOG_WARN, "edge.part_damaged", "file=%s try=%u", file->name,
             f->tries);
    kerf_edge_tell_state(edge, true,
                         "%s came damaged, asking again for what is wrong",
                         file->name);
    return true;
}

/* What comes. The lengths are within the limits of a PART: kerf_range_get(). */

static uint64_t
plain_of(const kerf_range *m)
{
    return m->codec == KERF_PART_RAW ? m->len : m->plain;
}

static bool
is_next(const kerf_asked *a, const kerf_range *m)
{
    return m->len > 0 && m->part == a->part && m->offset == a->at &&
           plain_of(m) <= a->end - a->at &&
           (m->codec != KERF_PART_RAW || m->len <= KERF_PART_CHUNK) &&
           memcmp(m->bundle, a->bundle, sizeof a->bundle) == 0;
}

static kerf_err
make_room(uint8_t **buffer, size_t *room, size_t len)
{
    uint8_t *bigger;

    if (len <= *room)
        return KERF_OK;
    len = len < KERF_PART_CHUNK ? KERF_PART_CHUNK : len;
    bigger = malloc(len);
    if (bigger == NULL)
        return KERF_ENOMEM;
    free(*buffer);
    *buffer = bigger;
    *room = len;
    return KERF_OK;
}

kerf_err
kerf_fetch_part_head(kerf_edge *edge, const kerf_frame_in *frame,
                     kerf_sink *sink, kerf_detail *why)
{
    kerf_fetcher *f = &edge->fetch;
    kerf_range m;
    kerf_err err = kerf_range_get(&m, frame->meta, frame->header.meta_len, why);

    if (err != KERF_OK)
        return err;
    while (f->asked_count > 0 && f->asked[0].dropped &&
           !is_next(&f->asked[0], &m))
        drop_asked(f); /* the cloud has given it up, too */
    f->unasked = f->asked_count == 0;
    f->dropping = f->unasked || f->asked[0].dropped;
    if (f->dropping) {
        sink->discard = true; /* of a bundle that we gave up */
        sink->count = 1;
        sink->len[0] = m.len;
        return KERF_OK;
    }
    if (!is_next(&f->asked[0], &m))
        return kerf_fail(why, KERF_EPROTO, "PART %u at %llu was not asked for",
                         m.part, (unsigned long long)m.offset);
    err = make_room(&f->chunk, &f->chunk_room, m.len);
    if (err == KERF_OK && m.codec == KERF_PART_KWZ)
        err = make_room(&f->plain, &f->plain_room, m.plain);
    if (err == KERF_OK && m.codec == KERF_PART_KWZ && f->unpacker == NULL)
        err = kerf_block_coder_new(&f->unpacker);
    if (err != KERF_OK)
        return err;
    sink->count = 1;
    sink->piece[0] = f->chunk;
    sink->len[0] = m.len;
    return KERF_OK;
}

static void
tell_progress(kerf_edge *edge, const kerf_file *file, uint64_t got,
              uint64_t wire)
{
    kerf_fetcher *f = &edge->fetch;
    uint64_t now_ns = kerf_now_ns();
    kerf_note *note;

    /* To wake the caller takes as long as a part does. When it is slow, it may
     * miss some of these. */
    if (got < file->size &&
        (now_ns < f->told_ns + TELL_NS || kerf_queue_count(edge->queue) > 64))
        return;
    f->told_ns = now_ns;
    note = kerf_note_new(KERF_NOTE_PROGRESS);
    if (note == NULL)
        return;
    (void)snprintf(note->name, sizeof note->name, "%s", file->name);
    note->got = got;
    note->size = file->size;
    note->wire = wire;
    kerf_edge_tell(edge, note);
}

/* Only what is missing: a cloud that knows no ranges sends other bytes, too. */
static kerf_err
write_missing(kerf_incoming *in, uint64_t offset, const uint8_t *data,
              uint64_t len, kerf_detail *why)
{
    const uint64_t end = offset + len;
    uint64_t at = offset;
    uint64_t some;
    kerf_err err = KERF_OK;

    while (err == KERF_OK) {
        kerf_incoming_missing(in, at, &at, &some);
        if (some == 0 || at >= end)
            break;
        some = some < end - at ? some : end - at;
        err = kerf_incoming_write_at(in, at, data + (at - offset), (size_t)some,
                                     why);
        at += some;
    }
    return err;
}

/* The frame's hash was right: what does not unpack is the cloud's fault. Zeros
 * stand for it, which its unit will be found not to be. */
static kerf_err
write_part(kerf_fetcher *f, const kerf_range *m, kerf_detail *why)
{
    kerf_err err;

    if (m->codec == KERF_PART_RAW)
        return write_missing(f->incoming, m->offset, f->chunk, m->len, why);
    err = kerf_block_decode(f->unpacker, f->plain, m->plain,
                            (kerf_block_kind)m->kind, f->chunk, m->len,
                            m->offset, kerf_incoming_recall, f->incoming);
    if (err == KERF_ENOMEM)
        return kerf_fail(why, err, "no memory to unpack a part");
    if (err != KERF_OK) {
        (void)kerf_fail(&f->damage, err,
                        "%s: the packed block at byte %llu is damaged",
                        f->wanted[0].manifest.file[f->part].name,
                        (unsigned long long)m->offset);
        memset(f->plain, 0, m->plain);
    }
    return write_missing(f->incoming, m->offset, f->plain, m->plain, why);
}

kerf_err
kerf_fetch_part(kerf_edge *edge, const kerf_frame_in *frame, kerf_detail *why)
{
    kerf_fetcher *f = &edge->fetch;
    kerf_range m;
    kerf_err err = kerf_range_get(&m, frame->meta, frame->header.meta_len, why);

    if (err != KERF_OK)
        return err;
    if (!f->dropping)
        err = write_part(f, &m, why);
    if (err == KERF_ENOMEM)
        return err; /* the next session tries again */
    if (!f->unasked) {
        f->asked[0].at += plain_of(&m);
        if (f->asked[0].at == f->asked[0].end)
            drop_asked(f);
    }
    if (err != KERF_OK) {
        kerf_fetch_give_up(edge, err, why->text);
        kerf_fetch_work(edge);
        return KERF_OK; /* the connection is fine */
    }
    if (f->state != KERF_FETCH_RECEIVE)
        return KERF_OK;
    if (!f->dropping) {
        f->part_wire += m.len;
        tell_progress(edge, &f->wanted[0].manifest.file[f->part],
                      kerf_incoming_got(f->incoming), f->part_wire);
    }
    if (!ask_more(edge))
        kerf_fetch_to_loader(edge, KERF_FETCH_COMMIT);
    return KERF_OK;
}

void
kerf_fetch_tell_received(kerf_edge *edge, const kerf_file *file)
{
    kerf_fetcher *f = &edge->fetch;
    kerf_note *note = kerf_note_new(KERF_NOTE_RECEIVED);

    if (note == NULL)
        return;
    (void)snprintf(note->name, sizeof note->name, "%s", file->name);
    note->size = file->size;
    note->wire = f->part_wire;
    note->reused = f->part_counts.reused;
    note->resumed = f->part_counts.resumed;
    note->ns = kerf_now_ns() - f->part_since_ns;
    kerf_edge_tell(edge, note);
}
