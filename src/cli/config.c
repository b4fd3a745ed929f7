#include "cli/config.h"

#include "base/fs.h"
#include "base/text.h"
#include "cli/opts_own.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static char *
skip_blanks(char *text)
{
    while (is_blank(*text))
        text++;
    return text;
}

/* Cuts blanks off [text, end). */
static void
cut_blanks(char *text, char *end)
{
    while (end > text && is_blank(end[-1]))
        end--;
    *end = '\0';
}

static int
take_setting(const kerf_place *place, const char *name, char *value)
{
    const kerf_opt *o = kerf_opt_find(place->command, name);
    size_t len = strlen(value);

    if (o == NULL)
        return kerf_opt_fail_unknown(place, name);
    if (o->kind == KERF_OPT_CONFIG)
        return kerf_opt_fail(place, "%s: only on the command line", name);
    if (len == 0)
        return kerf_opt_fail(place,
                             "%s has no value: put it behind the =", name);
    if (value[0] == '"') {
        if (len < 2 || value[len - 1] != '"')
            return kerf_opt_fail(place, "%s: the second \" is missing", name);
        value[len - 1] = '\0';
        value++;
    }
    return kerf_opt_take(place, o, value);
}

static int
take_line(const kerf_place *place, char *line)
{
    char *name = skip_blanks(line);
    char *equals = strchr(name, '=');

    if (*name == '\0' || *name == '#' || *name == ';')
        return -1;
    if (*name == '[')
        return kerf_opt_fail(place, "sections are not used: kerf cloud and "
                                    "kerf edge each have a file of their own");
    if (equals == NULL || equals == name)
        return kerf_opt_fail(place, "expected name = value");
    cut_blanks(name, equals);
    return take_setting(place, name, skip_blanks(equals + 1));
}

int
kerf_config_parse(const kerf_command *c, const char *name, char *data,
                  size_t len)
{
    static const char bom[] = "\xef\xbb\xbf";
    kerf_place place = {.command = c, .file = name};
    char *at = data;
    int rc = -1;

    if (strncmp(data, bom, 3) == 0)
        at += 3;
    while (rc < 0 && at < data + len) {
        char *end = memchr(at, '\n', (size_t)(data + len - at));

        if (end == NULL)
            end = data + len;
        place.line++;
        *end = '\0';
        if (strlen(at) < (size_t)(end - at))
            return kerf_opt_fail(&place, "a 0 byte: this is no text");
        if (!kerf_text_is_utf8(at))
            return kerf_opt_fail(&place, "this is not UTF-8");
        cut_blanks(at, end);
        rc = take_line(&place, at);
        at = end + 1;
    }
    return rc;
}

int
kerf_config_load(const kerf_command *c, kerf_config *config, const char *path)
{
    kerf_detail why = {{0}};
    uint8_t *data = NULL;
    kerf_err err =
        kerf_fs_read(path, KERF_CONFIG_BYTES, &data, &config->len, &why);

    if (err != KERF_OK)
        return kerf_usage_error(c->name, "--config: %s",
                                why.text[0] != '\0' ? why.text
                                                    : kerf_err_text(err));
    config->path = path;
    config->text = (char *)data;
    return kerf_config_parse(c, path, config->text, config->len);
}

void
kerf_config_free(kerf_config *config)
{
    free(config->text);
    *config = (kerf_config){0};
}
