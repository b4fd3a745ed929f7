#include "cli/opts.h"

#include "base/fs.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/config.h"
#include "cli/opts_own.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LEN 64
#define LISTS_MAX 16 /* of one command */

/* What of the words was seen. */
struct words {
    kerf_place place;
    const kerf_opt *list[LISTS_MAX]; /* that began */
    size_t list_count;
};

int
kerf_usage_error(const char *command, const char *fmt, ...)
{
    char text[1024];
    char safe[2048];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    (void)fprintf(stderr, "kerf: error: %s (see kerf %s%s--help)\n",
                  kerf_text_safe(safe, sizeof safe, text),
                  command == NULL ? "" : command, command == NULL ? "" : " ");
    return 2;
}

int
kerf_say_error(const kerf_detail *why)
{
    char safe[2048];

    (void)fflush(stdout);
    if (kerf_log_get_format() != KERF_LOG_TEXT) {
        kerf_log(KERF_LOG_ERROR, "kerf.failed", "why=%s", KERF_Q(why->text));
        return 1;
    }
    (void)fprintf(stderr, "kerf: error: %s\n",
                  kerf_text_safe(safe, sizeof safe, why->text));
    return 1;
}

static char
fold(char c)
{
    return c == '_' ? '-' : c;
}

static bool
same_name(const char *a, const char *b)
{
    while (*a != '\0' && fold(*a) == fold(*b)) {
        a++;
        b++;
    }
    return *a == '\0' && *b == '\0';
}

size_t
kerf_text_distance(const char *a, const char *b)
{
    size_t d[NAME_MAX_LEN + 1][NAME_MAX_LEN + 1];
    size_t la = strlen(a);
    size_t lb = strlen(b);

    if (la > NAME_MAX_LEN || lb > NAME_MAX_LEN)
        return NAME_MAX_LEN;
    for (size_t i = 0; i <= la; i++)
        d[i][0] = i;
    for (size_t k = 0; k <= lb; k++)
        d[0][k] = k;
    for (size_t i = 1; i <= la; i++) {
        for (size_t k = 1; k <= lb; k++) {
            size_t change =
                d[i - 1][k - 1] + (fold(a[i - 1]) != fold(b[k - 1]));
            size_t drop = d[i - 1][k] + 1;
            size_t add = d[i][k - 1] + 1;

            d[i][k] = change < drop ? change : drop;
            d[i][k] = d[i][k] < add ? d[i][k] : add;
            if (i > 1 && k > 1 && fold(a[i - 1]) == fold(b[k - 2]) &&
                fold(a[i - 2]) == fold(b[k - 1]) && d[i - 2][k - 2] < d[i][k])
                d[i][k] = d[i - 2][k - 2] + 1;
        }
    }
    return d[la][lb];
}

const kerf_opt *
kerf_opt_find(const kerf_command *c, const char *name)
{
    for (size_t i = 0; i < c->opt_count; i++) {
        const kerf_opt *o = &c->opt[i];

        if (o->kind != KERF_OPT_GROUP &&
            (same_name(o->name, name) ||
             (o->also != NULL && same_name(o->also, name))))
            return o;
    }
    return NULL;
}

int
kerf_opt_fail(const kerf_place *place, const char *fmt, ...)
{
    char text[1024];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (place->file == NULL)
        return kerf_usage_error(place->command->name, "--%s", text);
    return kerf_usage_error(place->command->name, "%s:%zu: %s", place->file,
                            place->line, text);
}

int
kerf_opt_fail_unknown(const kerf_place *place, const char *name)
{
    const kerf_command *c = place->command;
    const char *nearest = place->file == NULL ? "help" : "";
    size_t best = kerf_text_distance(name, nearest);

    for (size_t i = 0; i < c->opt_count; i++) {
        size_t d;

        if (c->opt[i].kind == KERF_OPT_GROUP)
            continue;
        d = kerf_text_distance(name, c->opt[i].name);
        if (d < best) {
            best = d;
            nearest = c->opt[i].name;
        }
    }
    if (best > strlen(name) / 2 || best > 4)
        nearest = "";
    if (place->file != NULL) {
        return kerf_usage_error(c->name, "%s:%zu: unknown name %s%s%s%s",
                                place->file, place->line, name,
                                nearest[0] == '\0' ? "" : ": did you mean ",
                                nearest, nearest[0] == '\0' ? "" : "?");
    }
    if (nearest[0] == '\0')
        return kerf_usage_error(c->name, "unknown flag --%s", name);
    return kerf_usage_error(c->name, "unknown flag --%s: did you mean --%s?",
                            name, nearest);
}

