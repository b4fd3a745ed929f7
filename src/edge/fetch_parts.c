/*
 * The files of a model coming in. What is missing of them is asked for in
 * order, in ranges, several at a time, so that neither small holes nor the end
 * of a file cost a round trip. The cloud answers in order: asked[0] is the one
 * that comes now. What comes is handed to the writer.
 *
 * What comes damaged is not seen before the file is whole. Then its units tell
 * which bytes they were, and those alone are asked for again.
 */
#include "edge/link_own.h"
#include "edge/fetch_own.h"

#include "base/clock.h"
#include "base/log.h"
#include "codec/block.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of all ranges that are under way, to here or to the disk: as much as comes in
 * four round trips and 20 ms, so that the link is full also while what is known
 * of its rate is rising; but in no more than two seconds. What is given up
 * comes in vain, what a busy edge has not read yet comes again after a break,
 * and a slow disk must not fill the memory. One range has half of it, or one
 * unit. */
#define UNDER_WAY_TRIPS 4
#define UNDER_WAY_AND_NS 2e7
#define UNDER_WAY_NS 2e9
#define UNDER_WAY_FIRST ((uint64_t)8 << 20) /* until a reply came */
#define UNDER_WAY_LEAST 2097152
#define UNDER_WAY_LEAST_RATE 0.005 /* and 40 Mbit/s, until more is known */
#define UNDER_WAY_MOST ((uint64_t)32 << 20)
#define TELL_NS 20000000u /* progress, no more often */
#define TRIES_MOST 3      /* of a file that comes damaged */

_Static_assert(KERF_PART_BLOCK == KERF_BLOCK_MOST, "docs/PROTOCOL.md says it");

/* Asking. */

/* The time of a file begins when that of the one before it ends. */
static void
begin_first(kerf_fetcher *f)
{
    const kerf_asked *a = &f->asked[0];

    if (f->asked_count > 0 && !a->dropped && f->file[a->part].since_ns == 0)
        f->file[a->part].since_ns = kerf_now_ns();
}

static void
drop_asked(kerf_fetcher *f)
{
    f->asked_count--;
    memmove(&f->asked[0], &f->asked[1], f->asked_count * sizeof f->asked[0]);
    begin_first(f);
}

static bool
is_asked(const kerf_fetcher *f, size_t part)
{
    for (size_t i = 0; i < f->asked_count; i++) {
        if (!f->asked[i].dropped && f->asked[i].part == part)
            return true;
    }
    return false;
}

/* Where a range that begins at `at` is to end, at the latest: with a unit,
 * since packed blocks end there, too. */
static uint64_t
last_end(const kerf_file *file, uint64_t at, uint64_t most)
{
    uint64_t end = 0;
    uint64_t best = 0;

    for (size_t i = 0; i < file->unit_count; i++) {
        end += file->unit[i].len;
        if (end > at + most && best > at)
            break;
        best = end;
    }
    return best > at ? best : at + most;
}

uint64_t
kerf_fetch_under_way(uint64_t came, uint64_t ns, uint64_t reply_ns)
{
    double for_ns = (double)reply_ns * UNDER_WAY_TRIPS + UNDER_WAY_AND_NS;
    double bytes;

    if (reply_ns == 0)
        return UNDER_WAY_FIRST;
    if (for_ns > UNDER_WAY_NS)
        for_ns = UNDER_WAY_NS;
    bytes = (double)came / ((double)ns + 1) * for_ns;
    if (bytes < UNDER_WAY_LEAST + for_ns * UNDER_WAY_LEAST_RATE)
        bytes = UNDER_WAY_LEAST + for_ns * UNDER_WAY_LEAST_RATE;
    return bytes < UNDER_WAY_MOST ? (uint64_t)bytes : UNDER_WAY_MOST;
}

static uint64_t
may_be_under_way(const kerf_fetcher *f)
{
    return kerf_fetch_under_way(f->came_bytes, kerf_now_ns() - f->came_since_ns,
                                f->reply_ns);
}

