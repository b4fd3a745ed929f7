/*
 * probe_json.h - probes as they stand in cards and manifests:
 *
 *     [{"seed": 1, "outputs": [{"shape": [1, 10], "at": [0, 3],
 *                               "values": [0.25, 0.5]}]}]
 *
 * Threads: values.
 */
#ifndef KERF_MODEL_PROBE_JSON_H
#define KERF_MODEL_PROBE_JSON_H

#include "kerf/card.h"

#include <jansson.h>

#define KERF_PROBE_SAMPLES_MAX 4096 /* of one output */

/* New probes -> kerf_probes_free(); NULL and 0 for an empty array. Every index
 * lies inside its shape. Errors: KERF_ECORRUPT (*why has the member),
 * KERF_ETOOBIG, KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_probes_from_json(kerf_probe **out, size_t *count,
                                              const json_t *array,
                                              kerf_detail *why);

/* New reference; NULL when out of memory or when a value is not finite or a
 * seed over INT64_MAX (JSON has no such numbers). */
json_t *kerf_probes_to_json(const kerf_probe *probe, size_t count);

void kerf_probes_free(kerf_probe *probe, size_t count); /* accepts NULL */

#endif
