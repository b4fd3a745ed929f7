#include "base/log.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

static struct {
    kerf_log_sink *sink;
    void *ctx;
    kerf_log_level most;
} logger;

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
    char line[1024];
    va_list args;
    int n;

    if (!kerf_log_on(level))
        return;
    n = snprintf(line, sizeof line, "%s %s ", names[level], event);
    if (n < 0 || (size_t)n >= sizeof line)
        return;
    va_start(args, fmt);
    (void)vsnprintf(line + n, sizeof line - (size_t)n, fmt, args);
    va_end(args);
    logger.sink(logger.ctx, level, line);
}
