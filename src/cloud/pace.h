/*
 * pace.h - how fast the parts of a model may go to an edge, so that the tensors
 * on the same link come first.
 *
 * While nobody there asks for anything: as fast as TCP likes. Else a little
 * slower than the link, in small bursts, so that nothing stands in front of it
 * and an answer waits for a packet or two. The link's rate is what arrives
 * while TCP is let go; else it is looked for, faster and faster, until answers
 * to pings on the tensor connection come later (one way: requests on their way
 * up delay none of it), and now and then anew.
 *
 *     FREE --requests--> RAMP --late--> DRAIN --> STEADY --10 s--> RAMP
 *                         link known --------------^ | late: slower, by DRAIN
 *
 * Pings may be late without a queue of ours: busy edges, radio, others. So each
 * DRAIN, at half the rate, ends with pings that met none: when these are about
 * as late, all is as it was before, and later ones have to be later than that.
 *
 * Threads: none of its own; the caller's.
 */
#ifndef KERF_CLOUD_PACE_H
#define KERF_CLOUD_PACE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum kerf_pace_state {
    KERF_PACE_FREE,
    KERF_PACE_RAMP,
    KERF_PACE_DRAIN,
    KERF_PACE_STEADY,
} kerf_pace_state;

/* Zeroed at first. Rates are bytes per second. */
typedef struct kerf_pace {
    kerf_pace_state state;
    uint64_t rate;           /* that is allowed; while not FREE */
    uint64_t link, link_top; /* what the link takes, and took; 0: not known */
    uint64_t aged_ns;        /* when link_top was, last */
    uint64_t changed_ns;     /* when rate or state was */
    uint64_t until_ns;  /* of STEADY; of DRAIN, until the queue must be gone */
    uint64_t delivered; /* at changed_ns */
    uint64_t ticked_ns, ticked; /* the last tick, and delivered then */
    uint64_t recent;            /* delivered lately, per second */
    bool idle;                  /* nothing was to be sent then */
    unsigned pings;             /* since then */
    unsigned late;              /* of these, in a row ... */
    uint64_t late_least_ns;     /* ... by that, at least */
    uint64_t late_ns;           /* that pings are late, lately */
    uint64_t noise_ns;          /* ... while there is no queue */
    struct {                    /* when a queue was suspected */
        kerf_pace_state state;
        uint64_t rate, link, until_ns;
        uint64_t noise_ns; /* that would explain it */
    } was;
    struct { /* the end of DRAIN */
        uint64_t since_ns, delivered;
        uint64_t late_ns; /* all pings together */
        unsigned pings;
    } quiet;
    bool has_base;
    int64_t base_ns[2]; /* least time one way, of two clocks: now, and before */
    uint64_t base_since_ns;
} kerf_pace;

/* The time until the next tick, in ms. */
unsigned kerf_pace_tick_ms(const kerf_pace *p);
/* Now and then, while parts are sent. asked: someone on this link has sent
 * requests lately. busy: there is something to send. delivered: bytes that have
 * arrived there, ever. Returns the rate that is allowed; 0: any. */
uint64_t kerf_pace_tick(kerf_pace *p, uint64_t now_ns, bool asked, bool busy,
                        uint64_t delivered);
/* A ping that was sent at sent_ns (our clock) arrived at received_ns (the
 * edge's). delivered as above. */
void kerf_pace_pong(kerf_pace *p, uint64_t now_ns, uint64_t sent_ns,
                    uint64_t received_ns, uint64_t delivered);

#endif
