#include "bench/ping.h"

#include "base/clock.h"
#include "bench/plain.h"
#include "bench/relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define WARM_RUNS 50

/* The peer, in a process of its own. buffer holds the larger of both. */
static void
answer_all(int listener, uint8_t *buffer, size_t request_bytes,
           size_t answer_bytes)
{
    const int one = 1;
    int fd = accept(listener, NULL, NULL);

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    while (kerf_plain_recv(fd, buffer, request_bytes) &&
           kerf_plain_send(fd, buffer, answer_bytes))
        continue;
    _exit(0);
}

static bool
time_trips(int fd, uint8_t *buffer, const kerf_ping_opts *opts, kerf_stats *ns)
{
    int warm = opts->link == NULL ? WARM_RUNS : 1;

    for (int i = -warm; i < opts->runs; i++) {
        uint64_t start_ns = kerf_now_ns();

        if (!kerf_plain_send(fd, buffer, opts->request_bytes) ||
            !kerf_plain_recv(fd, buffer, opts->answer_bytes))
            return false;
        if (i >= 0)
            kerf_stats_add(ns, (double)(kerf_now_ns() - start_ns));
    }
    return true;
}

/* Dials, through the link if there is one, and measures. */
static kerf_err
measure(int fd, struct sockaddr_in *at, uint8_t *buffer,
        const kerf_ping_opts *opts, kerf_stats *ns, kerf_detail *why)
{
    const int one = 1;
    kerf_relay relay = {.port = 0};
    kerf_err err = KERF_OK;

    if (opts->link != NULL)
        err = kerf_relay_start(&relay, opts->link, ntohs(at->sin_port),
                               opts->log, why);
    if (err == KERF_OK && opts->link != NULL)
        at->sin_port = htons((uint16_t)relay.port);
    if (err == KERF_OK) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (connect(fd, (struct sockaddr *)at, sizeof *at) != 0 ||
            !time_trips(fd, buffer, opts, ns))
            err = kerf_fail(why, KERF_EIO, "raw TCP over loopback: %s",
                            strerror(errno));
    }
    kerf_child_stop(&relay.child);
    return err;
}

kerf_err
kerf_ping_run(kerf_stats *ns, const kerf_ping_opts *opts, kerf_detail *why)
{
    size_t most = opts->request_bytes > opts->answer_bytes ? opts->request_bytes
                                                           : opts->answer_bytes;
    uint8_t *buffer = calloc(1, most + 1);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at;
    pid_t pid = -1;
    kerf_err err = KERF_EIO;

    if (buffer != NULL && listener >= 0 && fd >= 0 &&
        kerf_plain_listen(listener, &at))
        pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)close(fd);
        answer_all(listener, buffer, opts->request_bytes, opts->answer_bytes);
    }
    if (pid > 0)
        err = measure(fd, &at, buffer, opts, ns, why);
    else
        (void)kerf_fail(why, err, "raw TCP over loopback: %s", strerror(errno));
    if (fd >= 0)
        (void)close(fd);
    if (listener >= 0)
        (void)close(listener);
    if (pid > 0) {
        if (err != KERF_OK)
            (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
    }
    free(buffer);
    return err;
}
