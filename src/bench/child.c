#include "bench/child.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SELF "/proc/self/exe"
#define STEP_MS 50 /* how often a wait looks whether to stop */
#define LOOK_MS 1  /* how often memory is looked at */
#define TERM_MS 3000

static volatile sig_atomic_t interrupted;

void
kerf_bench_interrupt(void)
{
    interrupted = 1;
}

bool
kerf_bench_interrupted(void)
{
    return interrupted != 0;
}

/* In the child, between fork and exec: only calls that are safe there. */
static void
become(const char *const *argv, int core, int out, int err, pid_t parent)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    if (core != KERF_ANY_CORE) {
        cpu_set_t set;

        CPU_ZERO(&set);
        CPU_SET((size_t)core, &set);
        (void)sched_setaffinity(0, sizeof set, &set);
    }
    (void)dup2(out, STDOUT_FILENO);
    (void)dup2(err, STDERR_FILENO);
    (void)execvp(strcmp(argv[0], "kerf") == 0 ? SELF : argv[0],
                 (char *const *)(uintptr_t)argv);
    _exit(127);
}

kerf_err
kerf_child_start(kerf_child *child, const char *const *argv, int core,
                 const char *log, kerf_detail *why)
{
    bool is_self = strcmp(argv[0], "kerf") == 0;
    pid_t parent = getpid();
    int out[2] = {-1, -1};
    int err = -1;
    pid_t pid = -1;

    *child = (kerf_child){.out = -1};
    (void)snprintf(child->what, sizeof child->what, "%s%s%s", argv[0],
                   is_self ? " " : "", is_self ? argv[1] : "");
    (void)snprintf(child->log, sizeof child->log, "%s", log);
    err = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (err >= 0 && pipe2(out, O_CLOEXEC) == 0)
        pid = fork();
    if (pid == 0)
        become(argv, core, out[1], err, parent);
    if (err >= 0)
        (void)close(err);
    if (out[1] >= 0)
        (void)close(out[1]);
    if (pid < 0) {
        if (out[0] >= 0)
            (void)close(out[0]);
        return kerf_fail(why, KERF_EIO, "cannot start %s: %s", child->what,
                         strerror(errno));
    }
    child->pid = pid;
    child->out = out[0];
    return KERF_OK;
}

/* The last line of its stderr, as why it failed. */
static kerf_err
fail_with_log(const kerf_child *child, kerf_err err, const char *how,
              kerf_detail *why)
{
    uint8_t *text = NULL;
    size_t len = 0;
    const char *last;

    if (kerf_fs_read(child->log, (size_t)1 << 20, &text, &len, NULL) != KERF_OK)
        text = NULL;
    while (text != NULL && len > 0 && text[len - 1] == '\n')
        text[--len] = '\0';
    last = text == NULL ? NULL : strrchr((char *)text, '\n');
    last = last != NULL ? last + 1 : text != NULL ? (char *)text : "";
    err = kerf_fail(why, err, "%s %s%s%s", child->what, how,
                    *last != '\0' ? ": " : "", last);
    free(text);
    return err;
}

/* Waits for something to read. KERF_OK: there is, or the end. */
static kerf_err
wait_readable(const kerf_child *child, uint64_t until_ns, const char *event,
              kerf_detail *why)
{
    struct pollfd fd = {.fd = child->out, .events = POLLIN};

    for (;;) {
        if (kerf_bench_interrupted())
            return kerf_fail(why, KERF_EINTR, "interrupted");
        if (poll(&fd, 1, STEP_MS) > 0)
            return KERF_OK;
        if (kerf_now_ns() > until_ns) {
            char how[96];

            (void)snprintf(how, sizeof how, "gives no event %s",
                           event != NULL ? event : "any more");
            return fail_with_log(child, KERF_EDEADLINE, how, why);
        }
    }
}

/* The next whole line, or NULL when there is none yet. A longer one than fits
 * is dropped. */
static const char *
next_line(kerf_child *child)
{
    char *end;

    memmove(child->line, child->line + child->used, child->got - child->used);
    child->got -= child->used;
    child->used = 0;
    end = memchr(child->line, '\n', child->got);
    if (end == NULL) {
        if (child->got == sizeof child->line)
            child->got = 0;
        return NULL;
    }
    *end = '\0';
    child->used = (size_t)(end - child->line) + 1;
    return child->line;
}

static bool
is_event(const char *line, const char *event)
{
    json_t *object = json_loads(line, 0, NULL);
    const char *is = json_string_value(json_object_get(object, "event"));
    bool same = is != NULL && (event == NULL || strcmp(is, event) == 0);

    json_decref(object);
    return same;
}

kerf_err
kerf_child_event(kerf_child *child, const char *event, int timeout_ms,
                 const char **line, kerf_detail *why)
{
    uint64_t until_ns = kerf_now_ns() + (uint64_t)timeout_ms * 1000000u;

    for (;;) {
        kerf_err err;
        ssize_t n;

        while ((*line = next_line(child)) != NULL) {
            if (is_event(*line, event))
                return KERF_OK;
        }
        err = wait_readable(child, until_ns, event, why);
        if (err != KERF_OK)
            return err;
        n = read(child->out, child->line + child->got,
                 sizeof child->line - child->got);
        if (n == 0)
            return fail_with_log(child, KERF_ECLOSED, "ended too early", why);
        if (n < 0 && errno != EINTR)
            return kerf_fail(why, KERF_EIO, "%s: %s", child->what,
                             strerror(errno));
        child->got += n > 0 ? (size_t)n : 0;
    }
}

