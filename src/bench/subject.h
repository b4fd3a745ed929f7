/*
 * subject.h - one model under measurement: its files, its halves in this
 * process, and the clouds that serve it.
 * Threads: one owner.
 */
#ifndef KERF_BENCH_SUBJECT_H
#define KERF_BENCH_SUBJECT_H

#include "bench/alone.h"
#include "bench/relay.h"

typedef struct kerf_subject_opts {
    const char *dir;  /* with the pair */
    const char *work; /* an existing folder for links, stores and logs */
    const char *name;
    const char *link; /* SPEC of one between edges and clouds; NULL: none */
    kerf_engine *engine;
    size_t cores; /* networks for the limit on all cores */
    int core;     /* where the pinned cloud runs */
} kerf_subject_opts;

typedef struct kerf_served_at { /* a cloud of ours */
    kerf_child child;
    kerf_relay relay; /* before it, with a link */
    int port;         /* where edges dial */
} kerf_served_at;

typedef struct kerf_subject {
    char name[KERF_NAME_MAX];
    char work[KERF_PATH_MAX];
    char models[KERF_PATH_MAX]; /* the pair, alone in a folder */
    char input[KERF_PATH_MAX];  /* for --input: seeded, one .npy per port */
    const char *link;
    kerf_alone *alone; /* of count cores */
    size_t alone_count;
    kerf_served_at free, pinned; /* all cores; one core with one worker */
    int core;
} kerf_subject;

/* Links the files, loads the halves, starts both clouds. Free:
 * kerf_subject_fini(), also after an error. */
KERF_NODISCARD kerf_err kerf_subject_init(kerf_subject *s,
                                          const kerf_subject_opts *opts,
                                          kerf_detail *why);
void kerf_subject_fini(kerf_subject *s); /* accepts a zeroed one */

/* End: kerf_subject_stop(). */
KERF_NODISCARD kerf_err kerf_subject_cloud(kerf_subject *s, kerf_served_at *at,
                                           int core, kerf_detail *why);

void kerf_subject_stop(kerf_served_at *at); /* accepts a zeroed one */

typedef struct kerf_edge_run {
    int core, window;
    long repeat;
} kerf_edge_run;

typedef struct kerf_edge_figures {
    double p50_us, p99_us; /* from the head's start to the answer's last byte */
    double hz;
} kerf_edge_figures;

/* An edge from start to end. Errors: KERF_EIO also when not every request was
 * answered. */
KERF_NODISCARD kerf_err kerf_subject_edge(kerf_subject *s, kerf_served_at *at,
                                          const kerf_edge_run *run,
                                          kerf_edge_figures *out,
                                          kerf_detail *why);
/* The engine alone on the pinned cloud's core, in a process of its own
 * (`kerf bench limit`): runs of head and tail per second. */
KERF_NODISCARD kerf_err kerf_subject_limit(kerf_subject *s, double seconds,
                                           double *hz, kerf_detail *why);
/* An edge that has a model and gets no inputs; the caller stops it. */
KERF_NODISCARD kerf_err kerf_subject_idle_edge(kerf_subject *s,
                                               kerf_served_at *at,
                                               kerf_child *edge,
                                               kerf_detail *why);

#endif
