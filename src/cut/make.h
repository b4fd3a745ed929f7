/*
 * make.h - a cut as files, proved before they get their names, or as a pair in
 * memory; and two halves joined again.
 * Threads: one owner.
 */
#ifndef KERF_CUT_MAKE_H
#define KERF_CUT_MAKE_H

#include "cut/fresh.h"
#include "cut/prove.h"
#include "model/bundle.h"

typedef struct kerf_make_opts {
    const char *name;    /* of the pair, or of the joined model */
    kerf_engine *engine; /* NULL: no proof */
    kerf_proof_opts proof;
} kerf_make_opts;

typedef struct kerf_made {
    kerf_proof proof; /* zeroed: there was none; kerf_proof_fini() */
    uint64_t prove_ns;
    uint8_t id[KERF_BUNDLE_ID_LEN]; /* of the bundle */
} kerf_made;

/*
 * The name of the pair that a model makes by default: its own; X-head when that
 * is client_infer_X, X-tail when it is server_infer_X. Into out[KERF_NAME_MAX].
 */
char *kerf_make_name(char *out, const char *name);

/*
 * Writes client_infer_NAME.*, server_infer_NAME.*, NAME.manifest.json, and
 * cards when m has one, into the open folder of files; proves them where they
 * stand; commits. The caller finishes files in any case, which removes what
 * was written when this has failed.
 * Errors: KERF_EINVAL (the name, files that are there), KERF_ENOTSUP (the cut
 * is refused), KERF_EMISMATCH (the proof failed), those of kerf_graph_write(),
 * the engine's and the disk's.
 */
KERF_NODISCARD kerf_err kerf_make_cut(kerf_fresh *files, kerf_cut_model *m,
                                      const kerf_cut *cut,
                                      const kerf_make_opts *opts,
                                      kerf_made *made, kerf_detail *why);

/* The same in memory, unproved, as kerf_pair_read() would read it: a copy.
 * Errors: those of kerf_make_cut(). */
KERF_NODISCARD kerf_err kerf_make_pair(kerf_pair *pair, const kerf_cut_model *m,
                                       const kerf_cut *cut, const char *name,
                                       kerf_detail *why);

/* tail after head, as NAME.* with the input rules of the head's card and the
 * labels of the tail's; shape: as for kerf_cut_settle(), of the whole. */
KERF_NODISCARD kerf_err kerf_make_joined(
    kerf_fresh *files, const kerf_cut_model *head, const kerf_cut_model *tail,
    const char *const *shape, size_t shape_count, const kerf_make_opts *opts,
    kerf_made *made, kerf_detail *why);

#endif
