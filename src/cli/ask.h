/*
 * ask.h - questions to a cloud on this machine (cloud/control.h): which one it
 * is, and one line each way. Threads: one owner.
 */
#ifndef KERF_CLI_ASK_H
#define KERF_CLI_ASK_H

#include "kerf/err.h"
#include "net/local.h"

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>

typedef struct kerf_ask_where {
    const char *control; /* path; NULL: by port, or the only one */
    int port;
    bool port_given;
    const volatile sig_atomic_t *is_over; /* ends a wait; may be NULL */
} kerf_ask_where;

typedef struct kerf_ask {
    kerf_ask_where where;
    int fd;
    char path[KERF_LOCAL_PATH];
    size_t count;
    char ports[256];  /* of all that run, for an error */
    kerf_detail mute; /* of one that does not answer */
    char *text;       /* the answer */
    size_t len, room;
} kerf_ask;

/* Errors: KERF_ENOENT (none runs), KERF_EINVAL (several do), the socket's. */
KERF_NODISCARD kerf_err kerf_ask_open(kerf_ask *a, const kerf_ask_where *where,
                                      kerf_detail *why);
/* question: a whole line. A new reference in *out. Errors: KERF_ECLOSED,
 * KERF_EDEADLINE, KERF_EPROTO, KERF_EINTR (is_over). */
KERF_NODISCARD kerf_err kerf_ask_line(kerf_ask *a, const char *question,
                                      json_t **out, kerf_detail *why);
void kerf_ask_close(kerf_ask *a); /* of one that was opened, or tried */

#endif
