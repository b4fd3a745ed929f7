#include "base/log.h"
#include "cli/cmd.h"
#include "cli/opts.h"
#include "cli/out.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *about;
} commands[] = {
    {"cloud", kerf_cmd_cloud, "serve tails, ship heads to edges"},
    {"edge", kerf_cmd_edge, "get heads, run them on inputs, show the answers"},
    {"run", kerf_cmd_run, "run a whole model on this machine"},
    {"cut", kerf_cmd_cut, "list the cuts of a model, make one and prove it"},
    {"card", kerf_cmd_card, "write down how a model takes its input"},
    {"sign", kerf_cmd_sign, "sign pairs, so that edges run no others"},
    {"store", kerf_cmd_store, "show, check and empty the models of an edge"},
    {"pack", kerf_cmd_pack, "make models and other files small"},
    {"unpack", kerf_cmd_unpack, "get packed files back"},
    {"keygen", kerf_cmd_keygen, "make, renew and revoke keys of a fleet"},
    {"link", kerf_cmd_link, "carry connections as a link of a known kind does"},
    {"top", kerf_cmd_top, "show what a cloud on this machine is doing"},
    {"rollout", kerf_cmd_rollout, "stage, halt or take back an update"},
    {"bench", kerf_cmd_bench, "measure this machine: what a split costs"},
};
#define COMMAND_COUNT (sizeof commands / sizeof *commands)

static void
print_help(void)
{
    (void)puts("usage: kerf COMMAND [flags]\n\n"
               "Cuts a neural network between an edge and a cloud.\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        (void)printf("  %-8s %s\n", commands[i].name, commands[i].about);
    (void)puts("\n  kerf COMMAND --help   its flags\n"
               "  kerf --version        the version\n\n"
               "KERF_LOG=error|warn|info|debug|trace sets what is logged on "
               "stderr (default warn).");
}

static int
fail_unknown(const char *name)
{
    const char *nearest = commands[0].name;
    size_t best = kerf_text_distance(name, nearest);

    for (size_t i = 1; i < COMMAND_COUNT; i++) {
        size_t d = kerf_text_distance(name, commands[i].name);

        if (d < best) {
            best = d;
            nearest = commands[i].name;
        }
    }
    if (best <= 2 && best < strlen(name))
        return kerf_usage_error(
            NULL, "unknown command %s: did you mean kerf %s?", name, nearest);
    return kerf_usage_error(NULL, "unknown command %s", name);
}

static void
write_log(void *ctx, kerf_log_level level, const char *line)
{
    (void)ctx;
    (void)level;
    (void)fprintf(stderr, "%s\n", line);
}

static void
start_log(void)
{
    static const char *const names[] = {"error", "warn", "info", "debug",
                                        "trace"};
    const char *want = getenv("KERF_LOG");
    kerf_log_level level = KERF_LOG_WARN;

    for (size_t i = 0; want != NULL && i < sizeof names / sizeof *names; i++) {
        if (strcmp(want, names[i]) == 0)
            level = (kerf_log_level)i;
    }
    kerf_log_set(write_log, NULL, level);
}

int
main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;

    start_log();
    /* A full disk and a closed pipe are errors of calls, not deaths. */
    (void)signal(SIGXFSZ, SIG_IGN);
    (void)signal(SIGPIPE, SIG_IGN);
    if (name == NULL)
        return kerf_usage_error(NULL, "a command is missing");
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 ||
        (strcmp(name, "help") == 0 && argc == 2)) {
        print_help();
        return kerf_out_end(0);
    }
    if (strcmp(name, "--version") == 0) {
        (void)puts("kerf " KERF_VERSION);
        return kerf_out_end(0);
    }
    if (strcmp(name, "help") == 0) { /* kerf help run */
        char flag[] = "--help";
        char *again[] = {argv[0], argv[2], flag, NULL};

        return main(3, again);
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(name, commands[i].name) == 0)
            return kerf_out_end(commands[i].run(argc - 1, argv + 1));
    }
    return fail_unknown(name);
}
