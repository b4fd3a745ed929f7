/*
 * link_spec.h - what a link is like, and its text: "4g-wpt,jitter=20".
 *
 * SPEC is a preset, or key=value, or both, with commas in between; the preset
 * comes first. Where the presets come from: docs/BENCHMARKS.md, "Links".
 *
 *     rate=MBIT up=MBIT down=MBIT   IP packets; 0: no limit
 *     rtt=TIME                      half of it each way
 *     jitter=TIME                   each way up to that much later; order kept
 *     queue=TIME                    what waits at the link's rate
 *     stall=TIME/TIME               on the average so often / that long
 *     stall=@TIME/TIME              at that time after the start / that long
 *     outage=...                    the same; connections break, none is made
 *     cut=BYTES                     a connection ends after so many, either way
 *     flip=P                        of a byte: one of its bits is wrong
 *     seed=N                        of all that is random
 *
 * TIME is a number of ms, or has a unit: 20, 20ms, 1.5s. up is from who dials
 * to who listens. stall and outage add up; 0 takes them away.
 * Threads: pure.
 */
#ifndef KERF_BASE_LINK_SPEC_H
#define KERF_BASE_LINK_SPEC_H

#include "kerf/err.h"

#include <stddef.h>
#include <stdint.h>

#define KERF_LINK_TIMES_MAX 16
#define KERF_LINK_PACKET 1448 /* bytes of a stream in a packet, ... */
#define KERF_LINK_HEADERS 52  /* ... and of IPv4 and TCP with time stamps */

typedef struct kerf_link_breaks {
    double every_ms, for_ms; /* means of exponential ones; 0: none */
    size_t count;
    struct {
        double at_ms, for_ms;
    } at[KERF_LINK_TIMES_MAX];
} kerf_link_breaks;

typedef struct kerf_link_spec {
    char name[16];             /* of the preset; "" */
    double up_mbit, down_mbit; /* 0: no limit */
    double rtt_ms, jitter_ms, queue_ms;
    kerf_link_breaks stall, outage;
    uint64_t cut_bytes; /* 0: none */
    double flip;        /* [0, 1] */
    uint64_t seed;
} kerf_link_spec;

/* Errors: KERF_EINVAL; *why says which word. *out is untouched then. */
KERF_NODISCARD kerf_err kerf_link_spec_parse(kerf_link_spec *out,
                                             const char *text,
                                             kerf_detail *why);
/* Changes what the keys name; no preset. As above. */
KERF_NODISCARD kerf_err kerf_link_spec_change(kerf_link_spec *spec,
                                              const char *text,
                                              kerf_detail *why);

/* The presets, slowest first; NULL: no more. */
const kerf_link_spec *kerf_link_preset(size_t i);

/* "9 Mbit/s, RTT 170 ms" for a person, into out[cap]. Returns out. */
char *kerf_link_spec_text(char *out, size_t cap, const kerf_link_spec *spec);

#endif