static bool
read_whole(const char *text, const kerf_opt *o)
{
    char *end = NULL;
    long long v;

    errno = 0;
    v = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || (double)v < o->min ||
        (double)v > o->max)
        return false;
    if (o->kind == KERF_OPT_INT)
        *(int *)o->to = (int)v;
    else
        *(int64_t *)o->to = v;
    return true;
}

/* A number or a fraction; *end is left after it. */
static bool
read_real(const char *text, double *out, char **end)
{
    double v = strtod(text, end);

    if (*end == text || !isfinite(v))
        return false;
    if (**end == '/') {
        const char *under = *end + 1;
        double d = strtod(under, end);

        if (*end == under || d == 0.0 || !isfinite(d))
            return false;
        v /= d;
    }
    *out = v;
    return true;
}

static bool
read_reals(const char *text, kerf_reals *out)
{
    kerf_reals r = {0};
    char *end = NULL;

    do {
        if (r.count == 3 || !read_real(text, &r.v[r.count], &end) ||
            !(fabs(r.v[r.count]) <= FLT_MAX)) /* they become floats */
            return false;
        r.count++;
        text = end + 1;
    } while (*end == ',');
    if (*end != '\0' || r.count == 2)
        return false;
    if (r.count == 1)
        r.v[1] = r.v[2] = r.v[0];
    *out = r;
    return true;
}

static bool
read_size(const char *text, int out[2])
{
    char *end = NULL;
    long h = strtol(text, &end, 10);
    long w = h;

    if (end == text)
        return false;
    if (*end == 'x' || *end == 'X') {
        const char *second = end + 1;

        w = strtol(second, &end, 10);
        if (end == second)
            return false;
    }
    if (*end != '\0' || h < 1 || w < 1 || h > 16384 || w > 16384)
        return false;
    out[0] = (int)h;
    out[1] = (int)w;
    return true;
}

/* Index of text in "a|b|c", or -1. */
static int
find_choice(const char *choices, const char *text)
{
    size_t len = strlen(text);
    int n = 0;

    for (const char *at = choices;; n++) {
        size_t part = strcspn(at, "|");

        if (part == len && strncasecmp(at, text, len) == 0)
            return n;
        if (at[part] == '\0')
            return -1;
        at += part + 1;
    }
}

static int
fail_value(const kerf_place *place, const kerf_opt *o, const char *text)
{
    switch (o->kind) {
    case KERF_OPT_FLAG:
        return kerf_opt_fail(place, "%s %s: expected yes or no", o->name, text);
    case KERF_OPT_INT:
    case KERF_OPT_LONG:
        return kerf_opt_fail(place,
                             "%s %s: expected a whole number, %.0f to %.0f",
                             o->name, text, o->min, o->max);
    case KERF_OPT_REAL:
        return kerf_opt_fail(place, "%s %s: expected a number, %g to %g",
                             o->name, text, o->min, o->max);
    case KERF_OPT_REALS:
        return kerf_opt_fail(place,
                             "%s %s: expected 1 or 3 numbers with commas, as "
                             "0.485,0.456,0.406 or 1/255",
                             o->name, text);
    case KERF_OPT_SIZE:
        return kerf_opt_fail(
            place, "%s %s: expected HEIGHTxWIDTH in pixels, as 224x224",
            o->name, text);
    default:
        return kerf_opt_fail(place, "%s %s: expected %s", o->name, text,
                             o->choices);
    }
}

/* Whether it is yes or no: even is yes. */
static bool
read_flag(const char *text, bool *out)
{
    int n = find_choice("yes|no|true|false|on|off|1|0", text);

    if (n >= 0)
        *out = n % 2 == 0;
    return n >= 0;
}

int
kerf_opt_take(const kerf_place *place, const kerf_opt *o, const char *text)
{
    double real = 0.0;
    char *end = NULL;
    bool good = true;
    bool is_on = true;
    int choice;

    switch (o->kind) {
    case KERF_OPT_FLAG:
        good = read_flag(text, &is_on);
        if (good)
            *(bool *)o->to = is_on;
        break;
    case KERF_OPT_INT:
    case KERF_OPT_LONG:
        good = read_whole(text, o);
        break;
    case KERF_OPT_REAL:
        good = read_real(text, &real, &end) && *end == '\0' && real >= o->min &&
               real <= o->max;
        if (good)
            *(double *)o->to = real;
        break;
    case KERF_OPT_REALS:
        good = read_reals(text, o->to);
        break;
    case KERF_OPT_SIZE:
        good = read_size(text, o->to);
        break;
    case KERF_OPT_CHOICE:
        choice = find_choice(o->choices, text);
        good = choice >= 0;
        if (good)
            *(int *)o->to = choice;
        break;
    case KERF_OPT_TEXT:
        *(const char **)o->to = text;
        break;
    case KERF_OPT_LIST: {
        kerf_list *list = o->to;

        if (list->count == KERF_LIST_MAX)
            return kerf_opt_fail(place, "%s: more than %d", o->name,
                                 KERF_LIST_MAX);
        list->item[list->count++] = text;
        break;
    }
    case KERF_OPT_CONFIG: /* was read before */
    case KERF_OPT_GROUP:
        break;
    }
    if (!good)
        return fail_value(place, o, text);
    if (o->given != NULL)
        *o->given = is_on;
    return -1;
}

