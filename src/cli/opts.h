/*
 * opts.h - a table of long options: parsing, and the help that is made of it.
 *
 *     static int port = 8080;
 *     const kerf_opt table[] = {
 *         {.name = "cloud-port", .kind = KERF_OPT_INT, .to = &port,
 *          .min = 1, .max = 65535, .help = "port of the cloud"},
 *     };
 *
 * `-` and `_` are the same in names: --cloud_port is --cloud-port. A value
 * follows as `--name value` or `--name=value`. A flag may be taken back:
 * --name=no.
 * Threads: one.
 */
#ifndef KERF_CLI_OPTS_H
#define KERF_CLI_OPTS_H

#include "kerf/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum kerf_opt_kind {
    KERF_OPT_FLAG = 0, /* to: bool */
    KERF_OPT_INT,      /* to: int, min..max */
    KERF_OPT_LONG,     /* to: int64_t, min..max, within 53 bits */
    KERF_OPT_REAL,     /* to: double, min..max; also a fraction, 1/255 */
    KERF_OPT_REALS,    /* to: kerf_reals, 1 or 3 with commas */
    KERF_OPT_SIZE,     /* to: int[2], height and width: 224x224, or 224 */
    KERF_OPT_CHOICE,   /* to: int, index into choices "a|b|c" */
    KERF_OPT_TEXT,     /* to: const char * */
    KERF_OPT_LIST,     /* to: kerf_list; takes all words up to the next flag */
    KERF_OPT_CONFIG,   /* to: kerf_config; a file of settings: config.h */
    KERF_OPT_GROUP,    /* no option: a headline in the help */
} kerf_opt_kind;

struct kerf_setting;

/* A configuration file, read before the other words are. Values point into it
 * for as long as they are used. */
typedef struct kerf_config {
    const char *path; /* NULL: none */
    char *text;
    struct kerf_setting *setting;
    size_t count, room;
} kerf_config;

typedef struct kerf_reals {
    double v[3]; /* one number is copied to all */
    size_t count;
} kerf_reals;

#define KERF_LIST_MAX 4096

typedef struct kerf_list {
    const char *item[KERF_LIST_MAX];
    size_t count;
} kerf_list;

typedef struct kerf_opt {
    const char *name; /* with '-' */
    const char *also; /* a second name, not in the help; NULL: none */
    kerf_opt_kind kind;
    void *to;            /* holds the default */
    bool *given;         /* NULL, or set when it was there */
    bool *by_word;       /* NULL, or set when it was among the words */
    double min, max;     /* INT, LONG, REAL */
    const char *choices; /* CHOICE */
    const char *value;   /* in the help: "FILE", "HxW"; NULL: by kind */
    const char *help;    /* one line; the default is appended */
    bool no_default;     /* ... but not for this one */
    bool again;          /* may be set while the command runs: config.h */
} kerf_opt;

typedef struct kerf_command {
    const char *name;  /* "run" */
    const char *usage; /* "MODEL --input SRC... [flags]" */
    const char *about; /* a line or a few */
    const kerf_opt *opt;
    size_t opt_count;
    const char **arg; /* words without a flag; may be NULL */
    size_t arg_least, arg_most;
    const char *arg_name; /* "MODEL" */
} kerf_command;

/* Parses argv[1..argc). Returns -1: go on; else the exit status: 0 after
 * --help, 2 after one line on stderr that says what is wrong. */
int kerf_opts_parse(const kerf_command *command, int argc, char **argv);

/* "run: --size 32: expected HxW" on stderr as one clear line; returns 2. */
int kerf_usage_error(const char *command, const char *fmt, ...)
    KERF_PRINTF(2, 3);
/* "kerf: error: ..." on stderr; returns 1. */
int kerf_say_error(const kerf_detail *why);

/* Number of changes from a to b (Damerau-Levenshtein, '-' equal to '_'). */
size_t kerf_text_distance(const char *a, const char *b);

#endif
