#include "base/log.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>

#define LINE_MAX_LEN 8192

static struct {
    kerf_log_sink *sink;
    void *ctx;
    _Atomic kerf_log_level most; /* may change while others log */
    kerf_log_format format;
    bool has_priority;
} logger;

void
kerf_log_set_format(kerf_log_format format, bool has_priority)
{
    logger.format = format;
    logger.has_priority = has_priority;
}

kerf_log_format
kerf_log_get_format(void)
{
    return logger.format;
}

void
kerf_log_set(kerf_log_sink *sink, void *ctx, kerf_log_level most)
{
    logger.sink = sink;
    logger.ctx = ctx;
    logger.most = most;
}

void
kerf_log_set_sink(kerf_log_sink *sink, void *ctx)
{
    logger.ctx = ctx;
    logger.sink = sink;
}

void
kerf_log_set_level(kerf_log_level most)
{
    logger.most = most;
}

int
kerf_log_on(kerf_log_level level)
{
    return logger.sink != NULL && level <= logger.most;
}

void
kerf_log(kerf_log_level level, const char *event, const char *fmt, ...)
{
    static const char *const names[] = {"error", "warn", "info", "debug",
                                        "trace"};
    static const char priority[] = "34677";
    char fields[1536];
    char line[LINE_MAX_LEN];
    struct timespec now = {0};
    va_list args;
    int n = 0;

    if (!kerf_log_on(level))
        return;
    va_start(args, fmt);
    (void)vsnprintf(fields, sizeof fields, fmt, args);
    va_end(args);
    if (logger.has_priority)
        n = snprintf(line, sizeof line, "<%c>", priority[level]);
    if (logger.format == KERF_LOG_TEXT) {
        (void)snprintf(line + n, sizeof line - (size_t)n, "%s %s %s",
                       names[level], event, fields);
    } else {
        (void)clock_gettime(CLOCK_REALTIME, &now);
        kerf_log_line(line + n, sizeof line - (size_t)n, logger.format,
                      (uint64_t)now.tv_sec * 1000 +
                          (uint64_t)now.tv_nsec / 1000000,
                      names[level], event, fields);
    }
    logger.sink(logger.ctx, level, line);
}
