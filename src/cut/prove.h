/*
 * prove.h - the proof that two halves are the whole: all three run in the
 * engine on the same inputs, and tail(head(x)) is compared with whole(x).
 *
 *     kerf_prover_new()    runs the whole once on every input
 *     kerf_prover_check()  any number of cuts of it
 *
 * Inputs: seeded ones (the card's probes first, then others, three at least),
 * for networks that take pictures one with edges and areas, and those of the
 * caller: pictures through the card's rules, or tensors.
 *
 * Rounding: the engine joins a convolution with what follows it, and a cut
 * between the two parts them; sums then run in another order, and some networks
 * make more of a last bit than the tolerance. So halves that differ are also
 * compared with the whole when it has to give what crosses too: the same file,
 * and nothing cut, but the engine keeps those tensors. Halves that are equal to
 * that are cut rightly; they fail all the same, but it is said.
 * Threads: one owner.
 */
#ifndef KERF_CUT_PROVE_H
#define KERF_CUT_PROVE_H

#include "cut/model.h"
#include "graph/cuts.h"

#define KERF_PROOF_SEEDED_LEAST 3
#define KERF_PROOF_INPUTS_MAX 256
#define KERF_PROOF_TOLERANCE 1e-5     /* parts of an output's range; for f32 */
#define KERF_PROOF_ROUNDING_MOST 1e-3 /* more than this is never rounding */

typedef struct kerf_prover kerf_prover;

typedef struct kerf_proof_opts {
    const char *const *input; /* as for kerf_source_new() */
    size_t input_count;
    /* Parts of an output's range, over all inputs. Negative: by what crosses,
     * 1e-5 for f32. */
    double tolerance;
    bool is_bf16; /* the engine computes so: another default */
} kerf_proof_opts;

typedef struct kerf_proof {
    size_t runs;
    size_t outputs;
    bool ok;
    bool bit_equal;
    bool is_static; /* what crosses; if not, no cloud can serve the pair */
    double max_abs, max_rel; /* from the whole, over all runs and outputs */
    double tolerance;
    bool is_rounding; /* not ok, but equal to a whole that keeps what crosses */
    kerf_detail why;  /* not ok: the run and the output that differ */
    kerf_probe *probe; /* owned; of what crosses, for a manifest */
    size_t probe_count;
} kerf_proof;

void kerf_proof_fini(kerf_proof *proof); /* accepts a zeroed one */

/* m must be settled, and outlives the prover; with pictures its card is settled
 * too. Errors: KERF_EINVAL (sizes, rules, inputs), KERF_EMISMATCH (the whole
 * does not answer its own card's probes), KERF_ETOOBIG (inputs), the engine's
 * and the source's. */
KERF_NODISCARD kerf_err kerf_prover_new(kerf_prover **out, kerf_engine *engine,
                                        kerf_cut_model *m,
                                        const kerf_proof_opts *opts,
                                        kerf_detail *why);
void kerf_prover_free(kerf_prover *p); /* accepts NULL */

/* cut: what the halves were made by, or NULL: rounding is not looked for then.
 * Outputs that differ are no error but proof->ok. *proof: zeroed, fini it also
 * after an error. Errors: the engine's, KERF_EMISMATCH (the halves do not fit
 * together). */
KERF_NODISCARD kerf_err kerf_prover_check(kerf_prover *p, const kerf_cut *cut,
                                          const kerf_model_bytes *head,
                                          const kerf_model_bytes *tail,
                                          kerf_proof *proof, kerf_detail *why);

/* What the whole answers to its seeded inputs, for a card without probes: new
 * -> kerf_probes_free(). Outputs that depend on the data are left out.
 * Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_prover_probes(const kerf_prover *p,
                                           kerf_probe **out, size_t *count);

#endif
