/*
 * link_emu.h - a link of a known kind, emulated by a TCP proxy: what comes in
 * on a port goes on to another address, as slowly, late and badly as the SPEC
 * (base/link_spec.h) says. For tests and benchmarks.
 *
 * All connections share the rate of each way, by turns. What a way holds is
 * bounded: by its queue, and by what is under way at its rate; then senders
 * wait, as at a router. Rates count packets of 1,448 bytes with 52 of headers.
 * A new connection carries nothing for one RTT. What TCP makes of losses
 * (retransmissions, slow start) is not emulated: stalls and jitter stand in.
 *
 * What is random depends on the seed, on the number of a connection (in the
 * order of accepting) and on the number of a byte in it: bit errors are the
 * same again in each run.
 * Threads: the loop's.
 */
#ifndef KERF_NET_LINK_EMU_H
#define KERF_NET_LINK_EMU_H

#include "base/link_spec.h"
#include "net/loop.h"

typedef struct kerf_link_emu kerf_link_emu;

typedef struct kerf_link_counts {
    uint64_t connections;          /* accepted; refused ones too */
    uint64_t open;                 /* now */
    uint64_t up_bytes, down_bytes; /* delivered */
    uint64_t flipped, cut, reset;  /* bytes; connections */
    uint64_t stalls, outages;
} kerf_link_counts;

typedef struct kerf_link_emu_opts {
    const char *host; /* where to listen */
    int port;         /* 0: any */
    const char *to_host;
    int to_port;
    const kerf_link_spec *spec; /* copied */
} kerf_link_emu_opts;

/* Errors: those of kerf_listen(), KERF_ENOENT (no such host), KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_link_emu_new(kerf_link_emu **out, kerf_loop *loop,
                                          const kerf_link_emu_opts *opts,
                                          kerf_detail *why);
void kerf_link_emu_free(kerf_link_emu *emu); /* accepts NULL */
int kerf_link_emu_port(const kerf_link_emu *emu);
kerf_link_counts kerf_link_emu_counts(const kerf_link_emu *emu);
const kerf_link_spec *kerf_link_emu_spec(const kerf_link_emu *emu);

/*
 * One of
 *     key=value[,...]   as in a SPEC, from now on; times from now on, too
 *     hold, go          nothing moves, until go
 *     down, up          connections break and none is made, until up
 *     reset             connections break, once
 *     vanish            what is open now carries nothing any more, and nobody
 *                       is told
 *     cut BYTES         what is open now ends after so many more, either way
 * Errors: KERF_EINVAL.
 */
KERF_NODISCARD kerf_err kerf_link_emu_tell(kerf_link_emu *emu, const char *text,
                                           kerf_detail *why);

#endif
