/*
 * pace.c over links as they are, made of arithmetic and seeded numbers: no
 * clock, no socket. Both of its ends are looked at: how much longer a tensor
 * takes than over the same link without a download, and what the download gets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "cloud/pace.h"

#define MS UINT64_C(1000000)
#define PINGS 64
#define PAST 256 /* ms that acknowledgements may be late */
#define LONGEST 2000
#define OFFSET UINT64_C(77000000000) /* of the edge's clock */

/* What a link does. Zero: a clean one. */
struct kind {
    double rate;      /* bytes per second */
    double least;     /* of that, drawn anew each 200 ms; 0: it is always all */
    unsigned way_ms;  /* each way */
    unsigned jitter;  /* ms that anything takes longer, at most */
    unsigned stalls;  /* per 100 s: nothing moves ... */
    unsigned stalled; /* ... for so many ms, at most */
    unsigned lost;    /* pings of 1000: they come a round trip later */
};

struct link {
    struct kind is;
    kerf_pace pace;
    uint32_t random;
    uint64_t ms;
    double now_rate;
    double queue, queue_most; /* bytes */
    unsigned stall_ms;        /* left */
    double delivered;
    double past[PAST]; /* delivered, by ms */
    double told;       /* of that, to the pace: never less */
    bool idle;         /* no download */
    uint64_t next_tick_ms;
    struct {
        uint64_t sent_ns, received_ns, back_ns;
    } ping[PINGS];
    size_t pings;
    unsigned took[LONGEST]; /* tensors sent in a ms, by the ms they took */
    unsigned tensors;
};

static unsigned
draw(struct link *l, unsigned below)
{
    l->random = l->random * 1664525u + 1013904223u;
    return (unsigned)((uint64_t)(l->random >> 8) * below >> 24);
}

/* What something that is sent now takes there. */
static double
way_ms(struct link *l)
{
    double ms = l->is.way_ms + l->queue / l->now_rate * 1e3 + l->stall_ms;

    return ms + draw(l, 1000 * l->is.jitter + 1) / 1e3;
}

static void
send_ping(struct link *l)
{
    uint64_t now_ns = (1000 + l->ms) * MS;
    uint64_t ns = (uint64_t)(way_ms(l) * 1e6);

    if (draw(l, 1000) < l->is.lost)
        ns += MS * l->is.way_ms * 2;
    if (l->pings == PINGS)
        return;
    l->ping[l->pings].sent_ns = now_ns;
    l->ping[l->pings].received_ns = now_ns + ns + OFFSET;
    l->ping[l->pings].back_ns = now_ns + ns + l->is.way_ms * MS;
    l->pings++;
}

/* Acknowledgements have a way, too. */
static uint64_t
acknowledged(struct link *l)
{
    uint64_t ago = l->is.way_ms + draw(l, l->is.jitter + 1);
    double d = ago > l->ms ? 0 : l->past[(l->ms - ago) % PAST];

    if (d > l->told)
        l->told = d;
    return (uint64_t)l->told;
}

static void
take_pongs(struct link *l)
{
    uint64_t now_ns = (1000 + l->ms) * MS;
    size_t kept = 0;

    for (size_t i = 0; i < l->pings; i++) {
        if (l->ping[i].back_ns > now_ns)
            l->ping[kept++] = l->ping[i];
        else
            kerf_pace_pong(&l->pace, now_ns, l->ping[i].sent_ns,
                           l->ping[i].received_ns, acknowledged(l));
    }
    l->pings = kept;
}

static void
change_link(struct link *l)
{
    if (l->stall_ms > 0)
        l->stall_ms--;
    else if (draw(l, 100000) < l->is.stalls)
        l->stall_ms = draw(l, l->is.stalled);
    if (l->is.least > 0 && l->ms % 200 == 0)
        l->now_rate = l->is.rate *
                      (l->is.least + (1 - l->is.least) * draw(l, 1000) / 1000);
    else if (l->is.least == 0)
        l->now_rate = l->is.rate;
}

static void
pass_ms(struct link *l)
{
    double sent = l->idle ? 0 : (double)l->pace.rate / 1e3;
    double gone = l->stall_ms > 0 ? 0 : l->now_rate / 1e3;
    double took;

    change_link(l);
    if (sent > l->queue_most - l->queue)
        sent = l->queue_most - l->queue;
    l->queue += sent;
    gone = gone < l->queue ? gone : l->queue;
    l->queue -= gone;
    l->delivered += gone;
    l->ms++;
    l->past[l->ms % PAST] = l->delivered;
    took = way_ms(l) + l->is.way_ms;
    l->took[took < LONGEST ? (size_t)took : LONGEST - 1]++;
    l->tensors++;
}

