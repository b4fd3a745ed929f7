/*
 * top_read.h - what a cloud says on its control socket (cloud/control.h), read.
 * Threads: pure.
 */
#ifndef KERF_CLI_TOP_READ_H
#define KERF_CLI_TOP_READ_H

#include "kerf/cloud.h"

#include <jansson.h>

/* Fills *out from the answer's object. What is missing is 0. Free:
 * kerf_cloud_view_free(). Errors: KERF_EPROTO (no such answer; *why has what
 * the cloud says instead), KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_top_read(kerf_cloud_view *out, const json_t *o,
                                      kerf_detail *why);
/* Only the rollouts of such an object; the rest of *v is left alone. */
KERF_NODISCARD kerf_err kerf_top_read_rollouts(kerf_cloud_view *v,
                                               const json_t *o);

#endif