static uint64_t
under_way(const kerf_fetcher *f)
{
    uint64_t bytes = kerf_writer_bytes(f->writer);

    for (size_t i = 0; i < f->asked_count; i++)
        bytes += f->asked[i].dropped ? 0 : f->asked[i].end - f->asked[i].at;
    return bytes;
}

static bool
knows_ranges(const kerf_edge *edge)
{
    return (edge->welcome.features & KERF_FEATURE_RANGES) != 0;
}

/* A cloud that knows no ranges sends all that follows. Returns what is not
 * asked for yet. */
static uint64_t
ask(kerf_edge *edge, size_t part, uint64_t offset, uint64_t len)
{
    kerf_fetcher *f = &edge->fetch;
    const kerf_manifest *m = &f->wanted[0].manifest;
    kerf_range range = {.part = (uint16_t)part, .offset = offset};
    kerf_asked *a = &f->asked[f->asked_count++];
    bool ranges = knows_ranges(edge);
    uint64_t most = may_be_under_way(f) / 2;
    uint8_t meta[64];

    if (len > most)
        len = last_end(&m->file[part], offset, most) - offset;
    *a = (kerf_asked){.part = range.part, .at = offset};
    a->end = ranges ? offset + len : m->file[part].size;
    range.len = ranges ? (uint32_t)len : 0;
    memcpy(a->bundle, m->id, sizeof a->bundle);
    memcpy(range.bundle, m->id, sizeof range.bundle);
    begin_first(f);
    (void)!kerf_conn_send_meta(edge->control, KERF_FRAME_FETCH, 0, meta,
                               kerf_range_put(meta, sizeof meta, &range));
    return a->end;
}

/* False: no more may be asked for now. */
static bool
ask_for_file(kerf_edge *edge, size_t part)
{
    kerf_fetcher *f = &edge->fetch;
    kerf_arrival *a = &f->file[part];
    uint64_t offset;
    uint64_t len;

    while (!a->asked) {
        kerf_incoming_missing(a->incoming, a->ask_from, &offset, &len);
        a->asked = len == 0;
        if (a->asked)
            break;
        if (f->asked_count == KERF_ASKED_MAX ||
            under_way(f) > may_be_under_way(f) / 2) /* no room for one */
            return false;
        a->ask_from = ask(edge, part, offset, len);
    }
    return knows_ranges(edge) || f->asked_count == 0;
}

/* Has what is whole published. False: no memory. */
static bool
give_whole(kerf_fetcher *f, size_t part)
{
    kerf_arrival *a = &f->file[part];
    kerf_chunk *c;

    if (!a->asked || a->given || is_asked(f, part))
        return true;
    c = kerf_writer_chunk(f->writer, 0);
    if (c == NULL)
        return false;
    c->in = a->incoming;
    c->part = part;
    c->commit = true;
    a->given = true;
    if (!kerf_writer_give(f->writer, c))
        kerf_writer_recycle(f->writer, c); /* stopping */
    return true;
}

/* Asks for as much as may be under way, and ends with what has come. */
static void
go_on(kerf_edge *edge)
{
    kerf_fetcher *f = &edge->fetch;
    bool may_ask = true;
    bool open = false;

    for (size_t i = 0; i < KERF_PARTS_MAX; i++) {
        if (f->file[i].incoming == NULL)
            continue;
        open = true;
        may_ask = may_ask && ask_for_file(edge, i);
        if (!give_whole(f, i)) {
            kerf_fetch_give_up(edge, KERF_ENOMEM, "out of memory");
            return;
        }
    }
    if (!open) {
        kerf_writer_trim(f->writer);
        kerf_fetch_on_whole(edge);
    }
}

void
kerf_fetch_receive(kerf_edge *edge)
{
    kerf_fetcher *f = &edge->fetch;

    f->state = KERF_FETCH_RECEIVE;
    f->came_bytes = f->reply_ns = 0;
    f->came_since_ns = kerf_now_ns();
    for (size_t i = 0; i < KERF_PARTS_MAX; i++) {
        kerf_arrival *a = &f->file[i];

        if (a->incoming == NULL)
            continue;
        a->ask_from = 0;
        a->asked = a->given = a->damaged = false;
        if (a->tries > 0)
            continue;
        a->wire = 0;
        a->before = kerf_incoming_count(a->incoming);
        a->before.resumed += a->before.received;
    }
    go_on(edge);
}