static void
run(struct link *l, unsigned seconds)
{
    memset(l->took, 0, sizeof l->took);
    l->tensors = 0;
    for (unsigned i = 0; i < seconds * 1000; i++) {
        pass_ms(l);
        take_pongs(l);
        if (l->ms < l->next_tick_ms || l->idle)
            continue;
        (void)kerf_pace_tick(&l->pace, (1000 + l->ms) * MS, true, true,
                             acknowledged(l));
        send_ping(l);
        l->next_tick_ms = l->ms + kerf_pace_tick_ms(&l->pace);
    }
}

static struct link
make(struct kind kind, uint32_t seed)
{
    return (struct link){.is = kind,
                         .random = seed,
                         .now_rate = kind.rate,
                         .queue_most = kind.rate / 5}; /* 200 ms */
}

/* ms, at least, that the slowest of 100 took. */
static unsigned
p99(const struct link *l)
{
    unsigned more = 0;

    for (unsigned ms = LONGEST; ms-- > 0;) {
        more += l->took[ms];
        if (more * 100 > l->tensors)
            return ms;
    }
    return 0;
}

/* Of the link, in so many seconds. */
static double
share_of(struct link *l, unsigned seconds)
{
    double before = l->delivered;

    run(l, seconds);
    return (l->delivered - before) / (l->is.rate * seconds);
}

/* ---- cases -------------------------------------------------------------- */

#define SEEDS 3

/* A download that never ends: how much longer tensors take, at most, in % of
 * what the slowest take without, and what it gets of the link, at least: in
 * five minutes, and in the worst ten seconds of these. */
static void
check(struct kind kind, unsigned most_percent, double least, double least_10_s)
{
    for (uint32_t seed = 1; seed <= SEEDS; seed++) {
        struct link idle = make(kind, seed);
        struct link l = make(kind, seed);
        struct link same;

        idle.idle = true;
        run(&idle, 60);
        run(&l, 20);
        same = l;
        assert_true(share_of(&l, 300) >= least);
        assert_true(p99(&l) * 100 <= p99(&idle) * most_percent);
        for (int i = 0; i < 30; i++)
            assert_true(share_of(&same, 10) >= least_10_s);
    }
}

static void
pace__clean_links__nothing_waits(void **state)
{
    (void)state;
    check((struct kind){.rate = 12.5e6, .way_ms = 5}, 120, 0.8, 0.7);
    check((struct kind){.rate = 12.5e6, .way_ms = 20}, 120, 0.8, 0.7);
    check((struct kind){.rate = 2.5e6, .way_ms = 300}, 130, 0.7, 0.4);
}

/* Of such times none says that there is a queue. */
static void
pace__jitter__starves_nobody(void **state)
{
    (void)state;
    check((struct kind){.rate = 250e3, .way_ms = 15, .jitter = 5}, 200, 0.7,
          0.5);
    check((struct kind){.rate = 2.5e6, .way_ms = 10, .jitter = 20}, 160, 0.7,
          0.4);
    check((struct kind){.rate = 2.5e6, .way_ms = 10, .jitter = 50}, 200, 0.7,
          0.4);
    check((struct kind){.rate = 12.5e6, .way_ms = 10, .jitter = 50}, 220, 0.7,
          0.4);
}

/* Radio: it stops for a while once a second, and what is lost comes later. */
static void
pace__lossy_radio__both_get_on(void **state)
{
    (void)state;
    check((struct kind){.rate = 5e6,
                        .way_ms = 4,
                        .jitter = 8,
                        .stalls = 100,
                        .stalled = 100,
                        .lost = 20},
          180, 0.3, 0.05);
    check((struct kind){.rate = 5e6,
                        .least = 0.5,
                        .way_ms = 4,
                        .jitter = 8,
                        .stalls = 100,
                        .stalled = 60,
                        .lost = 20},
          230, 0.3, 0.05);
}

static void
pace__link_drops_and_comes_back__followed(void **state)
{
    struct link l = make((struct kind){.rate = 12.5e6, .way_ms = 5}, 1);
    struct link idle = l;

    (void)state;
    idle.idle = true;
    run(&idle, 10);
    run(&l, 10);
    l.is.rate = 0.625e6; /* 100 to 5 Mbit/s */
    l.queue_most = l.is.rate / 5;
    run(&l, 4);
    assert_true(share_of(&l, 30) > 0.7);
    assert_true(p99(&l) * 10 <= p99(&idle) * 20);
    l.is.rate = 12.5e6;
    l.queue_most = l.is.rate / 5;
    run(&l, 15);
    assert_true(share_of(&l, 30) > 0.7);
    assert_true(p99(&l) * 10 <= p99(&idle) * 20);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pace__clean_links__nothing_waits),
        cmocka_unit_test(pace__jitter__starves_nobody),
        cmocka_unit_test(pace__lossy_radio__both_get_on),
        cmocka_unit_test(pace__link_drops_and_comes_back__followed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
