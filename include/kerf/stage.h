/*
 * stage.h - where the time of one request went. The stages add up to the end
 * to end time. Threads: values.
 */
#ifndef KERF_STAGE_H
#define KERF_STAGE_H

#include "kerf/err.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum kerf_stage {
    KERF_STAGE_CAPTURE = 0, /* reading the file, waiting for the camera */
    KERF_STAGE_PREPROCESS,  /* decode and resize */
    KERF_STAGE_HEAD,        /* on the edge; `kerf run`: the whole network */
    KERF_STAGE_ENCODE,      /* tensor codec, building the frame */
    KERF_STAGE_UPLINK,      /* from there until the cloud has the last byte */
    KERF_STAGE_QUEUE,       /* waiting for a worker */
    KERF_STAGE_DECODE,
    KERF_STAGE_TAIL,
    KERF_STAGE_DOWNLINK, /* until the edge has the last byte of the answer */
    KERF_STAGE_COUNT
} kerf_stage;

typedef struct kerf_stages {
    uint64_t ns[KERF_STAGE_COUNT];
} kerf_stages;

KERF_API const char *kerf_stage_name(kerf_stage stage); /* "uplink" */
KERF_API uint64_t kerf_stages_total(const kerf_stages *s);

#ifdef __cplusplus
}
#endif
#endif
