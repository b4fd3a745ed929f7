/*
 * limits.h - bounds that several parts share. Threads: constants.
 */
#ifndef KERF_LIMITS_H
#define KERF_LIMITS_H

#include <stddef.h>

#define KERF_NAME_MAX 128 /* of a model, port or peer, with the end */
#define KERF_PORTS_MAX 64 /* inputs or outputs of one network */
#define KERF_MODEL_BYTES_MAX ((size_t)2 << 30)

#endif
