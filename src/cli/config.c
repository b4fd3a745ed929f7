#include "cli/config.h"

#include "base/fs.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/opts_own.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct kerf_setting {
    const kerf_opt *opt;
    const char *value;
    size_t line;
};

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

static kerf_err
add_setting(kerf_config *config, const kerf_opt *o, const char *value,
            size_t line)
{
    if (config->count == config->room) {
        size_t room = config->room == 0 ? 32 : 2 * config->room;
        struct kerf_setting *more =
            reallocarray(config->setting, room, sizeof *more);

        if (more == NULL)
            return KERF_ENOMEM;
        config->setting = more;
        config->room = room;
    }
    config->setting[config->count++] =
        (struct kerf_setting){.opt = o, .value = value, .line = line};
    return KERF_OK;
}

static int
read_setting(const kerf_place *place, kerf_config *config, const char *name,
             char *value)
{
    const kerf_opt *o = kerf_opt_find(place->command, name);
    size_t len = strlen(value);
    kerf_detail why;

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
    if (add_setting(config, o, value, place->line) != KERF_OK) {
        (void)kerf_fail(&why, KERF_ENOMEM, "%s: no memory for line %zu",
                        place->file, place->line);
        return kerf_say_error(&why);
    }
    return -1;
}

static int
read_line(const kerf_place *place, kerf_config *config, char *line)
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
    return read_setting(place, config, name, skip_blanks(equals + 1));
}

/* All settings, none of which is set yet. */
static int
read_lines(const kerf_command *c, kerf_config *config, size_t len)
{
    static const char bom[] = "\xef\xbb\xbf";
    kerf_place place = {.command = c, .file = config->path};
    char *at = config->text;
    const char *over = at + len;
    int rc = -1;

    if (strncmp(at, bom, 3) == 0)
        at += 3;
    while (rc < 0 && at < over) {
        size_t left = (size_t)(over - at);
        char *end = memchr(at, '\n', left);

        if (end == NULL)
            end = at + left;
        place.line++;
        *end = '\0';
        if (strlen(at) < (size_t)(end - at))
            return kerf_opt_fail(&place, "a 0 byte: this is no text");
        if (!kerf_text_is_utf8(at))
            return kerf_opt_fail(&place, "this is not UTF-8");
        cut_blanks(at, end);
        rc = read_line(&place, config, at);
        at = end + 1;
    }
    return rc;
}

static int
take(const kerf_command *c, const kerf_config *config,
     const struct kerf_setting *s)
{
    const kerf_place place = {
        .command = c, .file = config->path, .line = s->line};

    return kerf_opt_take(&place, s->opt, s->value);
}

int
kerf_config_parse(const kerf_command *c, kerf_config *config, const char *path,
                  char *text, size_t len)
{
    int rc;

    config->path = path;
    config->text = text;
    rc = read_lines(c, config, len);
    for (size_t i = 0; rc < 0 && i < config->count; i++)
        rc = take(c, config, &config->setting[i]);
    return rc;
}

int
kerf_config_load(const kerf_command *c, kerf_config *config, const char *path)
{
    kerf_detail why = {{0}};
    uint8_t *data = NULL;
    size_t len = 0;
    kerf_err err = kerf_fs_read(path, KERF_CONFIG_BYTES, &data, &len, &why);

    if (err == KERF_ENOMEM)
        return kerf_say_error(&why);
    if (err != KERF_OK)
        return kerf_usage_error(c->name, "--config: %s",
                                why.text[0] != '\0' ? why.text
                                                    : kerf_err_text(err));
    return kerf_config_parse(c, config, path, (char *)data, len);
}

void
kerf_config_free(kerf_config *config)
{
    free(config->text);
    free(config->setting);
    *config = (kerf_config){0};
}

/* The next setting of this option, from *at on; NULL: there is none. */
static const struct kerf_setting *
next_of(const kerf_config *config, const kerf_opt *o, size_t *at)
{
    while (*at < config->count) {
        const struct kerf_setting *s = &config->setting[(*at)++];

        if (s->opt == o)
            return s;
    }
    return NULL;
}

/* The last setting of it in `now` through *last; NULL: it is not there. */
static bool
has_changed(const kerf_config *before, const kerf_config *now,
            const kerf_opt *o, const struct kerf_setting **last)
{
    const struct kerf_setting *a;
    const struct kerf_setting *b;
    size_t at_a = 0;
    size_t at_b = 0;
    bool changed = false;

    *last = NULL;
    do {
        a = next_of(before, o, &at_a);
        b = next_of(now, o, &at_b);
        changed |= (a == NULL) != (b == NULL) ||
                   (a != NULL && strcmp(a->value, b->value) != 0);
        if (b != NULL)
            *last = b;
    } while (a != NULL || b != NULL);
    return changed;
}

static void
apply_changes(const kerf_command *c, const kerf_config *before,
              const kerf_config *now)
{
    for (size_t i = 0; i < c->opt_count; i++) {
        const kerf_opt *o = &c->opt[i];
        const struct kerf_setting *last;

        if (o->kind == KERF_OPT_GROUP || !has_changed(before, now, o, &last))
            continue;
        if (!o->again || last == NULL)
            kerf_log(KERF_LOG_WARN, "config.needs_restart", "name=%s", o->name);
        else if (o->by_word == NULL || !*o->by_word)
            (void)take(c, now, last);
    }
}

void
kerf_config_again(const kerf_command *c, kerf_config *config)
{
    kerf_config now = {.path = config->path};
    kerf_detail why = {{0}};
    uint8_t *data = NULL;
    size_t len = 0;

    if (config->path == NULL)
        return;
    if (kerf_fs_read(config->path, KERF_CONFIG_BYTES, &data, &len, &why) !=
        KERF_OK) {
        kerf_log(KERF_LOG_ERROR, "config.not_reread", "why=%s",
                 KERF_Q(why.text));
        return;
    }
    now.text = (char *)data;
    if (read_lines(c, &now, len) >= 0)
        kerf_log(KERF_LOG_ERROR, "config.not_reread", "file=%s",
                 KERF_Q(config->path));
    else /* What is in force stays the first file's: it needs a restart. */
        apply_changes(c, config, &now);
    kerf_config_free(&now);
}
