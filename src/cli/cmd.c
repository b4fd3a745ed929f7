#include "cli/cmd.h"

#include "base/fs.h"
#include "base/log.h"
#include "cli/config.h"
#include "cli/service.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whether systemd's journal reads stderr: it takes a priority per line. */
static bool
is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM"); /* device:inode */
    char own[64];
    struct stat st;

    if (stream == NULL || fstat(STDERR_FILENO, &st) != 0)
        return false;
    (void)snprintf(own, sizeof own, "%llu:%llu", (unsigned long long)st.st_dev,
                   (unsigned long long)st.st_ino);
    return strcmp(own, stream) == 0;
}

bool
kerf_cmd_logs(const kerf_cmd_common *common)
{
    return common->log_format != KERF_LOG_TEXT;
}

void
kerf_cmd_apply_log(const kerf_cmd_common *common)
{
    static const kerf_log_level levels[] = {KERF_LOG_WARN, KERF_LOG_ERROR,
                                            KERF_LOG_INFO, KERF_LOG_DEBUG,
                                            KERF_LOG_TRACE};

    if (common->log_given)
        kerf_log_set_level(levels[common->log]);
    else if (kerf_cmd_logs(common) && getenv("KERF_LOG") == NULL)
        kerf_log_set_level(KERF_LOG_INFO);
}

void
kerf_cmd_apply(const kerf_cmd_common *common, kerf_engine_opts *engine)
{
    kerf_cmd_apply_log(common);
    kerf_log_set_format((kerf_log_format)common->log_format, is_journal());
    engine->kind = common->engine == 1 ? "fake" : NULL;
    engine->precision = (kerf_precision)common->precision;
}

void
kerf_cmd_legacy_service(const kerf_cmd_common *common)
{
    kerf_service_no_watchdog();
    if (common->config.path != NULL)
        (void)signal(SIGHUP, SIG_IGN); /* it asks for no end */
}

void
kerf_cmd_reload(const kerf_command *command, kerf_cmd_common *common)
{
    kerf_service_reloading();
    kerf_config_again(command, &common->config);
    kerf_cmd_apply_log(common);
    kerf_log(KERF_LOG_INFO, "config.reread", "file=%s",
             KERF_Q(common->config.path != NULL ? common->config.path : ""));
    kerf_service_ready();
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
