/*
 * log.h - one line per event: level, stable event id, key=value.
 *
 *     kerf_log(KERF_LOG_WARN, "net.frame_too_big", "conn=%u len=%zu why=%s",
 *              id, len, KERF_Q(why));
 *
 * Silent until a sink is set. Text that came from a peer or a file, or that has
 * blanks, goes through KERF_Q().
 * Threads: kerf_log() from any thread; set the sink at start, before other
 * threads log.
 */
#ifndef KERF_BASE_LOG_H
#define KERF_BASE_LOG_H

#include "base/text.h"
#include "kerf/err.h"

#include <stdbool.h>
#include <stdint.h>

#define KERF_LOG_QUOTED 640
/* Quoted, within the enclosing block. */
#define KERF_Q(text) \
    kerf_text_quote((char[KERF_LOG_QUOTED]){0}, KERF_LOG_QUOTED, (text))

typedef enum kerf_log_level {
    KERF_LOG_ERROR = 0,
    KERF_LOG_WARN,
    KERF_LOG_INFO,
    KERF_LOG_DEBUG,
    KERF_LOG_TRACE, /* per frame: pointers and lengths, for tests */
} kerf_log_level;

typedef enum kerf_log_format {
    KERF_LOG_TEXT = 0, /* warn net.gone conn=7 why="..." */
    KERF_LOG_LOGFMT,   /* ts=2026-11-30T03:44:10.123Z level=warn event=net.gone
                        * conn=7 why="..." */
    KERF_LOG_JSON,     /* {"ts":"...","level":"warn","event":"net.gone",...} */
} kerf_log_format;

/* line is complete, 0-terminated, without newline; valid during the call. */
typedef void kerf_log_sink(void *ctx, kerf_log_level level, const char *line);

void kerf_log_set(kerf_log_sink *sink, void *ctx, kerf_log_level most);
void kerf_log_set_sink(kerf_log_sink *sink, void *ctx); /* the level stays */
void kerf_log_set_level(kerf_log_level most);           /* the sink stays */
/* TEXT until then. has_priority: <4> before each line, as systemd's journal
 * takes it. At start, as the sink. */
void kerf_log_set_format(kerf_log_format format, bool has_priority);
kerf_log_format kerf_log_get_format(void);
int kerf_log_on(kerf_log_level level); /* worth formatting? */
void kerf_log(kerf_log_level level, const char *event, const char *fmt, ...)
    KERF_PRINTF(3, 4);

/* What log.c makes of an event in LOGFMT or JSON: of fields as `a=1 b="x y"`,
 * cut anywhere, one well-formed line in out[cap], cap >= 256. Text that is not
 * safe becomes so; JSON has numbers for what is one. */
void kerf_log_line(char *out, size_t cap, kerf_log_format format,
                   uint64_t unix_ms, const char *level, const char *event,
                   const char *fields);

#endif
