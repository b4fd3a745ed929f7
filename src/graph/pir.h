/*
 * pir.h - Paddle 3's programs (.json, its "PIR") as the .pdmodel that engines
 * and older Paddles read. The .pdiparams beside a program stays as it is.
 *
 *     {"base_code": {"magic": "pir", "version": 4}, "program": {"regions":
 *      [{"blocks": [{"ops": [
 *          {"#": "1.conv2d",                           dialect and op
 *           "A": [{"N": name, "AT": {"#": type, "D": value}}],  attributes
 *           "I": [{"%": 7}, {"%": 3}],                 operands: values
 *           "O": [{"%": 8, "TT": type}]}, ...]}]}]}}   results
 *
 * What an op becomes is in the table of pir_ops.c. Values have numbers; names
 * are made for them, but parameters, inputs and outputs keep theirs.
 * Buffers only. Threads: any.
 */
#ifndef KERF_GRAPH_PIR_H
#define KERF_GRAPH_PIR_H

#include "kerf/err.h"

#include <stddef.h>
#include <stdint.h>

#define KERF_PIR_BYTES_MAX ((size_t)8 << 20)

/*
 * The program as a .pdmodel in new memory -> free(). *out is untouched on
 * error.
 * Errors: KERF_ECORRUPT, KERF_ENOTSUP (what it needs is beyond the table:
 * *why names the ops, and says how to export the old form), KERF_ETOOBIG,
 * KERF_ENOMEM.
 */
KERF_NODISCARD kerf_err kerf_pir_translate(const void *json, size_t len,
                                           uint8_t **out, size_t *out_len,
                                           kerf_detail *why);

#endif
