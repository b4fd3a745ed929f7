/*
 * log.h - one logfmt line per event: level, stable event id, key=value.
 *
 *     kerf_log(KERF_LOG_WARN, "net.frame_too_big", "conn=%u len=%zu", id, len);
 *
 * Silent until a sink is set. Text that came from a peer or a file goes through
 * kerf_text_safe() first (text.h).
 * Threads: kerf_log() from any thread; set the sink at start, before other
 * threads log.
 */
#ifndef KERF_BASE_LOG_H
#define KERF_BASE_LOG_H

#include "kerf/err.h"

typedef enum kerf_log_level {
    KERF_LOG_ERROR = 0,
    KERF_LOG_WARN,
    KERF_LOG_INFO,
    KERF_LOG_DEBUG,
    KERF_LOG_TRACE, /* per frame: pointers and lengths, for tests */
} kerf_log_level;

/* line is complete, 0-terminated, without newline; valid during the call. */
typedef void kerf_log_sink(void *ctx, kerf_log_level level, const char *line);

void kerf_log_set(kerf_log_sink *sink, void *ctx, kerf_log_level most);
void kerf_log_set_sink(kerf_log_sink *sink, void *ctx); /* the level stays */
void kerf_log_set_level(kerf_log_level most);           /* the sink stays */
int kerf_log_on(kerf_log_level level);                  /* worth formatting? */
void kerf_log(kerf_log_level level, const char *event, const char *fmt, ...)
    KERF_PRINTF(3, 4);

#endif
