#include "cloud/ahead.h"

#include "base/log.h"
#include "base/queue.h"
#include "base/thread.h"
#include "cloud/cloud.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define WAIT_MAX 64 /* slots; others are left to the workers */

enum state { IDLE = 0, QUEUED, DONE, DROPPED };

struct kerf_ahead {
    kerf_queue *queue; /* of kerf_slot, QUEUED or later */
    kerf_codec *codec;
    pthread_t thread;
    bool runs;
};

kerf_err
kerf_ahead_decode(kerf_slot *slot, kerf_codec *codec, kerf_detail *why)
{
    const kerf_coded_block *b = &slot->block[slot->decoded++];
    kerf_tensor *in = &slot->in[b->tensor];
    kerf_tensor part;

    if (b->codec == KERF_CODEC_RAW)
        return KERF_OK;
    part = kerf_codec_block(b->codec, in, b->first, b->count);
    return kerf_codec_decode(codec, b->codec,
                             slot->coded[b->tensor].blob + b->at, b->len, &part,
                             why);
}

/* Goes on with what has arrived, unless others wait: they may be complete. */
static void
decode_some(kerf_ahead *a, kerf_slot *slot)
{
    while (slot->decoded < atomic_load(&slot->arrived) &&
           atomic_load(&slot->ahead) == QUEUED &&
           kerf_queue_count(a->queue) == 0) {
        kerf_detail why = {{0}};
        kerf_err err = kerf_ahead_decode(slot, a->codec, &why);

        if (kerf_log_on(KERF_LOG_TRACE))
            kerf_log(KERF_LOG_TRACE, "cloud.decoded_ahead",
                     "id=%llu blocks=%zu", (unsigned long long)slot->id,
                     slot->decoded);
        if (err != KERF_OK && slot->ahead_err == KERF_OK) {
            slot->ahead_err = err;
            slot->ahead_why = why;
        }
    }
}

static void
hand_over(kerf_cloud *cloud, kerf_slot *slot)
{
    if (kerf_workers_push(cloud, slot) == KERF_OK)
        return;
    (void)!kerf_conn_send_notice(slot->conn, KERF_FRAME_BUSY, slot->id,
                                 KERF_EBUSY, 1000, "too many requests wait");
    kerf_slot_give(slot);
}

static void *
run_ahead(void *ctx)
{
    kerf_cloud *cloud = ctx;
    kerf_ahead *a = cloud->ahead;
    kerf_slot *slot;

    kerf_thread_begin("kerf-ahead");
    while ((slot = kerf_queue_pop(a->queue)) != NULL) {
        int state = QUEUED;

        decode_some(a, slot);
        if (atomic_compare_exchange_strong(&slot->ahead, &state, IDLE))
            continue; /* its next block brings it back */
        if (state == DONE)
            hand_over(cloud, slot);
        else
            kerf_slot_give(slot);
    }
    return NULL;
}

kerf_err
kerf_ahead_start(kerf_cloud *cloud, kerf_detail *why)
{
    kerf_ahead *a = calloc(1, sizeof *a);
    kerf_err err;

    if (a == NULL)
        return KERF_ENOMEM;
    cloud->ahead = a;
    err = kerf_queue_new(&a->queue, WAIT_MAX);
    if (err == KERF_OK)
        err = kerf_codec_new(&a->codec);
    if (err != KERF_OK)
        return err;
    a->runs = pthread_create(&a->thread, NULL, run_ahead, cloud) == 0;
    return a->runs ? KERF_OK
                   : kerf_fail(why, KERF_ENOMEM, "cannot start a thread");
}

void
kerf_ahead_stop(kerf_cloud *cloud)
{
    kerf_ahead *a = cloud->ahead;

    if (a == NULL)
        return;
    if (a->queue != NULL)
        kerf_queue_close(a->queue);
    if (a->runs)
        (void)pthread_join(a->thread, NULL);
    kerf_queue_free(a->queue);
    kerf_codec_free(a->codec);
    free(a);
    cloud->ahead = NULL;
}

void
kerf_ahead_block(kerf_cloud *cloud, kerf_slot *slot)
{
    bool coded = slot->block[slot->block_count - 1].codec != KERF_CODEC_RAW;
    int state = IDLE;

    (void)atomic_fetch_add(&slot->arrived, 1);
    if (coded && atomic_compare_exchange_strong(&slot->ahead, &state, QUEUED) &&
        kerf_queue_push(cloud->ahead->queue, slot) != KERF_OK)
        atomic_store(&slot->ahead, IDLE);
}

kerf_err
kerf_ahead_done(kerf_cloud *cloud, kerf_slot *slot)
{
    if (atomic_exchange(&slot->ahead, DONE) == QUEUED)
        return KERF_OK; /* the decoder hands it over */
    return kerf_workers_push(cloud, slot);
}

void
kerf_ahead_drop(kerf_slot *slot)
{
    if (atomic_exchange(&slot->ahead, DROPPED) != QUEUED)
        kerf_slot_give(slot);
}
