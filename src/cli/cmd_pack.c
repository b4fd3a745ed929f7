/* kerf pack and kerf unpack: one file after the other, each with a line that
 * says what came of it. */
#include "base/clock.h"
#include "base/text.h"
#include "cli/cmd.h"
#include "cli/json_line.h"
#include "cli/pack_list.h"
#include "cli/term.h"
#include "pack/pack.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TELL_EVERY_NS 50000000u

typedef struct pack_flags {
    const char *path[KERF_LIST_MAX];
    size_t count;
    const char *out, *max_size;
    const char *only, *tensor; /* unpack */
    int format, level, threads;
    bool force, keep, remove, json, list;
    kerf_cmd_common common;
} pack_flags;

static const char pack_about[] =
    "Writes FILE.kwz beside each FILE or folder, or another format. kwz knows\n"
    "how weights look: it is smaller than the others, and many times faster.\n"
    "- is standard input. What is packed stays there.";
static const char unpack_about[] = "Gets back what kerf pack, gzip, bzip2, xz, "
                                   "zip, tar (.tar.gz) or zstd made.\n"
                                   "A file takes its name without the last "
                                   "suffix; files with names go beside\n"
                                   "the packed file. Nothing leaves that "
                                   "folder, nothing is left half-written.";

#define FORMAT_CHOICES "kwz|gzip|bz2|xz|zip|tar.gz|zst"

#define PACK_COMMON_ROWS(f)                                        \
    {.name = "threads",                                            \
     .also = "j",                                                  \
     .kind = KERF_OPT_INT,                                         \
     .to = &(f)->threads,                                          \
     .min = 0,                                                     \
     .max = 64,                                                    \
     .help = "to use, also -j N; 0: one per core"},                \
        {.name = "force",                                          \
         .kind = KERF_OPT_FLAG,                                    \
         .to = &(f)->force,                                        \
         .help = "overwrite files that are there"},                \
        {.name = "keep",                                           \
         .kind = KERF_OPT_FLAG,                                    \
         .to = &(f)->keep,                                         \
         .help = "keep what was read, as is done without it"},     \
        {.name = "remove",                                         \
         .kind = KERF_OPT_FLAG,                                    \
         .to = &(f)->remove,                                       \
         .help = "remove what was read, once the result is safe"}, \
        {.name = "json",                                           \
         .kind = KERF_OPT_FLAG,                                    \
         .to = &(f)->json,                                         \
         .help = "one JSON object per file on stdout"},            \
        KERF_CMD_LOG_OPT(&(f)->common)

static int
check(const char *command, pack_flags *f)
{
    kerf_engine_opts engine = {0};
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    bool to_out = f->out != NULL && strcmp(f->out, "-") == 0;

    while (f->count < KERF_LIST_MAX && f->path[f->count] != NULL)
        f->count++;
    if (f->keep && f->remove)
        return kerf_usage_error(command, "--keep and --remove: one of them");
    for (size_t i = 0; i < f->count; i++) {
        if (strcmp(f->path[i], "-") != 0)
            continue;
        to_out = to_out || f->out == NULL;
        if (f->remove)
            return kerf_usage_error(command,
                                    "--remove: standard input cannot be");
    }
    if (to_out && f->count > 1)
        return kerf_usage_error(command, "-: one file at a time");
    if (to_out && f->json)
        return kerf_usage_error(
            command, "--json: standard output is taken by the bytes");
    if (f->threads == 0)
        f->threads = cores < 1 ? 1 : cores > 64 ? 64 : (int)cores;
    kerf_cmd_apply(&f->common, &engine);
    return -1;
}

/* ---- what is shown ---------------------------------------------------- */

typedef struct bar {
    kerf_term term;
    uint64_t last_ns;
    bool is_shown;
} bar;

static void
show_progress(void *ctx, const char *name, uint64_t got, uint64_t size)
{
    bar *b = ctx;
    uint64_t now = kerf_now_ns();

    if (size == 0 || (now - b->last_ns < TELL_EVERY_NS && got < size) ||
        (got >= size && !b->is_shown))
        return;
    b->last_ns = now;
    b->is_shown = got < size;
    kerf_term_progress(&b->term, name, got, size);
}

static void
end_progress(bar *b)
{
    if (b->is_shown && b->term.is_tty)
        (void)fputs("\r\033[K", b->term.out);
    b->is_shown = false;
}

static void
show_json(const char *event, const char *from, const kerf_pack_result *r,
          uint64_t plain, uint64_t packed, double seconds, int threads)
{
    kerf_json_line(json_pack(
        "{s:s, s:o, s:o, s:s, s:I, s:I, s:I, s:f, s:f, s:f, s:i}", "event",
        event, "from", kerf_json_text(from), "to", kerf_json_text(r->to),
        "format", kerf_pack_names[r->format], "files", (json_int_t)r->files,
        "bytes", (json_int_t)plain, "packed_bytes", (json_int_t)packed, "ratio",
        plain > 0 ? (double)packed / (double)plain : 0.0, "seconds", seconds,
        "mb_per_s", seconds > 0 ? (double)plain / 1e6 / seconds : 0.0,
        "threads", threads));
}

