#include "cli/cmd.h"

#include "base/fs.h"
#include "base/log.h"

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
