/*
 * alone.h - both halves of a model in this process, without any wire: what the
 * engine alone takes.
 * Threads: one owner.
 */
#ifndef KERF_BENCH_ALONE_H
#define KERF_BENCH_ALONE_H

#include "base/stats.h"
#include "kerf/engine.h"
#include "model/bundle.h"

/* One half, ready to run on memory of its own. */
typedef struct kerf_half {
    kerf_net *net;
    kerf_request *request;
    kerf_tensor in[KERF_PORTS_MAX];
} kerf_half;

/* Head and tail; the head's outputs are the tail's inputs. */
typedef struct kerf_alone {
    kerf_half head, tail;
    kerf_tensor out[KERF_PORTS_MAX]; /* of the tail */
} kerf_alone;

/* Loads and warms, as cloud and edge do for .npy inputs. The head's inputs are
 * seeded. Free: kerf_alone_fini(), also after an error. Errors: the engine's,
 * KERF_EMISMATCH (head and tail do not fit), KERF_ENOTSUP (free shapes). */
KERF_NODISCARD kerf_err kerf_alone_init(kerf_alone *a, kerf_engine *engine,
                                        const kerf_pair *pair,
                                        kerf_detail *why);
void kerf_alone_fini(kerf_alone *a); /* accepts a zeroed one */

size_t kerf_alone_crossing(const kerf_alone *a); /* bytes */
size_t kerf_alone_answer(const kerf_alone *a);   /* bytes */

/* Adds the time in ns of each run. */
KERF_NODISCARD kerf_err kerf_half_time(kerf_half *half, kerf_stats *ns,
                                       int runs, kerf_detail *why);

/* Runs per second of head then tail, without pause for `seconds`, on each of
 * count at once, one thread each. */
KERF_NODISCARD kerf_err kerf_alone_rate(kerf_alone *a, size_t count,
                                        double seconds, double *hz,
                                        kerf_detail *why);

/*
 * The same for pair `name` of folder dir, in one thread, loaded for it. To pin
 * this to a core, start a process there: the engine gives its threads the cores
 * that the process had when it began, whatever they are given later.
 */
KERF_NODISCARD kerf_err kerf_bench_limit(const char *dir, const char *name,
                                         double seconds, double *hz,
                                         kerf_detail *why);

#endif
