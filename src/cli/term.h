/*
 * term.h - what the terminal is, colours, a progress bar.
 * Threads: one.
 */
#ifndef KERF_CLI_TERM_H
#define KERF_CLI_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct kerf_term {
    FILE *out;
    bool is_tty;
    bool has_colour; /* a terminal, and no NO_COLOR */
    bool moves;      /* ... on which a cursor can be moved */
    int width;       /* columns; 80 when unknown */
} kerf_term;

void kerf_term_init(kerf_term *term, FILE *out);

/* Escape sequences, or "" without colour. */
const char *kerf_term_bold(const kerf_term *term);
const char *kerf_term_dim(const kerf_term *term);
const char *kerf_term_green(const kerf_term *term);
const char *kerf_term_red(const kerf_term *term);
const char *kerf_term_plain(const kerf_term *term);

/* `[#####     ]53%  name` on one line that is rewritten; nothing when out is
 * not a terminal. got == size ends the line. */
void kerf_term_progress(const kerf_term *term, const char *name, uint64_t got,
                        uint64_t size);

/* Columns that UTF-8 text takes, one per code point. */
size_t kerf_term_columns(const char *text);
/* Prints text, safe, cut with ".." or filled with spaces to `columns`. */
void kerf_term_cell(const kerf_term *term, const char *text, int columns,
                    bool right);

#endif
