/*
 * Receiving heads. A file goes into the store whole or not at all. The
 * reference says nothing about which versions of two files belong together, so
 * a head is loaded when both its files have come since it was last loaded.
 */
#include "legacy/edge.h"

#include "base/clock.h"
#include "base/fs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STEP ((size_t)64 << 10)
#define BOTH ((1u << KERF_ROLE_HEAD_GRAPH) | (1u << KERF_ROLE_HEAD_WEIGHTS))

static void
say(kerf_legacy_edge *edge, bool connected, const char *text)
{
    kerf_legacy_files *f = &edge->files;

    if (strcmp(f->said, text) == 0)
        return;
    (void)snprintf(f->said, sizeof f->said, "%s", text);
    kerf_legacy_edge_state(edge, connected, text);
}

static void
disconnect(kerf_legacy_files *f)
{
    kerf_fd_watch_free(f->watch);
    if (f->fd >= 0)
        (void)close(f->fd);
    f->watch = NULL;
    f->fd = -1;
    kerf_legacy_fini(&f->reader);
    kerf_incoming_abort(f->incoming);
    f->incoming = NULL;
    if (f->stall != NULL)
        kerf_timer_stop(f->stall);
    for (size_t i = 0; i < f->fresh_count; i++)
        f->fresh[i].got = 0; /* all files come again, and belong together */
}

static void
lose(kerf_legacy_edge *edge, kerf_err err, const char *why)
{
    kerf_legacy_files *f = &edge->files;
    char text[sizeof f->said];
    bool is_gone = err == KERF_ECLOSED || err == KERF_EDEADLINE;

    (void)snprintf(text, sizeof text, "%s, trying again: %s",
                   is_gone ? "the cloud that sends models is gone"
                           : "refused what the cloud sends",
                   why[0] != '\0' ? why : kerf_err_text(err));
    disconnect(f);
    f->is_refused = !is_gone;
    say(edge, false, text);
    kerf_legacy_dialler_again(&f->dialler);
}

static void
on_stall(void *ctx)
{
    lose(ctx, KERF_EDEADLINE, "it went silent in the middle of a file");
}

static void
tell_model(kerf_legacy_edge *edge, const char *name, const char *id,
           kerf_err err, const kerf_detail *why)
{
    if (edge->events.model != NULL) {
        edge->events.model(edge->events.ctx, name, id, err,
                           err == KERF_OK         ? ""
                           : why->text[0] != '\0' ? why->text
                                                  : kerf_err_text(err));
    }
}

/* The card that the user gave, or the one in the store, or "". */
static kerf_err
find_card(kerf_legacy_edge *edge, const char *name, char card[KERF_PATH_MAX])
{
    char base[KERF_NAME_MAX + 16];
    kerf_err err;

    if (edge->opts.card != NULL) {
        (void)snprintf(card, KERF_PATH_MAX, "%s", edge->opts.card);
        return KERF_OK;
    }
    (void)snprintf(base, sizeof base, "%s.kerf.json", name);
    err = kerf_path_join(card, edge->opts.store, base);
    if (err == KERF_OK && !kerf_fs_exists(card))
        card[0] = '\0';
    return err;
}

/* A head that cannot be loaded leaves the old one in use. */
static void
load(kerf_legacy_edge *edge, kerf_manifest *m)
{
    kerf_legacy_files *f = &edge->files;
    kerf_legacy_head *h = NULL;
    kerf_legacy_head *unused;
    char card[KERF_PATH_MAX];
    char id[KERF_SHA256_HEX];
    kerf_detail why = {{0}};
    kerf_err err = kerf_manifest_seal(m);

    kerf_hex(id, m->id, sizeof m->id);
    if (err == KERF_OK && strcmp(id, f->loaded_id) == 0)
        return; /* a reconnected cloud sends what is in use already */
    if (err == KERF_OK)
        err = find_card(edge, m->name, card);
    if (err == KERF_OK)
        err = kerf_legacy_head_load(&h, edge->engine, edge->store, m, card,
                                    edge->raw, &why);
    if (err != KERF_OK) {
        tell_model(edge, m->name, id, err, &why);
        if (err == KERF_EINVAL && !edge->raw) /* will not get better */
            kerf_legacy_edge_fail(edge, err, why.text);
        return;
    }
    (void)snprintf(f->wanted, sizeof f->wanted, "%s", m->name);
    (void)snprintf(f->loaded_id, sizeof f->loaded_id, "%s", id);
    f->is_refused = false;
    (void)pthread_mutex_lock(&edge->lock);
    unused = edge->next;
    edge->next = h;
    (void)pthread_cond_broadcast(&edge->changed);
    (void)pthread_mutex_unlock(&edge->lock);
    kerf_legacy_head_free(unused);
    tell_model(edge, m->name, id, KERF_OK, &why); /* from here it is used */
}

