/*
 * The loader's thread: what of receiving a model touches the disk at length, or
 * compiles. f is the loop's, but not while the loader has it.
 */
#include "edge/fetch_own.h"

#include "base/thread.h"
#include "edge/trusted.h"

#include <string.h>

static void
check_parts(kerf_edge *edge, kerf_fetcher *f)
{
    const kerf_manifest *m = &f->wanted[0].manifest;

    f->err = kerf_fetch_expand(&f->wanted[0], &f->why);
    if (f->err == KERF_OK)
        f->err = kerf_trusted_check(edge, &f->wanted[0], &f->says, &f->why);
    if (f->err == KERF_OK && !f->wanted[0].stored)
        f->err = kerf_store_begin(edge->store, m, f->tails, &f->why);
    if (f->err != KERF_OK)
        return;
    for (size_t i = 0; i < m->file_count; i++) {
        if (kerf_role_is_shipped(m->file[i].role, f->tails) &&
            !kerf_store_has(edge->store, &m->file[i]))
            f->missing |= 1u << i;
    }
}

/* Whether a file of the same bytes is open: when that is whole, this one will
 * be, too. */
static bool
has_twin(const kerf_fetcher *f, const kerf_manifest *m, size_t part)
{
    for (size_t i = 0; i < part; i++) {
        if (f->file[i].incoming != NULL &&
            memcmp(m->file[i].sha256, m->file[part].sha256,
                   sizeof m->file[i].sha256) == 0)
            return true;
    }
    return false;
}

/* All that are missing, so that one can be asked for while the one before still
 * comes. */
static void
open_parts(kerf_edge *edge, kerf_fetcher *f)
{
    const kerf_manifest *m = &f->wanted[0].manifest;

    for (size_t i = 0; i < m->file_count; i++) {
        if (f->missing >> i & 1)
            f->file[i].incoming = kerf_fetch_take_kept(f, &m->file[i]);
    }
    kerf_fetch_drop_kept(f);
    for (size_t i = 0; i < m->file_count && f->err == KERF_OK; i++) {
        if ((f->missing >> i & 1) != 0 && f->file[i].incoming == NULL &&
            !has_twin(f, m, i))
            f->err = kerf_incoming_open(&f->file[i].incoming, edge->store,
                                        &m->file[i], &f->why);
    }
}

/* Of this cloud, or of an earlier one that shared it. */
static bool
has_tail(kerf_edge *edge, const kerf_manifest *m)
{
    bool has = edge->opts.offline == KERF_OFFLINE_LOCAL;

    for (size_t i = 0; has && i < m->file_count; i++)
        has = kerf_role_is_shipped(m->file[i].role, false) ||
              kerf_store_has(edge->store, &m->file[i]);
    return has;
}

static kerf_err
load_program(kerf_edge *edge, kerf_fetcher *f)
{
    const kerf_manifest *m = &f->wanted[0].manifest;
    bool tail = has_tail(edge, m);
    kerf_pair pair = {0};
    kerf_err err = kerf_program_read(&f->program, &pair, edge->store, m,
                                     edge->raw, tail, &f->why);

    if (err == KERF_OK) {
        atomic_store(&edge->compiling, true);
        err = kerf_program_compile(f->program, edge->engine, &pair, tail,
                                   (size_t)edge->opts.window, &f->why);
        atomic_store(&edge->compiling, false);
    }
    kerf_pair_fini(&pair);
    return err;
}

static void
load(kerf_edge *edge, kerf_fetcher *f)
{
    const kerf_manifest *m = &f->wanted[0].manifest;

    /* Again: it may have taken hours to come. */
    f->err = kerf_trusted_check(edge, &f->wanted[0], &f->says, &f->why);
    if (f->err == KERF_OK && f->wanted[0].run)
        f->err = load_program(edge, f);
    if (f->err == KERF_OK)
        f->err = kerf_store_finish(edge->store, m, &f->why);
    if (f->err == KERF_OK && f->program != NULL) {
        /* Only what runs is the latest of the store: after a restart without a
         * cloud the one before it goes on. */
        kerf_store_use(edge->store, m->id);
        f->program->says = f->says;
        f->err = kerf_trusted_ran(edge, &f->says, &f->why);
    }
    if (f->err == KERF_OK)
        return;
    kerf_program_free(f->program);
    f->program = NULL;
}

/* The bytes are those that run; what is said of them changed. */
static void
renew(kerf_edge *edge, kerf_fetcher *f)
{
    f->err = kerf_fetch_expand(&f->wanted[0], &f->why);
    if (f->err == KERF_OK)
        f->err = kerf_trusted_check(edge, &f->wanted[0], &f->says, &f->why);
    if (f->err == KERF_OK)
        f->err =
            kerf_store_finish(edge->store, &f->wanted[0].manifest, &f->why);
    if (f->err == KERF_OK)
        f->err = kerf_trusted_ran(edge, &f->says, &f->why);
}

void *
kerf_loader_run(void *ctx)
{
    kerf_edge *edge = ctx;
    kerf_fetcher *f;

    kerf_thread_begin("kerf-loader");
    while ((f = kerf_queue_pop(edge->loads)) != NULL) {
        f->err = KERF_OK;
        f->why.text[0] = '\0';
        f->program = NULL;
        switch (f->state) {
        case KERF_FETCH_CHECK:
            check_parts(edge, f);
            break;
        case KERF_FETCH_OPEN:
            open_parts(edge, f);
            break;
        case KERF_FETCH_RENEW:
            renew(edge, f);
            break;
        default:
            load(edge, f);
            break;
        }
        f->done = (kerf_post){.fn = kerf_fetch_on_loader, .ctx = edge};
        kerf_loop_post(edge->loop, &f->done);
    }
    return NULL;
}
