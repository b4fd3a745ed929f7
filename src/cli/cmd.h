/*
 * cmd.h - the commands, and what several of them share.
 * Threads: one.
 */
#ifndef KERF_CLI_CMD_H
#define KERF_CLI_CMD_H

#include "cli/opts.h"
#include "kerf/engine.h"

/* Each takes its own argv (argv[0] is the command's name) and returns the exit
 * status: 0 ok, 1 failed, 2 usage. */
int kerf_cmd_cloud(int argc, char **argv);
int kerf_cmd_edge(int argc, char **argv);
int kerf_cmd_card(int argc, char **argv);
int kerf_cmd_sign(int argc, char **argv);
int kerf_cmd_store(int argc, char **argv);
int kerf_cmd_run(int argc, char **argv);
int kerf_cmd_cut(int argc, char **argv);
int kerf_cmd_pack(int argc, char **argv);
int kerf_cmd_unpack(int argc, char **argv);
int kerf_cmd_keygen(int argc, char **argv);
int kerf_cmd_link(int argc, char **argv);
int kerf_cmd_top(int argc, char **argv);
int kerf_cmd_rollout(int argc, char **argv);
int kerf_cmd_bench(int argc, char **argv);
/* Of `kerf bench`. */
int kerf_bench_tensor_main(int argc, char **argv);
int kerf_bench_cut_main(int argc, char **argv);
int kerf_bench_codec_main(int argc, char **argv);
int kerf_bench_edges_main(int argc, char **argv);
int kerf_bench_transport_main(int argc, char **argv);
/* A side of it, for its own use. */
int kerf_bench_peer_main(int argc, char **argv);
int kerf_bench_link_main(int argc, char **argv);

#define KERF_CMD_MODELS "data/send/model"   /* of a cloud */
#define KERF_CMD_STORE "data/receive/model" /* of an edge */

/* Flags that every command with an engine has. */
typedef struct kerf_cmd_common {
    int engine, precision, log, log_format;
    bool log_by_word;
    bool log_given; /* else KERF_LOG in the environment says it */
    kerf_config config;
} kerf_cmd_common;

#define KERF_CMD_ENGINE_OPTS(engine_opts, common)                  \
    {.kind = KERF_OPT_GROUP, .help = "Engine"},                    \
        {.name = "engine",                                         \
         .kind = KERF_OPT_CHOICE,                                  \
         .to = &(common)->engine,                                  \
         .choices = "openvino|fake",                               \
         .help = "fake: deterministic, for tests"},                \
        {.name = "precision",                                      \
         .kind = KERF_OPT_CHOICE,                                  \
         .to = &(common)->precision,                               \
         .choices = "f32|bf16",                                    \
         .help = "bf16: faster where the CPU has it, less exact"}, \
    {                                                              \
        .name = "threads", .kind = KERF_OPT_INT,                   \
        .to = &(engine_opts)->threads, .min = 0, .max = 256,       \
        .help = "threads of one inference; 0: 1"                   \
    }

#define KERF_CMD_LOG_OPT(common)                                          \
    {                                                                     \
        .name = "log", .kind = KERF_OPT_CHOICE, .to = &(common)->log,     \
        .given = &(common)->log_given, .by_word = &(common)->log_by_word, \
        .again = true, .choices = "warn|error|info|debug|trace",          \
        .help = "events on stderr, one logfmt line each"                  \
    }

/* Of those that run as services. */
#define KERF_CMD_SERVICE_OPTS(common)                                         \
    {.kind = KERF_OPT_GROUP, .help = "As a service"},                         \
        {.name = "log-format",                                                \
         .kind = KERF_OPT_CHOICE,                                             \
         .to = &(common)->log_format,                                         \
         .choices = "text|logfmt|json",                                       \
         .help = "logfmt, json: a line per event with its time, on stderr, "  \
                 "also for what is else on stdout"},                          \
    {                                                                         \
        .name = "config", .kind = KERF_OPT_CONFIG, .to = &(common)->config,   \
        .help = "file of flags, a line each: name = value; those given here " \
                "win"                                                         \
    }

/* Whether events go to the log, and not to stdout. */
bool kerf_cmd_logs(const kerf_cmd_common *common);
/* Puts the parsed flags into force: engine options, log level and format. */
void kerf_cmd_apply(const kerf_cmd_common *common, kerf_engine_opts *engine);
void kerf_cmd_apply_log(const kerf_cmd_common *common); /* the level alone */
/* "4G", "500M", "1000": bytes, in powers of 1000; false: none of these. */
bool kerf_cmd_size(const char *text, uint64_t *out);
/* Prints the error as one line; returns 1. */
int kerf_cmd_failed(kerf_err err, const kerf_detail *why);
/* On the reference's wire: no watchdog, and nothing is read again. */
void kerf_cmd_legacy_service(const kerf_cmd_common *common);
/* SIGHUP: reads the configuration file again. */
void kerf_cmd_reload(const kerf_command *command, kerf_cmd_common *common);
bool kerf_cmd_is_dir(const char *path);

#endif
