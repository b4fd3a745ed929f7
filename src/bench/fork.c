#include "bench/fork.h"

#include "bench/child.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static double begin_kib, begin_file_kib;

/* "VmRSS:" and the like, of this process; 0: not there. */
static double
status_kib(const char *name)
{
    char line[256];
    double kib = 0;
    size_t len = strlen(name);
    FILE *file = fopen("/proc/self/status", "re");

    if (file == NULL)
        return 0;
    while (kib == 0 && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, len) == 0)
            kib = strtod(line + len, NULL);
    }
    (void)fclose(file);
    return kib;
}

void
kerf_peak_begin(void)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    bool reset;

    (void)malloc_trim(0); /* what the parent has freed would be used unseen */
    reset = fd >= 0 && write(fd, "5", 1) == 1;

    if (fd >= 0)
        (void)close(fd);
    begin_kib = reset ? status_kib("VmRSS:") : 0;
    begin_file_kib = status_kib("RssFile:");
}

double
kerf_peak_kib(void)
{
    double most = status_kib("VmHWM:");
    double code = status_kib("RssFile:") - begin_file_kib;

    most -= begin_kib + (code > 0 ? code : 0);
    return begin_kib > 0 && most > 0 ? most : 0;
}

/* All of *out from the pipe; false: it ended before. */
static bool
hear(int fd, kerf_measured *out, pid_t child)
{
    size_t got = 0;

    while (got < sizeof *out) {
        ssize_t n = read(fd, (char *)out + got, sizeof *out - got);

        if (kerf_bench_interrupted())
            (void)kill(child, SIGKILL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        got += (size_t)n;
    }
    return true;
}

static void
tell(int fd, const kerf_measured *m)
{
    ssize_t n = write(fd, m, sizeof *m); /* less than a pipe holds */

    _exit(n == (ssize_t)sizeof *m ? 0 : 1);
}

kerf_err
kerf_measure(kerf_measured *out, void (*fn)(void *ctx, kerf_measured *out),
             void *ctx, kerf_detail *why)
{
    int ends[2];
    int status = 0;
    bool heard;
    pid_t child;

    *out = (kerf_measured){0};
    if (pipe2(ends, O_CLOEXEC) != 0)
        return kerf_fail(why, KERF_EIO, "pipe: %s", strerror(errno));
    child = fork();
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)signal(SIGINT, SIG_DFL);
        (void)signal(SIGTERM, SIG_DFL);
        fn(ctx, out);
        tell(ends[1], out);
    }
    (void)close(ends[1]);
    if (child < 0) {
        (void)close(ends[0]);
        return kerf_fail(why, KERF_EIO, "fork: %s", strerror(errno));
    }
    heard = hear(ends[0], out, child);
    (void)close(ends[0]);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (kerf_bench_interrupted())
        return kerf_fail(why, KERF_EINTR, "interrupted");
    if (!heard) {
        return kerf_fail(why, KERF_EIO,
                         "the process that measured ended (%s %d): was there "
                         "enough memory?",
                         WIFSIGNALED(status) ? "signal" : "status",
                         WIFSIGNALED(status) ? WTERMSIG(status)
                                             : WEXITSTATUS(status));
    }
    if (out->err != KERF_OK && why != NULL)
        *why = out->why;
    return out->err;
}