/* client_infer_NAME.pdmodel -> NAME and its role. */
static kerf_err
split_name(const char *file, char name[KERF_NAME_MAX], kerf_role *role,
           kerf_detail *why)
{
    char expected[KERF_PART_NAME];
    const char *start = file + strlen("client_infer_");
    const char *end = strrchr(file, '.');
    size_t len = (size_t)(end - start);

    *role = strcmp(end, ".pdmodel") == 0 ? KERF_ROLE_HEAD_GRAPH
                                         : KERF_ROLE_HEAD_WEIGHTS;
    if (len < KERF_NAME_MAX) {
        (void)snprintf(name, KERF_NAME_MAX, "%.*s", (int)len, start);
        if (kerf_role_file(expected, *role, KERF_FORMAT_PADDLE, name) &&
            strcmp(expected, file) == 0)
            return KERF_OK;
    }
    return kerf_fail(why, KERF_EPROTO,
                     "legacy file %s: not a name that Kerf stores (too long, "
                     "or the model's name starts with a dot)",
                     file);
}

static kerf_legacy_fresh *
find_fresh(kerf_legacy_files *f, const char *name)
{
    kerf_manifest *m;

    for (size_t i = 0; i < f->fresh_count; i++) {
        if (strcmp(f->fresh[i].manifest.name, name) == 0)
            return &f->fresh[i];
    }
    if (f->fresh_count == KERF_LEGACY_HEADS_MAX)
        return NULL;
    m = &f->fresh[f->fresh_count].manifest;
    (void)snprintf(m->name, sizeof m->name, "%s", name);
    m->format = KERF_FORMAT_PADDLE;
    m->file_count = 2;
    m->probe_tolerance = KERF_PROBE_TOLERANCE;
    return &f->fresh[f->fresh_count++];
}

static kerf_err
note_file(kerf_legacy_edge *edge, const kerf_file *file, kerf_detail *why)
{
    kerf_legacy_files *f = &edge->files;
    char name[KERF_NAME_MAX];
    kerf_role role;
    kerf_legacy_fresh *fresh;
    kerf_err err = split_name(file->name, name, &role, why);

    if (err != KERF_OK)
        return err;
    fresh = find_fresh(f, name);
    if (fresh == NULL)
        return kerf_fail(why, KERF_ETOOBIG, "more than %d models came",
                         KERF_LEGACY_HEADS_MAX);
    fresh->manifest.file[role == KERF_ROLE_HEAD_GRAPH ? 0 : 1] = *file;
    fresh->got |= 1u << role;
    if (fresh->got != BOTH)
        return KERF_OK;
    fresh->got = 0;
    if (f->wanted[0] == '\0' || strcmp(f->wanted, name) == 0)
        load(edge, &fresh->manifest);
    return KERF_OK;
}

static kerf_err
begin_file(kerf_legacy_edge *edge, kerf_detail *why)
{
    kerf_legacy_files *f = &edge->files;
    kerf_file file = {.size = f->message.len};
    char name[KERF_NAME_MAX];
    kerf_err err = split_name(f->message.name, name, &file.role, why);

    (void)snprintf(file.name, sizeof file.name, "%s", f->message.name);
    f->since_ns = kerf_now_ns();
    if (err == KERF_OK)
        err = kerf_incoming_open_plain(&f->incoming, edge->store, &file, why);
    return err;
}

static kerf_err
end_file(kerf_legacy_edge *edge, kerf_detail *why)
{
    kerf_legacy_files *f = &edge->files;
    kerf_file file = {.size = f->message.len};
    char name[KERF_NAME_MAX];
    kerf_incoming *incoming = f->incoming;
    kerf_err err = split_name(f->message.name, name, &file.role, why);

    (void)snprintf(file.name, sizeof file.name, "%s", f->message.name);
    f->incoming = NULL;
    if (err == KERF_OK)
        err = kerf_incoming_accept(incoming, file.sha256, why);
    else
        kerf_incoming_abort(incoming);
    if (err != KERF_OK)
        return err;
    if (edge->events.received != NULL) {
        edge->events.received(
            edge->events.ctx,
            &(kerf_edge_file){.name = file.name,
                              .size = file.size,
                              .wire = file.size,
                              .ns = kerf_now_ns() - f->since_ns});
    }
    return note_file(edge, &file, why);
}

