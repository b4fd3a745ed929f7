#include "edge/fetch_writer.h"

#include "base/clock.h"
#include "base/large.h"
#include "base/queue.h"
#include "base/thread.h"
#include "codec/block.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define CHUNKS_MOST 1024 /* of bytes: small ones, where units are small */
#define SMALL ((size_t)64 << 10) /* malloc() is as fast */
/* Of KERF_PART_CHUNK, in one memory, which is filled again and again: 8 MB, in
 * huge pages where there are such. */
#define POOL_CHUNKS 32
#define POOL_STEP (sizeof(kerf_chunk) + KERF_PART_CHUNK)

_Static_assert(POOL_STEP % _Alignof(kerf_chunk) == 0, "they lie in a row");

struct kerf_writer {
    kerf_queue *todo, *written, *done;
    kerf_loop *loop;
    kerf_post wrote;
    pthread_t thread, hash_thread;
    bool runs, hash_runs;
    _Atomic bool skip, no_hash;
    /* The loop's. */
    size_t count;
    uint64_t bytes;
    uint8_t *pool;                  /* or NULL */
    kerf_chunk *spare[POOL_CHUNKS]; /* of it; the last one was used last */
    size_t spare_count;
    bool trim_wanted; /* when the last one is back */
    /* The writing thread's. */
    kerf_block_coder *unpacker;
    uint8_t *plain;
    size_t plain_room;
};

/* Of the file. */
static uint32_t
bytes_of(const kerf_chunk *c)
{
    return c->commit ? 0 : c->m.codec == KERF_PART_RAW ? c->m.len : c->m.plain;
}

/* The writing thread. */

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

static kerf_err
get_ready_to_unpack(kerf_writer *w, size_t len)
{
    if (w->plain_room < len) {
        free(w->plain);
        w->plain_room = len < KERF_PART_CHUNK ? KERF_PART_CHUNK : len;
        w->plain = malloc(w->plain_room);
    }
    if (w->plain == NULL) {
        w->plain_room = 0;
        return KERF_ENOMEM;
    }
    return w->unpacker != NULL ? KERF_OK : kerf_block_coder_new(&w->unpacker);
}

/* The frame's hash was right: what does not unpack is the cloud's fault. Zeros
 * stand for it, which its unit will be found not to be. */
static kerf_err
write_packed(kerf_writer *w, kerf_chunk *c)
{
    const kerf_range *m = &c->m;
    kerf_err err = get_ready_to_unpack(w, m->plain);

    if (err == KERF_OK)
        err = kerf_block_decode(w->unpacker, w->plain, m->plain,
                                (kerf_block_kind)m->kind, c->data, m->len,
                                m->offset, kerf_incoming_recall, c->in);
    if (err == KERF_ENOMEM)
        return kerf_fail(&c->why, err, "no memory to unpack a part");
    c->damaged = err != KERF_OK;
    if (c->damaged)
        memset(w->plain, 0, m->plain);
    return write_missing(c->in, m->offset, w->plain, m->plain, &c->why);
}

static kerf_err
write_raw(kerf_chunk *c)
{
    uint64_t before = kerf_incoming_count(c->in).received;
    kerf_err err =
        write_missing(c->in, c->m.offset, c->data, c->m.len, &c->why);

    c->written = kerf_incoming_count(c->in).received - before == c->m.len;
    return err;
}

static void
write_chunk(kerf_writer *w, kerf_chunk *c)
{
    if (!atomic_load(&w->skip))
        c->err =
            c->m.codec == KERF_PART_RAW ? write_raw(c) : write_packed(w, c);
    c->got = kerf_incoming_got(c->in);
}

static void *
run(void *ctx)
{
    kerf_writer *w = ctx;
    kerf_chunk *c;

    kerf_thread_begin("kerf-write");
    while ((c = kerf_queue_pop(w->todo)) != NULL) {
        c->err = KERF_OK;
        if (!c->commit)
            write_chunk(w, c);
        (void)!kerf_queue_push(w->written, c); /* as long as the first one */
    }
    kerf_queue_close(w->written);
    return NULL;
}

/* The hashing thread. */

static void *
run_hash(void *ctx)
{
    kerf_writer *w = ctx;
    kerf_chunk *c;

    kerf_thread_begin("kerf-hash");
    while ((c = kerf_queue_pop(w->written)) != NULL) {
        if (c->commit) {
            c->err = kerf_incoming_commit(c->in, &c->why);
            c->in = NULL;
        } else if (c->err == KERF_OK && !atomic_load(&w->skip) &&
                   !atomic_load(&w->no_hash)) {
            kerf_incoming_hash(c->in, c->m.offset, c->written ? c->data : NULL,
                               bytes_of(c));
        }
        (void)!kerf_queue_push(w->done, c); /* as long as the others */
        kerf_loop_post(w->loop, &w->wrote);
    }
    return NULL;
}

/* The loop. */