/* What the words replace: a list that came from a file. */
static void
begin_list(struct words *w, const kerf_opt *o)
{
    kerf_list *list = o->to;

    if (o->kind != KERF_OPT_LIST)
        return;
    for (size_t i = 0; i < w->list_count; i++) {
        if (w->list[i] == o)
            return;
    }
    if (w->list_count < LISTS_MAX)
        w->list[w->list_count++] = o;
    list->count = 0;
}

/* Handles argv[*at], which starts with "--"; *at ends on the last word used. */
static int
take_flag(struct words *w, int argc, char **argv, int *at)
{
    const kerf_command *c = w->place.command;
    const char *word = argv[*at] + 2;
    const char *equals = strchr(word, '=');
    char name[NAME_MAX_LEN + 1];
    const kerf_opt *o;
    int rc;

    (void)snprintf(name, sizeof name, "%.*s",
                   equals == NULL ? (int)strlen(word) : (int)(equals - word),
                   word);
    o = kerf_opt_find(c, name);
    if (o == NULL)
        return kerf_opt_fail_unknown(&w->place, name);
    begin_list(w, o);
    if (o->by_word != NULL)
        *o->by_word = true;
    if (equals != NULL)
        return kerf_opt_take(&w->place, o, equals + 1);
    if (o->kind == KERF_OPT_FLAG)
        return kerf_opt_take(&w->place, o, "yes");
    if (*at + 1 >= argc || strncmp(argv[*at + 1], "--", 2) == 0)
        return kerf_usage_error(c->name, "--%s needs a value", o->name);
    do {
        rc = kerf_opt_take(&w->place, o, argv[++*at]);
    } while (rc < 0 && o->kind == KERF_OPT_LIST && *at + 1 < argc &&
             argv[*at + 1][0] != '-');
    return rc;
}

/* Handles argv[*at], which starts with one "-": an option whose second name is
 * that letter, with its value in the same word or in the next. */
static int
take_letter(struct words *w, int argc, char **argv, int *at)
{
    const kerf_command *c = w->place.command;
    const char *word = argv[*at] + 1;
    const char letter[2] = {word[0], '\0'};
    const kerf_opt *o = kerf_opt_find(c, letter);

    if (o == NULL || o->kind == KERF_OPT_FLAG)
        return kerf_usage_error(
            c->name, "unknown flag -%s: flags are long, --name", word);
    begin_list(w, o);
    if (word[1] != '\0')
        return kerf_opt_take(&w->place, o, word + 1);
    if (*at + 1 >= argc || argv[*at + 1][0] == '-')
        return kerf_usage_error(c->name, "-%s needs a value", word);
    return kerf_opt_take(&w->place, o, argv[++*at]);
}

static const char *
value_name(const kerf_opt *o)
{
    if (o->value != NULL)
        return o->value;
    switch (o->kind) {
    case KERF_OPT_FLAG:
    case KERF_OPT_GROUP:
        return "";
    case KERF_OPT_INT:
    case KERF_OPT_LONG:
        return "N";
    case KERF_OPT_REAL:
        return "X";
    case KERF_OPT_REALS:
        return "X[,X,X]";
    case KERF_OPT_SIZE:
        return "HxW";
    case KERF_OPT_CHOICE:
        return o->choices;
    case KERF_OPT_TEXT:
        return "TEXT";
    case KERF_OPT_LIST:
        return "SRC...";
    case KERF_OPT_CONFIG:
        return "FILE";
    }
    return "";
}

