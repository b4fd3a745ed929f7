#include "model/store_behind.h"

#include "base/thread.h"
#include "model/store_own.h"

#include <pthread.h>
#include <stdlib.h>

/* Waking it costs the writer some microseconds, so not for less. */
#define WAKE ((uint64_t)1 << 20)

struct kerf_behind {
    kerf_sha256 *hash;
    uint8_t *step;
    int fd;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more;
    uint64_t told;      /* under lock */
    bool ending, leave; /* under lock: hash what is told; or not even that */
    uint64_t hashed;    /* the thread's, until it has ended */
};

/* Waits for work; false: none will come. */
static bool
next(kerf_behind *b, uint64_t *len)
{
    bool go;

    (void)pthread_mutex_lock(&b->lock);
    while (!b->ending && b->told - b->hashed < WAKE)
        (void)pthread_cond_wait(&b->more, &b->lock);
    *len = b->told - b->hashed;
    go = !b->leave && *len > 0;
    (void)pthread_mutex_unlock(&b->lock);
    return go;
}

static void *
run(void *ctx)
{
    kerf_behind *b = ctx;
    uint64_t len;

    kerf_thread_begin("kerf-hash");
    while (next(b, &len)) {
        len = len < KERF_STORE_STEP ? len : KERF_STORE_STEP;
        if (!kerf_store_hash(b->hash, b->fd, b->hashed, len, -1, 0, b->step))
            break; /* whoever hashes the rest finds out why */
        b->hashed += len;
    }
    return NULL;
}

static void
free_behind(kerf_behind *b)
{
    (void)pthread_cond_destroy(&b->more);
    (void)pthread_mutex_destroy(&b->lock);
    free(b->step);
    free(b);
}

kerf_behind *
kerf_behind_start(kerf_sha256 *hash, int fd, uint64_t from)
{
    kerf_behind *b = calloc(1, sizeof *b);

    if (b == NULL)
        return NULL;
    b->hash = hash;
    b->fd = fd;
    b->told = b->hashed = from;
    b->step = malloc(KERF_STORE_STEP);
    (void)pthread_mutex_init(&b->lock, NULL);
    (void)pthread_cond_init(&b->more, NULL);
    if (b->step == NULL || pthread_create(&b->thread, NULL, run, b) != 0) {
        free_behind(b);
        return NULL;
    }
    return b;
}

void
kerf_behind_tell(kerf_behind *b, uint64_t at)
{
    uint64_t before;

    (void)pthread_mutex_lock(&b->lock);
    before = b->told;
    b->told = at;
    if (before / WAKE != at / WAKE)
        (void)pthread_cond_signal(&b->more);
    (void)pthread_mutex_unlock(&b->lock);
}

uint64_t
kerf_behind_stop(kerf_behind *b, bool all)
{
    uint64_t hashed;

    (void)pthread_mutex_lock(&b->lock);
    b->ending = true;
    b->leave = !all;
    (void)pthread_cond_signal(&b->more);
    (void)pthread_mutex_unlock(&b->lock);
    (void)pthread_join(b->thread, NULL);
    hashed = b->hashed;
    free_behind(b);
    return hashed;
}
