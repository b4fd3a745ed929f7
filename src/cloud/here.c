#include "cloud/here.h"

#include "base/log.h"
#include "cloud/runner.h"

#include <stdatomic.h>

static void
on_turn(void *ctx)
{
    kerf_cloud *cloud = ctx;

    kerf_runner_let_go(cloud->here);
    cloud->here_ns = 0;
}

kerf_err
kerf_here_start(kerf_cloud *cloud)
{
    /* It has the first worker's networks: of one, runs take turns. */
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
    bool raw = slot->block_count == 0;

    for (size_t i = 0; i < kerf_net_in_count(slot->served->tail); i++)
        raw &= slot->coded[i].codec == KERF_CODEC_RAW;
    return raw;
}

/* What is told of answers takes as long as it likes, on a worker. */
bool
kerf_here_may(kerf_cloud *cloud, const kerf_slot *slot)
{
    uint64_t tail_ns = atomic_load(&slot->served->price.ns);

    return cloud->events.answered == NULL && tail_ns > 0 &&
           tail_ns <= KERF_HERE_TAIL_NS &&
           cloud->here_ns + tail_ns <= KERF_HERE_TURN_NS &&
           kerf_fair_count(cloud->jobs) == 0 && is_raw(slot);
}

void
kerf_here_run(kerf_cloud *cloud, kerf_slot *slot, bool soon)
{
    kerf_runner *r = cloud->here;

    if (kerf_log_on(KERF_LOG_TRACE))
        kerf_log(KERF_LOG_TRACE, "cloud.ran_here", "id=%llu",
                 (unsigned long long)slot->id);
    kerf_job_begin(cloud, slot);
    r->group = (kerf_group){.slot = {slot}, .count = 1};
    r->more_follow =
        slot->bytes_in < KERF_AWAKE_LARGE && kerf_conn_has_next(slot->conn);
    kerf_runner_run(r);
    cloud->here_ns += r->run_ns;
    if (soon)
        kerf_loop_expect(cloud->loop, r->is_busy);
}