/* " (default 8080)", or nothing. */
static void
print_default(const kerf_opt *o)
{
    const char *at = o->choices;

    if (o->no_default)
        return;
    if (o->kind == KERF_OPT_INT)
        (void)printf(" (default %d)", *(int *)o->to);
    else if (o->kind == KERF_OPT_LONG)
        (void)printf(" (default %lld)", (long long)*(int64_t *)o->to);
    else if (o->kind == KERF_OPT_REAL)
        (void)printf(" (default %g)", *(double *)o->to);
    else if (o->kind == KERF_OPT_TEXT && *(const char **)o->to != NULL)
        (void)printf(" (default %s)", *(const char **)o->to);
    else if (o->kind == KERF_OPT_CHOICE) {
        for (int i = *(int *)o->to; i > 0; i--)
            at = strchr(at, '|') + 1;
        (void)printf(" (default %.*s)", (int)strcspn(at, "|"), at);
    }
}

static void
print_help(const kerf_command *c)
{
    (void)printf("usage: kerf %s%s%s\n\n%s\n", c->name,
                 c->usage[0] == '\0' ? "" : " ", c->usage, c->about);
    for (size_t i = 0; i < c->opt_count; i++) {
        const kerf_opt *o = &c->opt[i];
        char left[128];

        if (o->kind == KERF_OPT_GROUP) {
            (void)printf("\n%s\n", o->help);
            continue;
        }
        (void)snprintf(left, sizeof left, "--%s %s", o->name, value_name(o));
        if (strlen(left) > 30)
            (void)printf("  %s\n  %-30s", left, "");
        else
            (void)printf("  %-30s", left);
        (void)printf(" %s", o->help);
        print_default(o);
        (void)printf("\n");
    }
    (void)printf("  %-30s this text\n", "--help");
}

static bool
names_model(const char *word)
{
    char path[KERF_PATH_MAX];
    int n = snprintf(path, sizeof path, "%s.pdmodel", word);

    return kerf_path_ends(word, ".pdmodel") || kerf_path_ends(word, ".onnx") ||
           kerf_path_ends(word, ".xml") || kerf_path_ends(word, ".json") ||
           (n > 0 && (size_t)n < sizeof path && kerf_fs_exists(path));
}

/* A list takes all words up to the next flag, also one that was not meant for
 * it. */
static int
fail_missing(const kerf_command *c)
{
    for (size_t i = 0; i < c->opt_count; i++) {
        const kerf_list *list = c->opt[i].to;

        if (c->opt[i].kind == KERF_OPT_LIST && list->count > 0 &&
            names_model(list->item[list->count - 1]))
            return kerf_usage_error(c->name,
                                    "%s is missing: put %s before --%s",
                                    c->arg_name, c->arg_name, c->opt[i].name);
    }
    return kerf_usage_error(c->name, "%s is missing", c->arg_name);
}

/* The value of --config, which is read first; NULL: there is none, or it is
 * wrong, which is told when its turn comes. -1, or the status. */
static int
load_config(const kerf_command *c, int argc, char **argv)
{
    const kerf_opt *config = NULL;
    const char *path = NULL;
    size_t count = 0;

    for (size_t i = 0; i < c->opt_count; i++) {
        if (c->opt[i].kind == KERF_OPT_CONFIG)
            config = &c->opt[i];
    }
    for (int i = 1; config != NULL && i < argc; i++) {
        size_t len = strlen(config->name) + 2;
        const char *word = argv[i];

        if (strcmp(word, "--") == 0)
            break;
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
            return -1;
        if (strncmp(word, "--", 2) != 0 ||
            strncmp(word + 2, config->name, len - 2) != 0)
            continue;
        if (word[len] == '\0' && i + 1 < argc)
            path = argv[i + 1];
        else if (word[len] == '=')
            path = word + len + 1;
        else
            continue;
        count++;
    }
    if (count > 1)
        return kerf_usage_error(c->name, "--%s twice: one file has it all",
                                config->name);
    return path == NULL ? -1 : kerf_config_load(c, config->to, path);
}

int
kerf_opts_parse(const kerf_command *c, int argc, char **argv)
{
    struct words w = {.place = {.command = c}};
    size_t args = 0;
    bool only_args = false;
    int rc = load_config(c, argc, argv);

    for (int i = 1; rc < 0 && i < argc; i++) {
        const char *word = argv[i];

        if (!only_args && strcmp(word, "--") == 0) {
            only_args = true;
        } else if (!only_args &&
                   (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)) {
            print_help(c);
            return 0;
        } else if (!only_args && strncmp(word, "--", 2) == 0) {
            rc = take_flag(&w, argc, argv, &i);
        } else if (!only_args && word[0] == '-' && word[1] != '\0') {
            rc = take_letter(&w, argc, argv, &i);
        } else if (args == c->arg_most) {
            rc = kerf_usage_error(c->name, "%s: unexpected word", word);
        } else {
            c->arg[args++] = word;
        }
    }
    if (rc >= 0)
        return rc;
    if (args < c->arg_least)
        return fail_missing(c);
    return -1;
}