static void
show_result(const pack_flags *f, const char *event, const char *from,
            const kerf_pack_result *r, bool packs, uint64_t took_ns)
{
    uint64_t plain = packs ? r->in : r->out;
    uint64_t packed = packs ? r->out : r->in;
    double seconds = (double)took_ns * 1e-9;
    char a[32], b[32], from_safe[256], to_safe[256];
    bool to_out = strcmp(r->to, "-") == 0;

    if (f->json) {
        show_json(event, from, r, plain, packed, seconds, f->threads);
        return;
    }
    (void)fprintf(to_out ? stderr : stdout,
                  "%s -> %s: %s -> %s, ratio %.4f, %.3f s, %.1f MB/s\n",
                  kerf_text_safe(from_safe, sizeof from_safe, from),
                  kerf_text_safe(to_safe, sizeof to_safe, r->to),
                  kerf_text_bytes(a, sizeof a, r->in),
                  kerf_text_bytes(b, sizeof b, r->out),
                  plain > 0 ? (double)packed / (double)plain : 0.0, seconds,
                  seconds > 0 ? (double)plain / 1e6 / seconds : 0.0);
}

/* Of one file or tensor: how many bytes were packed is not known. */
static void
show_one(const pack_flags *f, const char *from, const kerf_pack_result *r)
{
    char bytes[32], from_safe[256], to_safe[256];

    if (f->json) {
        kerf_json_line(json_pack("{s:s, s:o, s:o, s:I}", "event", "unpacked",
                                 "from", kerf_json_text(from), "to",
                                 kerf_json_text(r->to), "bytes",
                                 (json_int_t)r->out));
        return;
    }
    (void)fprintf(strcmp(r->to, "-") == 0 ? stderr : stdout, "%s -> %s: %s\n",
                  kerf_text_safe(from_safe, sizeof from_safe, from),
                  kerf_text_safe(to_safe, sizeof to_safe, r->to),
                  kerf_text_bytes(bytes, sizeof bytes, r->out));
}

/* ---- stopping --------------------------------------------------------- */

static volatile sig_atomic_t stop; /* the signal's number */

static void
on_signal(int number)
{
    stop = number;
}

/* Ctrl-C and SIGTERM let the work clean up behind itself; the second one
 * does not wait for that. */
static void
catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal,
                               .sa_flags = (int)SA_RESETHAND};

    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