/* As much as is there now, one step. */
static kerf_err
read_payload(kerf_legacy_edge *edge, kerf_detail *why)
{
    kerf_legacy_files *f = &edge->files;
    uint8_t step[STEP];
    uint64_t at = kerf_incoming_got(f->incoming);
    uint64_t left = f->message.len - at;
    size_t got = 0;
    kerf_err err;

    if (left == 0)
        return KERF_OK;
    err = kerf_legacy_recv(f->fd, step, left < STEP ? (size_t)left : STEP, &got,
                           why);
    if (err == KERF_ECLOSED) {
        (void)kerf_fail_in(why, err, "%s: after %llu of %llu bytes",
                           f->message.name,
                           (unsigned long long)(f->message.len - left),
                           (unsigned long long)f->message.len);
    }
    if (err == KERF_OK)
        err = kerf_incoming_write_at(f->incoming, at, step, got, why);
    if (err == KERF_OK)
        kerf_incoming_hash(f->incoming, at, step, got);
    if (err == KERF_OK && edge->events.progress != NULL)
        edge->events.progress(edge->events.ctx, f->message.name,
                              kerf_incoming_got(f->incoming), f->message.len,
                              kerf_incoming_got(f->incoming));
    return err;
}

static void
on_ready(void *ctx, bool readable, bool writable)
{
    kerf_legacy_edge *edge = ctx;
    kerf_legacy_files *f = &edge->files;
    kerf_detail why = {{0}};
    kerf_err err;

    (void)readable;
    (void)writable;
    if (f->incoming == NULL) {
        err = kerf_legacy_read_head(f->fd, &f->reader, &f->message, &why);
        if (err == KERF_OK)
            err = begin_file(edge, &why);
    } else {
        err = read_payload(edge, &why);
    }
    if (err == KERF_OK && kerf_incoming_got(f->incoming) == f->message.len)
        err = end_file(edge, &why);
    if (err != KERF_OK && err != KERF_EAGAIN) {
        lose(edge, err, why.text);
        return;
    }
    if (f->incoming != NULL || !kerf_legacy_idle(&f->reader))
        kerf_timer_start(f->stall, (uint64_t)edge->opts.stall_ms, 0);
    else
        kerf_timer_stop(f->stall);
}

static void
on_up(void *ctx, int fd)
{
    kerf_legacy_edge *edge = ctx;
    kerf_legacy_files *f = &edge->files;
    char peer[64];
    char text[128];

    kerf_legacy_init(&f->reader, KERF_LEGACY_FILE, KERF_MODEL_BYTES_MAX);
    f->fd = fd;
    if (kerf_fd_watch_new(&f->watch, edge->loop, fd, on_ready, edge) !=
        KERF_OK) {
        lose(edge, KERF_ENOMEM, "no memory");
        return;
    }
    kerf_fd_watch_set(f->watch, true, false);
    if (f->is_refused)
        return; /* it may well send the same again: not worth a line */
    (void)snprintf(text, sizeof text, "connected to the cloud %s",
                   kerf_peer_text(peer, fd));
    say(edge, true, text);
}

static void
on_down(void *ctx, const char *why)
{
    kerf_legacy_edge *edge = ctx;
    char text[sizeof edge->files.said];

    (void)snprintf(text, sizeof text, "waiting for the cloud at %s:%d (%s)",
                   edge->opts.host, edge->opts.port, why);
    edge->files.is_refused = false;
    say(edge, false, text);
}

kerf_err
kerf_legacy_files_start(kerf_legacy_edge *edge)
{
    kerf_legacy_files *f = &edge->files;
    kerf_err err = kerf_timer_new(&f->stall, edge->loop, on_stall, edge);

    f->dialler =
        (kerf_legacy_dialler){.loop = edge->loop,
                              .host = edge->opts.host,
                              .port = edge->opts.port,
                              .retry_ms = (uint64_t)edge->opts.retry_ms,
                              .up = on_up,
                              .down = on_down,
                              .ctx = edge};
    if (edge->opts.model != NULL)
        (void)snprintf(f->wanted, sizeof f->wanted, "%s", edge->opts.model);
    if (err == KERF_OK)
        err = kerf_legacy_dialler_start(&f->dialler);
    return err;
}

void
kerf_legacy_files_close(kerf_legacy_edge *edge)
{
    disconnect(&edge->files);
    kerf_legacy_dialler_stop(&edge->files.dialler);
    kerf_timer_free(edge->files.stall);
    edge->files.stall = NULL;
}
