/*
 * pdmodel.h - what loading needs to know of a Paddle program (.pdmodel): its
 * version, the types of its ops and its parameters. Buffers only.
 *
 * The program is a protobuf message (framework.proto); this walks the wire form
 * and looks at nothing else. Everything points into the caller's bytes.
 * Threads: values.
 */
#ifndef KERF_GRAPH_PDMODEL_H
#define KERF_GRAPH_PDMODEL_H

#include "kerf/tensor.h"

#define KERF_PDMODEL_PARAMS_MAX 65536
#define KERF_PDMODEL_OPS_MAX 1048576

/* TensorDesc. dtype is valid only when is_known. */
typedef struct kerf_pd_desc {
    bool is_known;
    kerf_dtype dtype;
    kerf_shape shape; /* -1: free */
} kerf_pd_desc;

typedef struct kerf_pd_text {
    const char *at; /* not 0-terminated */
    size_t len;
} kerf_pd_text;

typedef struct kerf_pd_param {
    kerf_pd_text name;
    kerf_pd_desc desc;
} kerf_pd_param;

typedef struct kerf_pdmodel {
    int64_t version;      /* 2006000: Paddle 2.6.0; 0: not said */
    kerf_pd_param *param; /* owned; by name, as in the .pdiparams */
    size_t param_count;
    kerf_pd_text *op; /* owned; the type of each op of all blocks, in order */
    size_t op_count;
} kerf_pdmodel;

/* Fills *p, which shows into data. Untouched on error.
 * Errors: KERF_ECORRUPT, KERF_ETOOBIG, KERF_ENOTSUP (rank), KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_pdmodel_open(kerf_pdmodel *p, const void *data,
                                          size_t len, kerf_detail *why);
void kerf_pdmodel_close(kerf_pdmodel *p); /* accepts a zeroed one */

/* Parses one TensorDesc message. */
KERF_NODISCARD kerf_err kerf_pd_desc_read(kerf_pd_desc *out, const void *data,
                                          size_t len);

#endif
