#include "cli/term.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BAR 30 /* columns inside the brackets */

void
kerf_term_init(kerf_term *term, FILE *out)
{
    const char *no_colour = getenv("NO_COLOR");
    const char *kind = getenv("TERM");
    struct winsize size = {0};

    *term = (kerf_term){.out = out, .width = 80};
    term->is_tty = isatty(fileno(out)) == 1;
    if (!term->is_tty)
        return;
    term->moves = kind == NULL || strcmp(kind, "dumb") != 0;
    term->has_colour = (no_colour == NULL || no_colour[0] == '\0') &&
                       (kind == NULL || strcmp(kind, "dumb") != 0);
    if (ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col >= 40)
        term->width = size.ws_col;
}

static const char *
escape(const kerf_term *term, const char *sequence)
{
    return term->has_colour ? sequence : "";
}

const char *
kerf_term_bold(const kerf_term *term)
{
    return escape(term, "\033[1m");
}

const char *
kerf_term_dim(const kerf_term *term)
{
    return escape(term, "\033[2m");
}

const char *
kerf_term_green(const kerf_term *term)
{
    return escape(term, "\033[32m");
}

const char *
kerf_term_red(const kerf_term *term)
{
    return escape(term, "\033[31m");
}

const char *
kerf_term_plain(const kerf_term *term)
{
    return escape(term, "\033[0m");
}

void
kerf_term_progress(const kerf_term *term, const char *name, uint64_t got,
                   uint64_t size)
{
    char safe[256];
    double part = size == 0 ? 1.0 : (double)got / (double)size;
    int filled = (int)(part * BAR);

    if (!term->is_tty)
        return;
    (void)fprintf(term->out, "\r\033[K[");
    for (int i = 0; i < BAR; i++)
        (void)fputc(i < filled ? '#' : ' ', term->out);
    (void)fprintf(term->out, "]%d%%  %s%s", (int)(part * 100),
                  kerf_text_safe(safe, sizeof safe, name),
                  got < size ? "" : "\n");
    (void)fflush(term->out);
}

static bool
starts_point(char c)
{
    return ((unsigned char)c & 0xC0) != 0x80;
}

size_t
kerf_term_columns(const char *text)
{
    size_t n = 0;

    for (; *text != '\0'; text++)
        n += starts_point(*text);
    return n;
}

void
kerf_term_cell(const kerf_term *term, const char *text, int columns, bool right)
{
    char safe[1024];
    size_t room = (size_t)columns;
    size_t has;

    (void)kerf_text_safe(safe, sizeof safe, text);
    has = kerf_term_columns(safe);
    if (has > room) {
        size_t at = 0;
        size_t n = 0;

        while (safe[at] != '\0' && (n < room - 2 || !starts_point(safe[at])))
            n += starts_point(safe[at++]);
        (void)fprintf(term->out, "%.*s..", (int)at, safe);
        return;
    }
    for (size_t i = has; right && i < room; i++)
        (void)fputc(' ', term->out);
    (void)fputs(safe, term->out);
    for (size_t i = has; !right && i < room; i++)
        (void)fputc(' ', term->out);
}
