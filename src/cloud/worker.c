/*
 * Workers. A job is a slot whose tensors have arrived. Where others of the same
 * model wait as well, or are about to come, they run together (bunch.h,
 * linger.h).
 */
#include "cloud/runner.h"

#include "base/thread.h"

#include <stdatomic.h>
#include <stdlib.h>

#define JOBS_MAX 16384 /* that wait: of all models */
#define UPLOAD_MS 50   /* when slots wait for their tensors */

static kerf_slot *
next_job(kerf_runner *r, kerf_awake *awake)
{
    kerf_cloud *cloud = r->cloud;
    kerf_slot *slot =
        r->held.conn != NULL ? kerf_fair_try_pop(cloud->jobs) : NULL;

    /* The next answer of the same edge lets go what is held. */
    if (slot == NULL || slot->conn != r->held.conn)
        kerf_runner_let_go(r);
    if (slot != NULL)
        return slot;
    (void)atomic_fetch_add(&cloud->idle, 1);
    slot = kerf_fair_pop(cloud->jobs, awake);
    (void)atomic_fetch_sub(&cloud->idle, 1);
    return slot;
}

static void *
run_worker(void *ctx)
{
    kerf_runner *r = ctx;
    kerf_cloud *cloud = r->cloud;
    kerf_awake awake = {0};
    kerf_slot *slot;

    kerf_thread_begin("kerf-worker");
    while ((slot = next_job(r, &awake)) != NULL) {
        if (kerf_gather(&r->group, cloud, slot, r->number)) {
            kerf_runner_let_go(r);
            kerf_gather_wait(&r->group, cloud);
        }
        if (r->group.count > 1)
            kerf_runner_let_go(r); /* it was held for one tail */
        kerf_busy_begin(&cloud->busy[r->number]);
        kerf_runner_run(r);
        kerf_busy_end(&cloud->busy[r->number]);
        awake.is_busy = r->is_busy;
    }
    return NULL;
}

static kerf_err
start_worker(kerf_cloud *cloud, kerf_detail *why)
{
    kerf_worker *w = &cloud->worker[cloud->workers];
    kerf_err err = kerf_runner_new(&w->runner, cloud, cloud->workers);

    if (err != KERF_OK)
        return err;
    if (pthread_create(&w->thread, NULL, run_worker, w->runner) != 0) {
        kerf_runner_free(w->runner);
        return kerf_fail(why, KERF_ENOMEM, "cannot start a thread");
    }
    cloud->workers++;
    return KERF_OK;
}

kerf_err
kerf_workers_start(kerf_cloud *cloud, kerf_detail *why)
{
    size_t want = (size_t)cloud->opts.workers;
    kerf_err err = kerf_fair_new(&cloud->jobs, JOBS_MAX);

    if (err != KERF_OK)
        return err;
    cloud->worker = calloc(want, sizeof *cloud->worker);
    cloud->busy = calloc(want, sizeof *cloud->busy);
    if (cloud->worker == NULL || cloud->busy == NULL)
        return KERF_ENOMEM;
    while (err == KERF_OK && cloud->workers < want)
        err = start_worker(cloud, why);
    return err;
}

void
kerf_workers_stop(kerf_cloud *cloud)
{
    kerf_slot *slot;

    if (cloud->jobs != NULL) {
        kerf_fair_close(cloud->jobs);
        /* Not refused: the next cloud may still answer it. */
        while ((slot = kerf_fair_try_pop(cloud->jobs)) != NULL) {
            (void)!kerf_conn_send_notice(slot->conn, KERF_FRAME_BUSY, slot->id,
                                         KERF_EBUSY, 1000, "the cloud stopped");
            kerf_job_over(slot);
        }
    }
    for (size_t i = 0; i < cloud->workers; i++) {
        (void)pthread_join(cloud->worker[i].thread, NULL);
        kerf_runner_free(cloud->worker[i].runner);
    }
    kerf_fair_free(cloud->jobs);
    free(cloud->worker);
    free(cloud->busy);
    cloud->jobs = NULL;
    cloud->worker = NULL;
    cloud->busy = NULL;
    cloud->workers = 0;
}

kerf_err
kerf_workers_push(kerf_cloud *cloud, kerf_slot *slot)
{
    kerf_err err;

    slot->job.price = &slot->served->price;
    kerf_job_begin(cloud, slot);
    err = kerf_fair_push(cloud->jobs, &slot->job);
    if (err != KERF_OK)
        (void)atomic_fetch_sub(&cloud->in_flight, 1);
    return err;
}

uint32_t
kerf_workers_retry_ms(kerf_cloud *cloud, kerf_served *s)
{
    uint64_t ns = kerf_fair_cost_ns(cloud->jobs) + atomic_load(&s->price.ns);
    uint64_t ms = ns / cloud->workers / 1000000;
    uint64_t least_ms = 1;

    /* Then the queue says nothing about when a slot comes back. */
    if (2 * atomic_load(&cloud->in_flight) < kerf_slots_used(&s->slots))
        least_ms = UPLOAD_MS;
    return ms < least_ms             ? (uint32_t)least_ms
           : ms > KERF_RETRY_MOST_MS ? KERF_RETRY_MOST_MS
                                     : (uint32_t)ms;
}