/* Ends. */

/* Memory that was kept for what comes next goes, too. */
static void
end_now(kerf_edge *edge)
{
    kerf_fetcher *f = &edge->fetch;

    kerf_writer_skip(f->writer, false);
    kerf_writer_no_hash(f->writer, false);
    kerf_writer_trim(f->writer);
    kerf_fetch_on_ended(edge);
}

void
kerf_fetch_end_early(kerf_edge *edge, kerf_fetch_end end)
{
    kerf_fetcher *f = &edge->fetch;

    f->state = KERF_FETCH_DRAIN;
    f->end = end;
    f->dropping =
        true; /* what is being read: the next bundle may begin first */
    for (size_t i = 0; i < f->asked_count; i++)
        f->asked[i].dropped = true;
    kerf_writer_skip(f->writer, end == KERF_FETCH_END_DROP);
    kerf_writer_no_hash(f->writer, end == KERF_FETCH_END_LEAVE);
    if (kerf_writer_count(f->writer) == 0)
        end_now(edge);
}

void
kerf_fetch_drop_reading(kerf_fetcher *f)
{
    kerf_writer_recycle(f->writer, f->reading);
    f->reading = NULL;
}

void
kerf_fetch_drop_parts(kerf_fetcher *f)
{
    for (size_t i = 0; i < KERF_PARTS_MAX; i++) {
        kerf_incoming_abort(f->file[i].incoming);
        f->file[i].incoming = NULL;
    }
}

void
kerf_fetch_drop_kept(kerf_fetcher *f)
{
    for (size_t i = 0; i < KERF_PARTS_MAX; i++) {
        kerf_incoming_abort(f->kept[i].incoming);
        f->kept[i].incoming = NULL;
    }
}

void
kerf_fetch_keep(kerf_fetcher *f)
{
    kerf_fetch_drop_kept(f);
    for (size_t i = 0; i < KERF_PARTS_MAX; i++) {
        f->kept[i].incoming = f->file[i].incoming;
        f->file[i].incoming = NULL;
        memcpy(f->kept[i].sha256, f->wanted[0].manifest.file[i].sha256,
               sizeof f->kept[i].sha256);
    }
}

