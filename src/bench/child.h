/*
 * child.h - a process of ours: started, listened to, measured, ended.
 *
 * "kerf" is the executable that we are. It dies when the thread that started it
 * does, so that nothing is left however a benchmark ends.
 * Threads: one owner; kerf_bench_interrupt() from anywhere, also a signal.
 */
#ifndef KERF_BENCH_CHILD_H
#define KERF_BENCH_CHILD_H

#include "base/fs.h"

#include <stdbool.h>
#include <sys/types.h>

#define KERF_ANY_CORE (-1)
#define KERF_CHILD_LINE 16384

typedef struct kerf_child {
    pid_t pid;               /* 0: none */
    int out;                 /* read end of its stdout */
    char what[32];           /* "kerf cloud", "cp" */
    char log[KERF_PATH_MAX]; /* its stderr */
    char line[KERF_CHILD_LINE];
    size_t got, used; /* bytes in line; of them the line given last */
} kerf_child;

/* argv: NULL-terminated; argv[0] is "kerf", with a subcommand behind it, or a
 * program on the path. core: the only one that it
 * runs on, or KERF_ANY_CORE. log: file for its stderr. Errors: KERF_EIO. */
KERF_NODISCARD kerf_err kerf_child_start(kerf_child *child,
                                         const char *const *argv, int core,
                                         const char *log, kerf_detail *why);
/* Reads its stdout up to a JSON line {"event": event, ...} (NULL: any); *line
 * lives until the next call. Errors: KERF_ECLOSED (it ended first: *why has its
 * last words), KERF_EDEADLINE, KERF_EINTR, KERF_EIO. */
KERF_NODISCARD kerf_err kerf_child_event(kerf_child *child, const char *event,
                                         int timeout_ms, const char **line,
                                         kerf_detail *why);
/* Reads what it has printed and drops it, so that it never waits for us. */
void kerf_child_drain(kerf_child *child);
/* Waits for it to end by itself. Errors: KERF_EDEADLINE, KERF_EINTR,
 * KERF_EIO (exit status not 0). */
KERF_NODISCARD kerf_err kerf_child_wait(kerf_child *child, int timeout_ms,
                                        kerf_detail *why);
/* SIGTERM, after 3 s SIGKILL. Accepts one that never started. */
void kerf_child_stop(kerf_child *child);

/* All its threads, user and kernel. 0 when it is gone. */
uint64_t kerf_child_cpu_ns(const kerf_child *child);
uint64_t kerf_child_rss(const kerf_child *child);  /* bytes; 0: unknown */
uint64_t kerf_child_peak(const kerf_child *child); /* the most it ever was */

/*
 * One from start to end; what it prints is dropped. *seconds: how long it took.
 * own, which may be NULL, becomes the greatest RssAnon that was seen of it, in
 * bytes, if it was less: memory of its own, which no file backs, looked at each
 * ms. Errors: as kerf_child_start() and kerf_child_wait(), with its last words.
 */
KERF_NODISCARD kerf_err kerf_child_run(const char *const *argv, const char *log,
                                       double *seconds, uint64_t *own,
                                       kerf_detail *why);

/* Every wait ends with KERF_EINTR from now on. */
void kerf_bench_interrupt(void);
bool kerf_bench_interrupted(void);

#endif
