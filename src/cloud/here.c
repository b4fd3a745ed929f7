#include "cloud/here.h"

#include "base/clock.h"
#include "base/log.h"
#include "cloud/runner.h"

#include <stdatomic.h>

static void
on_turn(void *ctx)
{
    kerf_cloud *cloud = ctx;

    kerf_here_pause(cloud); /* of a connection that has ended */
    cloud->here_ns = 0;
}

kerf_err
kerf_here_start(kerf_cloud *cloud)
{
    kerf_err err = kerf_runner_new(&cloud->here, cloud, 0);

    if (err == KERF_OK)
        kerf_loop_on_turn(cloud->loop, on_turn, cloud);
    return err;
}

void
kerf_here_stop(kerf_cloud *cloud)
{
    if (cloud->loop != NULL)
        kerf_loop_on_turn(cloud->loop, NULL, NULL);
    kerf_runner_free(cloud->here);
    cloud->here = NULL;
}

static bool
is_raw(const kerf_slot *slot)
{
    bool raw = true;

    for (size_t i = 0; i < slot->block_count; i++)
        raw &= slot->block[i].codec == KERF_CODEC_RAW;
    for (size_t i = 0; i < kerf_net_in_count(slot->served->tail); i++)
        raw &= slot->coded[i].codec == KERF_CODEC_RAW;
    return raw;
}

/* What is not static counts as too large. */
static bool
answers_little(const kerf_slot *slot)
{
    const kerf_net *tail = slot->served->tail;
    size_t bytes = 0;

    if (!kerf_net_is_static(tail))
        return false;
    for (size_t i = 0; i < kerf_net_out_count(tail); i++)
        bytes += slot->out[i].bytes;
    return bytes <= KERF_HERE_ANSWER;
}

/* The worker whose network has run this slot before, so that its request is
 * there; the number of workers: none has. */
static size_t
network_of(const kerf_slot *slot)
{
    size_t workers = slot->served->slots.workers;
    size_t w = 0;

    while (w < workers && slot->request[w] == NULL)
        w++;
    return w;
}

/* What is told of answers takes as long as it likes, on a worker. */
bool
kerf_here_may(kerf_cloud *cloud, const kerf_slot *slot)
{
    const kerf_slots *slots = &slot->served->slots;
    uint64_t tail_ns = atomic_load(&slot->served->price.ns);

    return cloud->events.answered == NULL && tail_ns > 0 &&
           tail_ns <= KERF_HERE_TAIL_NS && cloud->here_ns < KERF_HERE_TURN_NS &&
           kerf_fair_count(cloud->jobs) == 0 &&
           atomic_load(&slots->workers_on) == 0 &&
           network_of(slot) < slots->workers && is_raw(slot) &&
           answers_little(slot);
}

void
kerf_here_run(kerf_cloud *cloud, kerf_slot *slot, bool soon)
{
    kerf_runner *r = cloud->here;
    uint64_t since_ns = kerf_now_ns();

    if (kerf_log_on(KERF_LOG_TRACE))
        kerf_log(KERF_LOG_TRACE, "cloud.ran_here", "id=%llu",
                 (unsigned long long)slot->id);
    kerf_job_begin(cloud, slot);
    r->number = network_of(slot);
    r->more_follow =
        slot->bytes_in < KERF_AWAKE_LARGE && kerf_conn_has_next(slot->conn);
    r->is_busy = false;
    kerf_runner_run_alone(r, slot);
    cloud->here_ns += kerf_now_ns() - since_ns;
    if (soon)
        kerf_loop_expect(cloud->loop, r->is_busy);
}

void
kerf_here_pause(kerf_cloud *cloud)
{
    kerf_runner_let_go(cloud->here);
}