void
kerf_child_drain(kerf_child *child)
{
    struct pollfd fd = {.fd = child->out, .events = POLLIN};
    char scrap[4096];

    while (child->pid > 0 && poll(&fd, 1, 0) > 0 && (fd.revents & POLLIN) &&
           read(child->out, scrap, sizeof scrap) > 0)
        continue;
}

static void
forget(kerf_child *child)
{
    if (child->out >= 0)
        (void)close(child->out);
    child->out = -1;
    child->pid = 0;
}

/* True when it has ended; then it is forgotten. */
static bool
has_ended(kerf_child *child, int *status)
{
    if (waitpid(child->pid, status, WNOHANG) == 0)
        return false;
    forget(child);
    return true;
}

static void
nap(void)
{
    const struct timespec t = {.tv_nsec = 2000000};

    (void)nanosleep(&t, NULL);
}

kerf_err
kerf_child_wait(kerf_child *child, int timeout_ms, kerf_detail *why)
{
    uint64_t until_ns = kerf_now_ns() + (uint64_t)timeout_ms * 1000000u;
    int status = 0;

    while (!has_ended(child, &status)) {
        if (kerf_bench_interrupted())
            return kerf_fail(why, KERF_EINTR, "interrupted");
        if (kerf_now_ns() > until_ns)
            return fail_with_log(child, KERF_EDEADLINE, "does not end", why);
        nap();
    }
    if (status != 0)
        return fail_with_log(child, KERF_EIO, "failed", why);
    return KERF_OK;
}

void
kerf_child_stop(kerf_child *child)
{
    uint64_t until_ns = kerf_now_ns() + (uint64_t)TERM_MS * 1000000u;
    int status = 0;

    if (child->pid <= 0)
        return;
    (void)kill(child->pid, SIGTERM);
    while (!has_ended(child, &status)) {
        if (kerf_now_ns() > until_ns)
            (void)kill(child->pid, SIGKILL);
        nap();
    }
}

uint64_t
kerf_child_cpu_ns(const kerf_child *child)
{
    clockid_t clock;
    struct timespec t;

    if (child->pid <= 0 || clock_getcpuclockid(child->pid, &clock) != 0 ||
        clock_gettime(clock, &t) != 0)
        return 0;
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A line of /proc/PID/status, "VmRSS:", in bytes; 0: unknown. */
static uint64_t
look_up(const kerf_child *child, const char *field)
{
    char path[64];
    char line[256];
    unsigned long long kib = 0;
    FILE *file;

    (void)snprintf(path, sizeof path, "/proc/%ld/status", (long)child->pid);
    file = fopen(path, "re");
    if (file == NULL)
        return 0;
    while (kib == 0 && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, field, strlen(field)) == 0)
            kib = strtoull(line + strlen(field), NULL, 10);
    }
    (void)fclose(file);
    return kib * 1024;
}

uint64_t
kerf_child_rss(const kerf_child *child)
{
    return look_up(child, "VmRSS:");
}

uint64_t
kerf_child_peak(const kerf_child *child)
{
    return look_up(child, "VmHWM:");
}

/* Until it has closed its stdout, which its end does. */
static kerf_err
read_out(const kerf_child *child, uint64_t *own, kerf_detail *why)
{
    struct pollfd fd = {.fd = child->out, .events = POLLIN};
    char scrap[16384];
    ssize_t n = 1;

    while (n > 0) {
        if (kerf_bench_interrupted())
            return kerf_fail(why, KERF_EINTR, "interrupted");
        if (own != NULL) {
            uint64_t now = look_up(child, "RssAnon:");

            *own = now > *own ? now : *own;
        }
        if (poll(&fd, 1, own != NULL ? LOOK_MS : STEP_MS) <= 0)
            continue;
        n = read(child->out, scrap, sizeof scrap);
        if (n < 0 && errno == EINTR)
            n = 1;
    }
    return KERF_OK;
}

kerf_err
kerf_child_run(const char *const *argv, const char *log, double *seconds,
               uint64_t *own, kerf_detail *why)
{
    kerf_child child;
    uint64_t start = kerf_now_ns();
    int status = 0;
    kerf_err err = kerf_child_start(&child, argv, KERF_ANY_CORE, log, why);

    if (err == KERF_OK)
        err = read_out(&child, own, why);
    if (err != KERF_OK) {
        kerf_child_stop(&child);
        return err;
    }
    while (waitpid(child.pid, &status, 0) < 0 && errno == EINTR)
        continue;
    *seconds = (double)(kerf_now_ns() - start) * 1e-9;
    forget(&child);
    return status == 0 ? KERF_OK
                       : fail_with_log(&child, KERF_EIO, "failed", why);
}
