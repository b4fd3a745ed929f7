/*
 * link_emu_own.h - shared by the files of the link emulator only.
 *
 * Time of the link: CLOCK_MONOTONIC without the time in which it stalled.
 * Everything under way has its time of arrival in that, so that a stall moves
 * all of it.
 */
#ifndef KERF_NET_LINK_EMU_OWN_H
#define KERF_NET_LINK_EMU_OWN_H

#include "net/fd_watch.h"
#include "net/link_emu.h"

#include <sys/socket.h>

enum { KERF_LINK_UP = 0, KERF_LINK_DOWN = 1 };

typedef enum kerf_chunk_kind {
    KERF_CHUNK_DATA = 0,
    KERF_CHUNK_END,   /* no more this way */
    KERF_CHUNK_CUT,   /* the end of the connection */
    KERF_CHUNK_RESET, /* ... which the sender broke */
} kerf_chunk_kind;

typedef struct kerf_chunk {
    struct kerf_chunk *next;
    uint64_t at_ns; /* when it arrives, in the link's time */
    kerf_chunk_kind kind;
    size_t len, done;
    uint8_t data[];
} kerf_chunk;

/* One way of one connection. */
typedef struct kerf_lane {
    kerf_chunk *first, *last;
    size_t held;      /* bytes in chunks */
    uint64_t taken;   /* bytes read so far */
    uint64_t last_ns; /* arrival of the last chunk */
    uint64_t rng;
    uint64_t flip_at; /* number of the next byte to be wrong */
    double flip;      /* that flip_at was drawn for */
    uint64_t cut_at;  /* ends when so many are taken; UINT64_MAX: never */
    bool closed;      /* nothing is read any more */
    bool ended;       /* the end has been delivered */
} kerf_lane;

typedef struct kerf_link_side {
    struct kerf_link_conn *conn;
    int fd;
    kerf_fd_watch *watch;
    bool readable, writable; /* as far as known */
    bool watches_in, watches_out;
} kerf_link_side;

/* lane[UP] is from side[0], who dialled, to side[1]. */
typedef struct kerf_link_conn {
    struct kerf_link_emu *emu;
    struct kerf_link_conn *prev, *next;
    kerf_link_side side[2];
    kerf_lane lane[2];
    uint64_t ready_ns; /* carries nothing before, in the link's time */
    bool connecting;   /* side[1] */
    bool vanished;
} kerf_link_conn;

/* Random and fixed stalls, or outages; real time. */
typedef struct kerf_break_clock {
    uint64_t start_ns;  /* of the times of the spec */
    uint64_t random_ns; /* next random one; UINT64_MAX: none */
    uint64_t until_ns;  /* of the one that is on */
    uint64_t rng;
    uint32_t fixed_done; /* bit per fixed one */
    bool on;
    bool by_hand;
} kerf_break_clock;

void kerf_break_start(kerf_break_clock *c, const kerf_link_breaks *b,
                      uint64_t now_ns, uint64_t seed);
/* Moves to now; *begun: one began. Returns whether one is on. */
bool kerf_break_step(kerf_break_clock *c, const kerf_link_breaks *b,
                     uint64_t now_ns, bool *begun);
/* When to look again; UINT64_MAX: never. */
uint64_t kerf_break_next(const kerf_break_clock *c, const kerf_link_breaks *b);

typedef struct kerf_link_way {
    uint64_t busy_ns;     /* the link's time */
    uint64_t rng;         /* of jitter */
    kerf_link_conn *turn; /* was read last; NULL: begin at the first */
} kerf_link_way;

struct kerf_link_emu {
    kerf_loop *loop;
    kerf_listener *listener;
    kerf_link_spec spec;
    struct sockaddr_storage to;
    socklen_t to_len;
    int timer_fd;
    kerf_fd_watch *timer;
    uint64_t timer_ns; /* what it is set to */
    kerf_link_conn *first, *last;
    kerf_link_way way[2];
    kerf_break_clock stall, outage;
    bool frozen;
    uint64_t frozen_ns; /* the link's time, while it is */
    uint64_t lag_ns;    /* real time - the link's */
    kerf_link_counts counts;
};

/* A lane of connection number `number`. */
void kerf_lane_init(kerf_lane *lane, const kerf_link_spec *spec,
                    uint64_t number, int way);
void kerf_lane_fini(kerf_lane *lane);
/* Puts bit errors into the bytes that are next; returns how many. */
size_t kerf_lane_spoil(kerf_lane *lane, double flip, uint8_t *data, size_t len);
void kerf_lane_push(kerf_lane *lane, kerf_chunk *chunk);
kerf_chunk *kerf_chunk_new(kerf_chunk_kind kind, size_t len); /* or NULL */

/* Reads what there is room for, one way, by turns. */
void kerf_link_take(kerf_link_emu *emu, int way, uint64_t at_ns);
/* Delivers what has arrived; whether any byte was. */
bool kerf_link_deliver(kerf_link_emu *emu, uint64_t at_ns);
/* When something happens by itself, in the link's time; UINT64_MAX: never. */
uint64_t kerf_link_next(const kerf_link_emu *emu, uint64_t at_ns);
/* Ends a connection, by a reset or in order. */
void kerf_link_drop(kerf_link_conn *conn, bool reset);

#endif
