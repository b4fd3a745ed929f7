#include "kerf/codec_id.h"

#include <string.h>

static const char *const names[KERF_CODEC_COUNT] = {
    "raw", "exact", "f16", "bf16", "q8",  "q7",  "q6",  "q5",  "q4",
    "q3",  "q2",    "q8c", "q7c",  "q6c", "q5c", "q4c", "q3c", "q2c",
    "q8s", "q7s",   "q6s", "q5s",  "q4s", "q3s", "q2s"};

const char *
kerf_codec_name(uint8_t id)
{
    return id < KERF_CODEC_COUNT ? names[id] : "?";
}

bool
kerf_codec_from_name(const char *name, kerf_codec_id *out)
{
    for (int i = 0; i < KERF_CODEC_COUNT; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (kerf_codec_id)i;
            return true;
        }
    }
    return false;
}