kerf_incoming *
kerf_fetch_take_kept(kerf_fetcher *f, const kerf_file *file)
{
    for (size_t i = 0; i < KERF_PARTS_MAX; i++) {
        kerf_incoming *in = f->kept[i].incoming;

        if (in == NULL ||
            memcmp(f->kept[i].sha256, file->sha256, sizeof file->sha256) != 0)
            continue;
        f->kept[i].incoming = NULL;
        return in;
    }
    return NULL;
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

kerf_err
kerf_fetch_part_head(kerf_edge *edge, const kerf_frame_in *frame,
                     kerf_sink *sink, kerf_detail *why)
{
    kerf_fetcher *f = &edge->fetch;
    kerf_range m;
    kerf_err err = kerf_range_get(&m, frame->meta, frame->header.meta_len, why);

    if (err != KERF_OK)
        return err;
    f->full = kerf_writer_is_full(f->writer);
    if (f->full)
        return KERF_EAGAIN;
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
    kerf_fetch_drop_reading(f);
    f->reading = kerf_writer_chunk(f->writer, m.len);
    if (f->reading == NULL)
        return KERF_ENOMEM;
    if (f->reply_ns == 0)
        f->reply_ns = kerf_now_ns() - f->came_since_ns;
    f->reading->m = m;
    sink->count = 1;
    sink->piece[0] = f->reading->data;
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

kerf_err
kerf_fetch_part(kerf_edge *edge, const kerf_frame_in *frame, kerf_detail *why)
{
    kerf_fetcher *f = &edge->fetch;
    kerf_chunk *c;
    kerf_range m;
    kerf_err err = kerf_range_get(&m, frame->meta, frame->header.meta_len, why);

    if (err != KERF_OK)
        return err;
    if (!f->unasked) {
        f->asked[0].at += plain_of(&m);
        if (f->asked[0].at == f->asked[0].end)
            drop_asked(f);
    }
    if (f->state != KERF_FETCH_RECEIVE || f->dropping)
        kerf_fetch_drop_reading(f);
    if (f->state != KERF_FETCH_RECEIVE)
        return KERF_OK;
    if (!f->dropping) {
        c = f->reading;
        f->reading = NULL;
        f->came_bytes += plain_of(&m);
        c->part = m.part;
        c->in = f->file[m.part].incoming;
        f->file[m.part].wire += m.len;
        if (!kerf_writer_give(f->writer, c))
            f->reading = c; /* stopping */
    }
    go_on(edge);
    return KERF_OK;
}

/* What the writer has done. */

static bool
try_again(kerf_edge *edge, size_t part)
{
    kerf_fetcher *f = &edge->fetch;
    const char *name = f->wanted[0].manifest.file[part].name;

    if (++f->file[part].tries == TRIES_MOST)
        return false;
    kerf_log(KERF_LOG_WARN, "edge.part_damaged", "file=%s try=%u", name,
             f->file[part].tries);
    kerf_edge_tell_state(
        edge, true, "%s came damaged, asking again for what is wrong", name);
    return true;
}

static void
tell_received(kerf_edge *edge, size_t part)
{
    const kerf_arrival *a = &edge->fetch.file[part];
    const kerf_file *file = &edge->fetch.wanted[0].manifest.file[part];
    kerf_note *note = kerf_note_new(KERF_NOTE_RECEIVED);

    if (note == NULL)
        return;
    (void)snprintf(note->name, sizeof note->name, "%s", file->name);
    note->size = file->size;
    note->wire = a->wire;
    note->reused = a->before.reused;
    note->resumed = a->before.resumed;
    note->ns = a->since_ns != 0 ? kerf_now_ns() - a->since_ns : 0;
    kerf_edge_tell(edge, note);
}

static void
on_published(kerf_edge *edge, const kerf_chunk *c)
{
    kerf_fetcher *f = &edge->fetch;
    kerf_arrival *a = &f->file[c->part];

    a->incoming = NULL;
    if (c->err == KERF_OK) {
        f->missing &= ~(1u << c->part);
        tell_received(edge, c->part);
    } else if (f->state == KERF_FETCH_RECEIVE &&
               (c->err != KERF_ECORRUPT || !try_again(edge, c->part))) {
        kerf_fetch_give_up(edge, c->err,
                           a->damaged ? a->damage.text : c->why.text);
    }
}

static void
on_bytes(kerf_edge *edge, kerf_chunk *c)
{
    kerf_fetcher *f = &edge->fetch;
    kerf_arrival *a = &f->file[c->part];
    const kerf_file *file = &f->wanted[0].manifest.file[c->part];

    if (f->state != KERF_FETCH_RECEIVE)
        return;
    if (c->err == KERF_ENOMEM) {
        kerf_link_down(edge, c->why.text); /* the next session tries again */
        return;
    }
    if (c->err != KERF_OK) {
        kerf_fetch_give_up(edge, c->err, c->why.text);
        return;
    }
    if (c->damaged && !a->damaged)
        (void)kerf_fail(&a->damage, KERF_ECORRUPT,
                        "%s: the packed block at byte %llu is damaged",
                        file->name, (unsigned long long)c->m.offset);
    a->damaged |= c->damaged;
    tell_progress(edge, file, c->got, a->wire);
}

void
kerf_fetch_on_written(void *ctx)
{
    kerf_edge *edge = ctx;
    kerf_fetcher *f = &edge->fetch;
    kerf_chunk *c;

    while ((c = kerf_writer_take(f->writer)) != NULL) {
        if (c->commit)
            on_published(edge, c);
        else
            on_bytes(edge, c);
        kerf_writer_recycle(f->writer, c);
    }
    if (f->state == KERF_FETCH_RECEIVE)
        go_on(edge);
    else if (f->state == KERF_FETCH_DRAIN && kerf_writer_count(f->writer) == 0)
        end_now(edge);
    if (f->full && edge->control != NULL && !kerf_writer_is_full(f->writer)) {
        f->full = false;
        kerf_conn_resume(edge->control);
    }
}
