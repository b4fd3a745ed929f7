#include "kerf/stage.h"

const char *
kerf_stage_name(kerf_stage stage)
{
    static const char *const names[KERF_STAGE_COUNT] = {
        "capture", "preprocess", "head", "encode",  "uplink",
        "queue",   "decode",     "tail", "downlink"};

    return (unsigned)stage < KERF_STAGE_COUNT ? names[stage] : "?";
}

uint64_t
kerf_stages_total(const kerf_stages *s)
{
    uint64_t total = 0;

    for (int i = 0; i < KERF_STAGE_COUNT; i++)
        total += s->ns[i];
    return total;
}
