/*
 * info.h - what a model is: where it comes from, what it takes and gives, what
 * it is made of, and whether the engine can read it.
 * Threads: values.
 */
#ifndef KERF_CUT_INFO_H
#define KERF_CUT_INFO_H

#include "cut/model.h"

#define KERF_OPSETS_MAX 16

typedef struct kerf_op_count {
    const char *op; /* the graph's */
    size_t count;
    bool is_lacking; /* the engine is known not to have it */
} kerf_op_count;

typedef struct kerf_opset {
    char domain[64];
    int64_t version;
} kerf_opset;

typedef struct kerf_cut_info {
    char producer[128]; /* "pytorch 2.1.0"; "" when not said; not safe to
                           print */
    int64_t ir_version; /* ONNX; else 0 */
    kerf_opset opset[KERF_OPSETS_MAX]; /* ONNX, as far as there is room */
    size_t opset_count;
    size_t params, const_nodes, shape_nodes;
    uint64_t param_elements, param_bytes;
    kerf_op_count *op; /* owned; most frequent first */
    size_t op_count;
    char engine[128];
    bool engine_reads;
    kerf_detail engine_why; /* when not */
} kerf_cut_info;

/* Errors: KERF_ENOMEM. That the engine cannot read it is none. */
KERF_NODISCARD kerf_err kerf_cut_info_make(kerf_cut_info *info,
                                           const kerf_cut_model *m,
                                           kerf_engine *engine);
void kerf_cut_info_fini(kerf_cut_info *info); /* accepts a zeroed one */

#endif
