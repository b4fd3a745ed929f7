/*
 * json_load.h - a JSON text of a peer or a file, within a bound.
 * Threads: any.
 */
#ifndef KERF_TRUST_JSON_LOAD_H
#define KERF_TRUST_JSON_LOAD_H

#include "kerf/err.h"

#include <jansson.h>
#include <stddef.h>

/* *out -> json_decref(); untouched on error. Members that stand there twice are
 * refused. what: how the text is called in *why, which quotes nothing of it.
 * Errors: KERF_ECORRUPT (no JSON, or more than most bytes). */
KERF_NODISCARD kerf_err kerf_json_load(json_t **out, const void *json,
                                       size_t len, size_t most,
                                       const char *what, kerf_detail *why);

#endif
