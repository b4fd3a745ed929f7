/* pace.c over a link that is made of arithmetic: no clock, no socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "cloud/pace.h"

#define MS UINT64_C(1000000)
#define PINGS 64
#define OFFSET UINT64_C(77000000000) /* of the edge's clock */

/* Bytes wait in a queue before the link; pings stand in it with them. */
struct link {
    kerf_pace pace;
    uint64_t now_ns;
    double rate;       /* bytes per second */
    double foreign;    /* what others send, per second */
    double queue, own; /* bytes in it, and ours of these */
    double queue_most;
    double delivered;
    uint64_t way_ns;    /* each way, without the queue */
    uint64_t jitter_ns; /* of an edge that is busy, at most */
    uint32_t random;
    bool asked, deaf; /* deaf: the edge answers no ping */
    uint64_t next_tick_ns;
    struct {
        uint64_t sent_ns, received_ns, back_ns;
    } ping[PINGS];
    size_t pings;
    uint64_t long_ms, all_ms; /* that the queue was longer than 2 ms */
};

static void
send_ping(struct link *l)
{
    uint64_t waits = (uint64_t)(l->queue / l->rate * 1e9);

    l->random = l->random * 1664525u + 1013904223u;
    waits += l->jitter_ns * (l->random >> 16) / 65536;

    if (l->deaf || l->pings == PINGS)
        return;
    l->ping[l->pings].sent_ns = l->now_ns;
    l->ping[l->pings].received_ns = l->now_ns + waits + l->way_ns + OFFSET;
    l->ping[l->pings].back_ns = l->now_ns + waits + 2 * l->way_ns;
    l->pings++;
}

static void
take_pongs(struct link *l)
{
    size_t kept = 0;

    for (size_t i = 0; i < l->pings; i++) {
        if (l->ping[i].back_ns > l->now_ns) {
            l->ping[kept++] = l->ping[i];
            continue;
        }
        kerf_pace_pong(&l->pace, l->now_ns, l->ping[i].sent_ns,
                       l->ping[i].received_ns, (uint64_t)l->delivered);
    }
    l->pings = kept;
}

static void
pass_ms(struct link *l)
{
    double sent = (double)l->pace.rate / 1e3;
    double gone = l->rate / 1e3;

    if (l->pace.state == KERF_PACE_FREE) /* TCP keeps the queue full */
        sent = l->queue_most;
    if (sent > l->queue_most - l->queue)
        sent = l->queue_most - l->queue;
    l->queue += sent;
    l->own += sent;
    l->queue += l->foreign / 1e3;
    gone = gone < l->queue ? gone : l->queue;
    if (l->queue > 0) {
        double ours = gone * l->own / l->queue;

        l->delivered += ours;
        l->own -= ours;
        l->queue -= gone;
    }
    l->now_ns += MS;
    l->all_ms++;
    l->long_ms += l->queue > l->rate * 0.002;
}

static void
run(struct link *l, unsigned ms)
{
    l->long_ms = l->all_ms = 0;
    for (unsigned i = 0; i < ms; i++) {
        pass_ms(l);
        take_pongs(l);
        if (l->now_ns < l->next_tick_ns)
            continue;
        (void)kerf_pace_tick(&l->pace, l->now_ns, l->asked, true,
                             (uint64_t)l->delivered);
        if (l->pace.state != KERF_PACE_FREE)
            send_ping(l);
        l->next_tick_ns = l->now_ns + kerf_pace_tick_ms(&l->pace) * MS;
    }
}

static struct link
make(double rate, unsigned way_ms)
{
    return (struct link){.now_ns = 1000 * MS,
                         .rate = rate,
                         .queue_most = rate / 20, /* 50 ms */
                         .way_ns = way_ms * MS,
                         .asked = true};
}

/* Of the link, while so many ms pass. */
static double
share_of(struct link *l, unsigned ms)
{
    double before = l->delivered;

    run(l, ms);
    return (l->delivered - before) / (l->rate * ms / 1e3);
}

static void
pace__unknown_link__is_found_and_left_short(void **state)
{
    static const double rates[] = {250e3, 2.5e6, 12.5e6, 125e6, 1.25e9};

    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        for (unsigned way = 0; way <= 40; way += 20) {
            struct link l = make(rates[i], way);

            run(&l, 6000);
            assert_true(share_of(&l, 60000) > 0.7);
            assert_true(l.long_ms * 20 < l.all_ms); /* few times */
            assert_true((double)l.pace.link < 1.05 * l.rate);
        }
    }
}

static void
pace__busy_edge__is_no_queue(void **state)
{
    struct link l = make(12.5e6, 5);

    (void)state;
    run(&l, 2000);
    l.jitter_ns = 4 * MS;
    run(&l, 5000);
    assert_true(share_of(&l, 60000) > 0.7);
    assert_true(l.long_ms * 20 < l.all_ms);
}

static void
pace__nobody_asks__takes_all(void **state)
{
    struct link l = make(12.5e6, 5);

    (void)state;
    l.asked = false;
    assert_true(share_of(&l, 3000) > 0.99);
    /* And knows the link, when somebody does: no need to look for it. */
    l.asked = true;
    run(&l, 500);
    assert_int_equal(l.pace.state, KERF_PACE_STEADY);
    assert_true(share_of(&l, 5000) > 0.8);
    assert_int_equal(l.long_ms, 0);
    l.asked = false;
    run(&l, 100);
    assert_true(share_of(&l, 3000) > 0.99);
}

static void
pace__link_gets_slower__follows_soon(void **state)
{
    struct link l = make(12.5e6, 5);

    (void)state;
    run(&l, 5000);
    l.rate = 5e6;
    run(&l, 3000);
    assert_true(share_of(&l, 5000) > 0.6);
    assert_true(l.long_ms * 50 < l.all_ms);
}

static void
pace__link_gets_faster__is_found(void **state)
{
    struct link l = make(2.5e6, 5);

    (void)state;
    run(&l, 5000);
    l.rate = 25e6;
    run(&l, 15000);
    assert_true(share_of(&l, 10000) > 0.7);
}

static void
pace__others_fill_the_link__keeps_a_share(void **state)
{
    struct link l = make(12.5e6, 5);
    double before;

    (void)state;
    run(&l, 5000);
    l.foreign = l.rate * 0.97;
    before = l.delivered;
    run(&l, 20000);
    assert_true(l.delivered - before > 0.02 * l.rate * 20);
    l.foreign = 0;
    run(&l, 20000);
    assert_true(share_of(&l, 5000) > 0.7);
}

static void
pace__edge_answers_no_ping__is_not_stuck(void **state)
{
    struct link l = make(12.5e6, 5);

    (void)state;
    l.deaf = true;
    assert_true(share_of(&l, 5000) > 0.01);
    assert_true(l.pace.rate > 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pace__unknown_link__is_found_and_left_short),
        cmocka_unit_test(pace__busy_edge__is_no_queue),
        cmocka_unit_test(pace__nobody_asks__takes_all),
        cmocka_unit_test(pace__link_gets_slower__follows_soon),
        cmocka_unit_test(pace__link_gets_faster__is_found),
        cmocka_unit_test(pace__others_fill_the_link__keeps_a_share),
        cmocka_unit_test(pace__edge_answers_no_ping__is_not_stuck),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
