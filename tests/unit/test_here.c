/* here.c: which requests run where they arrive. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "cloud/here.h"

#define TAIL                                                        \
    "{\"kerf_fake\": 1, \"inputs\": [{\"name\": \"h\", \"shape\": " \
    "[1, 4]}], \"outputs\": [{\"name\": \"y\", \"shape\": [1, 2]}]}"

struct place {
    kerf_engine *engine;
    kerf_cloud cloud;
    kerf_served served, other; /* tails */
    kerf_coded coded[1];
    kerf_tensor out[1];
    kerf_request *request[2]; /* of workers */
    kerf_slot slot, waiting;
    kerf_lane lane;
};

/* A request that may run here. */
static int
setup(void **state)
{
    const kerf_engine_opts opts = {.kind = "fake"};
    const kerf_model_bytes m = {.format = KERF_FORMAT_PADDLE,
                                .graph = TAIL,
                                .graph_len = sizeof TAIL - 1};
    struct place *p = calloc(1, sizeof *p);

    assert_non_null(p);
    assert_int_equal(kerf_engine_open(&p->engine, &opts, NULL), KERF_OK);
    assert_int_equal(
        kerf_engine_load(p->engine, &p->served.tail, &m, NULL, NULL), KERF_OK);
    assert_int_equal(kerf_fair_new(&p->cloud.jobs, 1), KERF_OK);
    atomic_store(&p->served.price.ns, KERF_HERE_TAIL_NS);
    p->slot.served = &p->served;
    p->slot.coded = p->coded;
    p->slot.out = p->out;
    p->out[0].bytes = KERF_HERE_ANSWER;
    p->slot.request = p->request;
    assert_int_equal(kerf_request_new(&p->request[1], p->served.tail, NULL),
                     KERF_OK);
    p->served.slots.workers = 2;
    assert_true(kerf_here_may(&p->cloud, &p->slot));
    *state = p;
    return 0;
}

static int
teardown(void **state)
{
    struct place *p = *state;

    while (kerf_fair_try_pop(p->cloud.jobs) != NULL)
        continue;
    kerf_fair_free(p->cloud.jobs);
    kerf_request_free(p->request[1]);
    kerf_net_free(p->served.tail);
    kerf_engine_close(p->engine);
    free(p);
    return 0;
}

static void
tail__slower_than_a_handover__is_for_workers(void **state)
{
    struct place *p = *state;

    atomic_store(&p->served.price.ns, KERF_HERE_TAIL_NS + 1);
    assert_false(kerf_here_may(&p->cloud, &p->slot));
}

static void
tail__never_run__is_for_workers(void **state)
{
    struct place *p = *state;

    atomic_store(&p->served.price.ns, 0);
    assert_false(kerf_here_may(&p->cloud, &p->slot));
}

static void
turn__used_up__is_for_workers(void **state)
{
    struct place *p = *state;

    p->cloud.here_ns = KERF_HERE_TURN_NS - 1;
    assert_true(kerf_here_may(&p->cloud, &p->slot));
    p->cloud.here_ns++;
    assert_false(kerf_here_may(&p->cloud, &p->slot));
}

static void
another__waits_for_a_worker__is_not_overtaken(void **state)
{
    struct place *p = *state;

    p->waiting.job = (kerf_job){
        .of = &p->waiting, .line = &p->lane.line, .price = &p->other.price};
    assert_int_equal(kerf_fair_push(p->cloud.jobs, &p->waiting.job), KERF_OK);
    assert_false(kerf_here_may(&p->cloud, &p->slot));
    assert_ptr_equal(kerf_fair_try_pop(p->cloud.jobs), &p->waiting);
    assert_true(kerf_here_may(&p->cloud, &p->slot));
}

static void
same_tail__a_worker_is_at_it__is_for_workers(void **state)
{
    struct place *p = *state;

    atomic_store(&p->served.slots.workers_on, 1);
    assert_false(kerf_here_may(&p->cloud, &p->slot));
}

static void
slot__no_network_has_run_it__is_for_workers(void **state)
{
    struct place *p = *state;
    kerf_request *request = p->request[1];

    p->request[1] = NULL;
    assert_false(kerf_here_may(&p->cloud, &p->slot));
    p->request[1] = request;
}

static void
answer__large__is_for_workers(void **state)
{
    struct place *p = *state;

    p->out[0].bytes++;
    assert_false(kerf_here_may(&p->cloud, &p->slot));
}

static void
tensors__coded__are_for_workers(void **state)
{
    struct place *p = *state;
    kerf_coded_block block[] = {{.codec = KERF_CODEC_RAW},
                                {.codec = KERF_CODEC_Q8}};

    p->coded[0].codec = KERF_CODEC_Q8;
    assert_false(kerf_here_may(&p->cloud, &p->slot));
    p->coded[0].codec = KERF_CODEC_RAW;
    p->slot.block = block;
    p->slot.block_count = 2;
    assert_false(kerf_here_may(&p->cloud, &p->slot));
    p->slot.block_count = 1; /* in blocks that are as they are */
    assert_true(kerf_here_may(&p->cloud, &p->slot));
    p->slot.block = NULL;
    p->slot.block_count = 0;
}

static void
on_answered(void *ctx, const kerf_cloud_answer *a, const kerf_tensor *output)
{
    (void)ctx;
    (void)a;
    (void)output;
}

static void
somebody__is_told_of_answers__is_for_workers(void **state)
{
    struct place *p = *state;

    p->cloud.events.answered = on_answered;
    assert_false(kerf_here_may(&p->cloud, &p->slot));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(tail__slower_than_a_handover__is_for_workers),
        CASE(tail__never_run__is_for_workers),
        CASE(turn__used_up__is_for_workers),
        CASE(another__waits_for_a_worker__is_not_overtaken),
        CASE(same_tail__a_worker_is_at_it__is_for_workers),
        CASE(slot__no_network_has_run_it__is_for_workers),
        CASE(answer__large__is_for_workers),
        CASE(tensors__coded__are_for_workers),
        CASE(somebody__is_told_of_answers__is_for_workers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
