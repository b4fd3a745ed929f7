/*
 * printer.h - lines for a file descriptor that may stand still (a terminal
 * after Ctrl-S, a pipe that nobody reads): one thread writes, nobody waits.
 * Threads: any, but start and stop; hooks run on the printing thread.
 */
#ifndef KERF_CLI_PRINTER_H
#define KERF_CLI_PRINTER_H

#include "kerf/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

typedef struct kerf_printer kerf_printer;

typedef enum kerf_line {
    KERF_LINE_RARE, /* a change of state; has twice the room */
    KERF_LINE_MANY  /* one per request; the first to be left out */
} kerf_line;

/* What is drawn below the lines, by functions that write to out. */
typedef struct kerf_printer_frame {
    void *ctx;
    void (*erase)(void *ctx, FILE *out); /* before lines */
    void (*draw)(void *ctx, FILE *out);  /* after them, and every second */
} kerf_printer_frame;

/* Writes to fd, which stays the caller's, past stdio. as_json: what was left
 * out is told as {"event":"left_out","count":N}. Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_printer_start(kerf_printer **out, int fd,
                                           bool as_json);
/* Ends when all is written, but does not wait for long where nothing moves.
 * Accepts NULL. Returns 0, or the errno of what could not be written: nothing
 * was printed since. */
int kerf_printer_stop(kerf_printer *p);

/* Whole lines, the last one's end included; they stay together. What finds no
 * room is left out, counted, and told where it would have been. */
void kerf_printer_text(kerf_printer *p, kerf_line kind, const char *text);
void kerf_printer_say(kerf_printer *p, kerf_line kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Takes the reference; NULL (no memory): nothing. */
void kerf_printer_json(kerf_printer *p, kerf_line kind, json_t *object);

/* From now on; *frame is copied. */
void kerf_printer_set_frame(kerf_printer *p, const kerf_printer_frame *frame);

#endif
