/*
 * probe.h - test a network with seeded inputs (kerf_tensor_fill_seeded) against
 * sampled outputs, as written in cards and manifests.
 * Threads: as the network's.
 */
#ifndef KERF_ENGINE_PROBE_H
#define KERF_ENGINE_PROBE_H

#include "kerf/engine.h"

#define KERF_PROBE_SAMPLES 16 /* per output, spread evenly */

/* Runs the network on the seed's input (every input port, in order) and hands
 * the outputs to the caller: kerf_tensor_free() each of *count. */
KERF_NODISCARD kerf_err kerf_probe_run(kerf_net *net, uint64_t seed,
                                       kerf_tensor out[KERF_PORTS_MAX],
                                       size_t *count, kerf_detail *why);
/* The same on inputs of the caller (as the ports demand; borrowed). */
KERF_NODISCARD kerf_err kerf_probe_run_on(kerf_net *net, const kerf_tensor *in,
                                          kerf_tensor out[KERF_PORTS_MAX],
                                          size_t *count, kerf_detail *why);

/* Through both halves of a cut, against the whole model's probe. crossed (NULL:
 * not wanted) becomes the probe of what crosses -> kerf_probe_fini(). */
KERF_NODISCARD kerf_err kerf_probe_run_pair(kerf_net *head, kerf_net *tail,
                                            const kerf_probe *probe,
                                            double tolerance,
                                            kerf_probe *crossed,
                                            kerf_detail *why);

/* Samples of outputs as a probe -> kerf_probe_fini(). Values that are not
 * finite are left out; of an output without any other, the shape remains. */
KERF_NODISCARD kerf_err kerf_probe_sample(kerf_probe *probe, uint64_t seed,
                                          const kerf_tensor *out, size_t count);
void kerf_probe_fini(kerf_probe *probe);

/* Whether the outputs are what the probe expects: shapes equal, samples within
 * tolerance times the range of the expected samples (at least 1e-6).
 * KERF_EMISMATCH with the output, element and both values. */
KERF_NODISCARD kerf_err kerf_probe_check(const kerf_probe *probe,
                                         const kerf_tensor *out, size_t count,
                                         double tolerance, kerf_detail *why);

#endif
