/*
 * fake_graph.h - the networks of the fake engine, and the text that they are.
 *
 * A deterministic engine for tests, sanitizers and fuzzers: small, portable,
 * the same bits everywhere. Its "model" is JSON text in place of the graph
 * (KERF_FORMAT_PADDLE: the .pdmodel file); weights may be anything or none.
 *
 *   {"kerf_fake": 1,
 *    "inputs":  [{"name": "x", "dtype": "f32", "shape": [-1, 3, 32, 32]}],
 *    "hidden":  [{"name": "h", "shape": [-1, 64, 8, 8], "in": ["x"],
 *                 "a": 0.5, "b": 1, "seed": 7}],
 *    "outputs": [{"name": "y", "shape": [-1, 10], "in": ["h"]}],
 *    "cost_us": 0, "cost": "busy", "fail": ""}
 *
 * A value (hidden or output) is computed from earlier values and inputs ("in";
 * without it: from all inputs). With m elements of the value and n of one that
 * it reads:
 *     value[i] = a * sum over what it reads of
 *                    (n >= m: in[i] + in[i + m] + ... ; n < m: in[i % n])
 *                + b + w(seed, i)
 * summed in double, in order; w is in [0, 1), and 0 for seed 0 (the default).
 * So "affine" is a value as large as its input, and ten "class scores" are a
 * value of ten elements. An entry of "outputs" may also be the name of an input
 * or a hidden value. Cutting is moving: the hidden value that ends the head is
 * the tail's input, and tail(head(x)) equals the whole bit for bit.
 *
 *   "dtype"    default "f32"; integers are rounded and saturate
 *   "shape"    -1 first: the batch of input 0, 1 when it is free too
 *   "once"     true: a request computes it in its first run, and leaves it as
 *              it is from then on: a network that costs nothing, for benchmarks
 *   "rows"     of an output: true makes its first dim depend on the data:
 *              (elements of what it reads first that are > 0.5) modulo 8
 *   "batch"    true: it may run several samples at once, each as by itself, in
 *              the time of one
 *   "cost_us"  each run lasts at least this long; "cost": "busy" burns the CPU,
 *              "sleep" waits
 *   "fail"     "load" or "run": that call fails with KERF_EENGINE;
 *              "fail_after": n lets n runs of each request succeed first
 */
#ifndef KERF_ENGINE_FAKE_GRAPH_H
#define KERF_ENGINE_FAKE_GRAPH_H

#include "engine/engine.h"

#define FAKE_VALUES_MAX ((size_t)3 * KERF_PORTS_MAX)

/* One input, hidden value or output, in the order of computing. */
struct fake_value {
    kerf_port port;
    double a, b;
    uint64_t seed;
    bool by_rows, once;
    size_t in_count;
    size_t in[KERF_PORTS_MAX]; /* indices of earlier values */
};

struct fake_graph {
    size_t in_count, value_count, out_count;
    struct fake_value value[FAKE_VALUES_MAX]; /* the inputs are first */
    size_t out[KERF_PORTS_MAX];               /* indices of values */
    uint64_t cost_ns, fail_after;
    bool sleeps, fails_load, fails_run, batches;
};

/*
 * Reads the text of a model into a new *out; the caller owns it -> free().
 * Untouched on error. Errors: KERF_ECORRUPT, KERF_ETOOBIG, KERF_ENOMEM.
 */
KERF_NODISCARD kerf_err kerf_fake_graph_parse(struct fake_graph **out,
                                              const kerf_model_bytes *m,
                                              kerf_detail *why);

/* Gives every value its static shape: the inputs' are want[0..in_count).
 * KERF_EINVAL: a value has none that is usable. */
KERF_NODISCARD kerf_err kerf_fake_graph_settle(struct fake_graph *g,
                                               const kerf_shape *want,
                                               kerf_detail *why);

#endif
