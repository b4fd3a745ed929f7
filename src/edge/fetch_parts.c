/*
 * A file of a model coming in.
 */
#include "edge/fetch_own.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(KERF_PART_BLOCK == KERF_BLOCK_MOST, "docs/PROTOCOL.md says it");

void
kerf_fetch_ask(kerf_edge *edge)
{
    kerf_fetcher *f = &edge->fetch;
    kerf_manifest *m = &f->wanted[0].manifest;
    kerf_detail why = {{0}};
    kerf_range ask = {0};
    uint8_t meta[64];
    uint64_t run;
    kerf_err err;

    err =
        kerf_incoming_open(&f->incoming, edge->store, &m->file[f->part], &why);
    if (err != KERF_OK) {
        kerf_fetch_give_up(edge, err, why.text);
        return;
    }
    f->state = KERF_FETCH_RECEIVE;
    f->part_since_ns = kerf_now_ns();
    f->part_wire = 0;
    kerf_incoming_missing(f->incoming, 0, &f->part_at, &run);
    if (run == 0) { /* all of it was there */
        kerf_fetch_to_loader(edge, KERF_FETCH_COMMIT);
        return;
    }
    memcpy(ask.bundle, m->id, sizeof ask.bundle);
    ask.part = (uint16_t)f->part;
    ask.offset = f->part_at;
    (void)!kerf_conn_send_meta(edge->control, KERF_FRAME_FETCH, 0, meta,
                               kerf_range_put(meta, sizeof meta, &ask));
}

/* The lengths are within the limits of a PART: kerf_range_get(). */
static bool
is_next(const kerf_fetcher *f, const kerf_range *m)
{
    uint64_t left = f->wanted[0].manifest.file[f->part].size - f->part_at;

    if (m->part != f->part || m->offset != f->part_at || m->len == 0)
        return false;
    return m->codec == KERF_PART_RAW ? m->len <= KERF_PART_CHUNK
                                     : m->plain <= left;
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
    if (f->state != KERF_FETCH_RECEIVE || f->incoming == NULL ||
        memcmp(m.bundle, f->wanted[0].manifest.id, sizeof m.bundle) != 0) {
        f->dropping = sink->discard = true; /* of a bundle that we gave up */
        sink->count = 1;
        sink->len[0] = m.len;
        return KERF_OK;
    }
    f->dropping = false;
    if (!is_next(f, &m))
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
    kerf_note *note;

    if (kerf_queue_count(edge->queue) > 64 && got < file->size)
        return; /* the caller is slow: it may miss some of these */
    note = kerf_note_new(KERF_NOTE_PROGRESS);
    if (note == NULL)
        return;
    (void)snprintf(note->name, sizeof note->name, "%s", file->name);
    note->got = got;
    note->size = file->size;
    note->wire = wire;
    kerf_edge_tell(edge, note);
}

/* The next bytes of the part, some of which may be there already. */
static kerf_err
put(kerf_fetcher *f, const uint8_t *data, size_t len, kerf_detail *why)
{
    const kerf_file *file = &f->wanted[0].manifest.file[f->part];
    uint64_t end = f->part_at + len;
    kerf_err err = KERF_OK;

    if (end > file->size)
        return kerf_fail(why, KERF_ETOOBIG,
                         "%s: more than the %llu bytes of the manifest",
                         file->name, (unsigned long long)file->size);
    while (err == KERF_OK && f->part_at < end) {
        uint64_t offset, run;

        kerf_incoming_missing(f->incoming, f->part_at, &offset, &run);
        if (run == 0 || offset >= end) {
            f->part_at = end;
            break;
        }
        data += offset - f->part_at;
        run = run < end - offset ? run : end - offset;
        err =
            kerf_incoming_write_at(f->incoming, offset, data, (size_t)run, why);
        data += run;
        f->part_at = offset + run;
    }
    return err;
}

/* The frame's hash was right: what does not unpack is the cloud's fault. */
static kerf_err
write_part(kerf_fetcher *f, const kerf_range *m, kerf_detail *why)
{
    kerf_err err;

    if (m->codec == KERF_PART_RAW)
        return put(f, f->chunk, m->len, why);
    err = kerf_block_decode(f->unpacker, f->plain, m->plain,
                            (kerf_block_kind)m->kind, f->chunk, m->len,
                            m->offset, kerf_incoming_recall, f->incoming);
    if (err == KERF_ENOMEM)
        return kerf_fail(why, err, "no memory to unpack a part");
    if (err != KERF_OK) {
        return kerf_fail(why, err,
                         "%s: the packed block at byte %llu is damaged",
                         f->wanted[0].manifest.file[f->part].name,
                         (unsigned long long)m->offset);
    }
    return put(f, f->plain, m->plain, why);
}

kerf_err
kerf_fetch_part(kerf_edge *edge, const kerf_frame_in *frame, kerf_detail *why)
{
    kerf_fetcher *f = &edge->fetch;
    const kerf_file *file;
    kerf_range m;
    kerf_err err = kerf_range_get(&m, frame->meta, frame->header.meta_len, why);

    if (err != KERF_OK || f->dropping)
        return err;
    file = &f->wanted[0].manifest.file[f->part];
    err = write_part(f, &m, why);
    if (err == KERF_ENOMEM)
        return err; /* the next session tries again */
    if (err != KERF_OK) {
        kerf_fetch_give_up(edge, err, why->text);
        kerf_fetch_work(edge);
        return KERF_OK; /* the connection is fine */
    }
    f->part_wire += m.len;
    tell_progress(edge, file, kerf_incoming_got(f->incoming), f->part_wire);
    if (f->part_at == file->size)
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
    note->ns = kerf_now_ns() - f->part_since_ns;
    kerf_edge_tell(edge, note);
}
