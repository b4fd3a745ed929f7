#include "cli/cmd.h"

#include "base/fs.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void
kerf_cmd_apply(const kerf_cmd_common *common, kerf_engine_opts *engine)
{
    static const kerf_log_level levels[] = {KERF_LOG_WARN, KERF_LOG_ERROR,
                                            KERF_LOG_INFO, KERF_LOG_DEBUG,
                                            KERF_LOG_TRACE};

    if (common->log_given)
        kerf_log_set_level(levels[common->log]);
    engine->kind = common->engine == 1 ? "fake" : NULL;
    engine->precision = (kerf_precision)common->precision;
}

int
kerf_cmd_failed(kerf_err err, const kerf_detail *why)
{
    kerf_detail line = *why;

    if (line.text[0] == '\0')
        (void)kerf_fail(&line, err, "%s", kerf_err_text(err));
    return kerf_say_error(&line);
}

bool
kerf_cmd_is_dir(const char *path)
{
    return kerf_fs_is_dir(path);
}

bool
kerf_cmd_size(const char *text, uint64_t *out)
{
    static const char units[] = "KMGT";
    char *end = NULL;
    double v;
    const char *unit;

    errno = 0;
    v = strtod(text, &end);
    if (end == text || errno != 0 || !(v >= 0) || v > 1e15)
        return false;
    unit = *end != '\0' ? strchr(units, *end) : NULL;
    if (unit != NULL) {
        for (const char *u = units; u <= unit; u++)
            v *= 1000;
        end++;
    }
    if (*end == 'B')
        end++;
    *out = v < 1e18 ? (uint64_t)v : UINT64_MAX;
    return *end == '\0';
}