kerf_err
kerf_writer_new(kerf_writer **out, kerf_loop *loop, kerf_loop_fn *done,
                void *ctx)
{
    kerf_writer *w = calloc(1, sizeof *w);
    kerf_err err;

    if (w == NULL)
        return KERF_ENOMEM;
    w->loop = loop;
    w->wrote = (kerf_post){.fn = done, .ctx = ctx};
    err = kerf_queue_new(&w->todo, CHUNKS_MOST + KERF_PARTS_MAX);
    if (err == KERF_OK)
        err = kerf_queue_new(&w->written, CHUNKS_MOST + KERF_PARTS_MAX);
    if (err == KERF_OK)
        err = kerf_queue_new(&w->done, CHUNKS_MOST + KERF_PARTS_MAX);
    if (err != KERF_OK) {
        kerf_writer_free(w);
        return err;
    }
    *out = w;
    return KERF_OK;
}

bool
kerf_writer_start(kerf_writer *w)
{
    w->hash_runs = pthread_create(&w->hash_thread, NULL, run_hash, w) == 0;
    w->runs = w->hash_runs && pthread_create(&w->thread, NULL, run, w) == 0;
    if (!w->runs)
        kerf_queue_close(w->written); /* nobody else does */
    return w->runs;
}

static uint64_t
left_ms(uint64_t end_ns)
{
    uint64_t now_ns = kerf_now_ns();

    return now_ns < end_ns ? (end_ns - now_ns) / 1000000 : 0;
}

bool
kerf_writer_stop(kerf_writer *w, uint64_t within_ms)
{
    uint64_t end_ns = kerf_now_ns() + within_ms * 1000000;

    if (w == NULL)
        return true;
    kerf_writer_no_hash(w, true);
    kerf_queue_close(w->todo);
    if (w->runs && !kerf_thread_join(w->thread, left_ms(end_ns)))
        return false;
    w->runs = false;
    if (w->hash_runs && !kerf_thread_join(w->hash_thread, left_ms(end_ns)))
        return false;
    w->hash_runs = false;
    return true;
}

void
kerf_writer_trim(kerf_writer *w)
{
    w->trim_wanted = w->spare_count < POOL_CHUNKS;
    if (w->trim_wanted)
        return; /* or there is none */
    free(w->pool);
    w->pool = NULL;
    w->spare_count = 0;
}

void
kerf_writer_free(kerf_writer *w)
{
    kerf_chunk *c;

    if (w == NULL)
        return;
    while (w->done != NULL && (c = kerf_queue_try_pop(w->done)) != NULL)
        kerf_writer_recycle(w, c);
    free(w->pool);
    kerf_queue_free(w->todo);
    kerf_queue_free(w->written);
    kerf_queue_free(w->done);
    kerf_block_coder_free(w->unpacker);
    free(w->plain);
    free(w);
}

/* No memory for it: then each is new. */
static void
make_pool(kerf_writer *w)
{
    w->pool = kerf_large_alloc(POOL_CHUNKS * POOL_STEP);
    for (size_t i = POOL_CHUNKS; w->pool != NULL && i-- > 0;)
        w->spare[w->spare_count++] =
            (kerf_chunk *)(void *)(w->pool + i * POOL_STEP);
}

static bool
is_of_pool(const kerf_writer *w, const kerf_chunk *chunk)
{
    uintptr_t at = (uintptr_t)chunk - (uintptr_t)w->pool;

    return w->pool != NULL && at < POOL_CHUNKS * POOL_STEP;
}

kerf_chunk *
kerf_writer_chunk(kerf_writer *w, size_t len)
{
    bool fits = len > SMALL && len <= KERF_PART_CHUNK;
    kerf_chunk *c;

    if (fits)
        w->trim_wanted = false;
    if (fits && w->pool == NULL)
        make_pool(w);
    c = fits && w->spare_count > 0 ? w->spare[--w->spare_count]
                                   : malloc(sizeof *c + len);
    if (c != NULL)
        memset(c, 0, sizeof *c);
    return c;
}

void
kerf_writer_recycle(kerf_writer *w, kerf_chunk *chunk)
{
    if (!is_of_pool(w, chunk)) {
        free(chunk);
        return;
    }
    w->spare[w->spare_count++] = chunk;
    if (w->trim_wanted)
        kerf_writer_trim(w);
}

bool
kerf_writer_is_full(const kerf_writer *w)
{
    return w->count >= CHUNKS_MOST;
}

bool
kerf_writer_give(kerf_writer *w, kerf_chunk *chunk)
{
    uint64_t bytes = bytes_of(chunk); /* then it is the thread's */

    if (kerf_queue_push(w->todo, chunk) != KERF_OK)
        return false;
    w->count++;
    w->bytes += bytes;
    return true;
}

kerf_chunk *
kerf_writer_take(kerf_writer *w)
{
    kerf_chunk *c = kerf_queue_try_pop(w->done);

    if (c != NULL) {
        w->count--;
        w->bytes -= bytes_of(c);
    }
    return c;
}

size_t
kerf_writer_count(const kerf_writer *w)
{
    return w->count;
}

uint64_t
kerf_writer_bytes(const kerf_writer *w)
{
    return w->bytes;
}

void
kerf_writer_skip(kerf_writer *w, bool on)
{
    atomic_store(&w->skip, on);
}

void
kerf_writer_no_hash(kerf_writer *w, bool on)
{
    atomic_store(&w->no_hash, on);
}
