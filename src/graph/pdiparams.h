/*
 * pdiparams.h - the parameters of a Paddle program (.pdiparams): one record for
 * each, in byte order of the names, which are not in the file. Buffers only.
 *
 *     u32 0, u64 lod levels, u32 0, i32 L, TensorDesc (L bytes), data
 *
 * Threads: values.
 */
#ifndef KERF_GRAPH_PDIPARAMS_H
#define KERF_GRAPH_PDIPARAMS_H

#include "base/bytes.h"
#include "graph/pdmodel.h"

typedef struct kerf_pd_record {
    kerf_pd_desc desc;
    const uint8_t *start; /* of the record */
    size_t len;           /* of the record */
    const uint8_t *data;  /* not aligned */
    size_t data_len;
} kerf_pd_record;

/* Takes the next record from r. *out is untouched on error.
 * Errors: KERF_ECORRUPT, KERF_ENOTSUP (lod levels, element type, rank),
 * KERF_ETOOBIG. */
KERF_NODISCARD kerf_err kerf_pd_record_read(kerf_rd *r, kerf_pd_record *out);

/*
 * Finds the record of each parameter: record, which may be NULL, is
 * [program->param_count]. Checks that data holds exactly the parameters of the
 * program: as many, with the dtypes and shapes that it declares, and nothing
 * after them. With no names in the file, this is the only guard against a
 * shifted order. Errors: those of kerf_pd_record_read(); KERF_ECORRUPT names
 * the parameter.
 */
KERF_NODISCARD kerf_err kerf_pdiparams_check(const kerf_pdmodel *program,
                                             const void *data, size_t len,
                                             kerf_pd_record *record,
                                             kerf_detail *why);

#endif