/* Ends as who knows no handler does, so that a shell can tell. */
static void
end_by_signal(void)
{
    int number = (int)stop;

    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

/* ---- doing it --------------------------------------------------------- */

/* A folder is not removed: what was put into it since is in no archive. */
static kerf_err
remove_read(const char *path, kerf_detail *why)
{
    if (unlink(path) == 0)
        return KERF_OK;
    return kerf_fail(why, kerf_err_from_errno(errno),
                     "%s: packed, but cannot be removed: %s", path,
                     strerror(errno));
}

static int
run_all(const pack_flags *f, kerf_pack_job *job, bool packs)
{
    bar b = {.last_ns = 0};
    int rc = 0;

    catch_signals();
    job->stop = &stop;
    kerf_term_init(&b.term, stderr);
    job->progress = show_progress;
    job->ctx = &b;
    for (size_t i = 0; i < f->count; i++) {
        kerf_pack_result result;
        kerf_detail why = {.text = ""};
        uint64_t start = kerf_now_ns();
        kerf_err err = packs ? kerf_pack(job, f->path[i], &result, &why)
                             : kerf_unpack(job, f->path[i], &result, &why);
        uint64_t took = kerf_now_ns() - start;

        end_progress(&b);
        if (stop != 0)
            end_by_signal();
        if (err == KERF_OK) {
            show_result(f, packs ? "packed" : "unpacked", f->path[i], &result,
                        packs, took);
            if (f->remove)
                err = remove_read(f->path[i], &why);
        }
        if (err != KERF_OK)
            rc = kerf_cmd_failed(err, &why);
    }
    job->progress = NULL;
    job->ctx = NULL;
    return rc;
}

/* --list, or --only and --tensor. */
static int
look_into_all(const pack_flags *f, kerf_pack_job *job)
{
    const kerf_unpack_one one = {.only = f->only, .tensor = f->tensor};
    int rc = 0;

    catch_signals();
    job->stop = &stop;
    for (size_t i = 0; i < f->count; i++) {
        kerf_pack_result result;
        kerf_detail why = {.text = ""};
        kerf_err err =
            f->list ? kerf_pack_list(f->path[i], f->json, &why)
                    : kerf_unpack_only(job, &one, f->path[i], &result, &why);

        if (stop != 0)
            end_by_signal();
        if (err == KERF_OK && !f->list)
            show_one(f, f->path[i], &result);
        if (err != KERF_OK)
            rc = kerf_cmd_failed(err, &why);
    }
    return rc;
}

/* As kerf_opts_parse(); files are the words without a flag. */
static int
parse(pack_flags *f, kerf_command command, int argc, char **argv)
{
    int rc;

    command.arg = f->path;
    command.arg_least = 1;
    command.arg_most = KERF_LIST_MAX;
    command.arg_name = "FILE";
    rc = kerf_opts_parse(&command, argc, argv);
    return rc < 0 ? check(command.name, f) : rc;
}

int
kerf_cmd_pack(int argc, char **argv)
{
    static pack_flags f; /* large, and zeroed */
    const kerf_opt table[] = {
        {.kind = KERF_OPT_GROUP, .help = "pack"},
        {.name = "format",
         .kind = KERF_OPT_CHOICE,
         .to = &f.format,
         .choices = FORMAT_CHOICES,
         .help = "of the packed file; its suffix: .kwz .gz .bz2 .xz .zip "
                 ".tar.gz .zst"},
        {.name = "level",
         .kind = KERF_OPT_INT,
         .to = &f.level,
         .min = 0,
         .max = 9,
         .help = "1 fast, 9 small; 0: the format's usual one"},
        {.name = "out",
         .kind = KERF_OPT_TEXT,
         .to = &f.out,
         .value = "FILE",
         .help = "where to; - is standard output"},
        PACK_COMMON_ROWS(&f),
    };
    const kerf_command command = {.name = "pack",
                                  .usage = "FILE|DIR... [flags]",
                                  .about = pack_about,
                                  .opt = table,
                                  .opt_count = sizeof table / sizeof *table};
    kerf_pack_job job = {0};
    int rc = parse(&f, command, argc, argv);

    if (rc >= 0)
        return rc;
    if (f.out != NULL && f.count > 1)
        return kerf_usage_error("pack", "--out: one file at a time");
    for (size_t i = 0; i < f.count && f.remove; i++) {
        if (kerf_cmd_is_dir(f.path[i])) {
            return kerf_usage_error("pack",
                                    "--remove: %s is a folder, which "
                                    "is not removed",
                                    f.path[i]);
        }
    }
    job = (kerf_pack_job){.format = (kerf_pack_format)f.format,
                          .level = f.level,
                          .threads = f.threads,
                          .force = f.force,
                          .to = f.out};
    return run_all(&f, &job, true);
}

int
kerf_cmd_unpack(int argc, char **argv)
{
    static pack_flags f;
    const kerf_opt table[] = {
        {.kind = KERF_OPT_GROUP, .help = "unpack"},
        {.name = "out",
         .kind = KERF_OPT_TEXT,
         .to = &f.out,
         .value = "DIR",
         .help = "where to, made if it is not there; - is standard output"},
        {.name = "max-size",
         .kind = KERF_OPT_TEXT,
         .to = &f.max_size,
         .value = "BYTES",
         .help = "refuse what unpacks to more, as 500M or 20G (default 16G)",
         .no_default = true},
        {.name = "list",
         .kind = KERF_OPT_FLAG,
         .to = &f.list,
         .help = "show the files and tensors of a .kwz, and unpack nothing"},
        {.name = "only",
         .kind = KERF_OPT_TEXT,
         .to = &f.only,
         .value = "NAME",
         .help = "of a .kwz unpack this file alone"},
        {.name = "tensor",
         .kind = KERF_OPT_TEXT,
         .to = &f.tensor,
         .value = "NAME|N",
         .help = "and of it this tensor: its elements, as FILE.N.raw"},
        PACK_COMMON_ROWS(&f),
    };
    const kerf_command command = {.name = "unpack",
                                  .usage = "FILE... [flags]",
                                  .about = unpack_about,
                                  .opt = table,
                                  .opt_count = sizeof table / sizeof *table};
    kerf_pack_job job = {.most = (uint64_t)16000000000};
    int rc = parse(&f, command, argc, argv);

    if (rc >= 0)
        return rc;
    if (f.max_size != NULL && !kerf_cmd_size(f.max_size, &job.most))
        return kerf_usage_error(
            "unpack", "--max-size %s: expected bytes, as 500M", f.max_size);
    if (f.list && (f.only != NULL || f.tensor != NULL || f.out != NULL))
        return kerf_usage_error("unpack", "--list unpacks nothing: it does not "
                                          "go with --only, --tensor and --out");
    for (size_t i = 0; i < f.count; i++) {
        if ((f.list || f.only != NULL || f.tensor != NULL) &&
            strcmp(f.path[i], "-") == 0)
            return kerf_usage_error("unpack",
                                    "-: only a file can be looked into");
    }
    if ((f.list || f.only != NULL || f.tensor != NULL) && f.remove)
        return kerf_usage_error("unpack",
                                "--remove: only what is unpacked as a whole");
    job.threads = f.threads;
    job.force = f.force;
    job.to = f.out;
    if (f.list || f.only != NULL || f.tensor != NULL)
        return look_into_all(&f, &job);
    return run_all(&f, &job, false);
}
