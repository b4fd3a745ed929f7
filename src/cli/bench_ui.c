#include "cli/bench_ui.h"

#include "bench/child.h"

#include <signal.h>
#include <stdio.h>

static void
on_signal(int number)
{
    (void)number;
    kerf_bench_interrupt();
}

/* Ctrl-C: children are stopped, temporary files go. */
void
kerf_bench_ui_begin(kerf_bench_ui *ui)
{
    struct sigaction action = {.sa_handler = on_signal};

    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    kerf_term_init(&ui->out, stdout);
    kerf_term_init(&ui->err, stderr);
}

static void
tell(void *ctx, const char *text)
{
    const kerf_bench_ui *ui = ctx;

    if (ui->err.is_tty)
        (void)fprintf(stderr, "\r\033[K%s", text);
    else
        (void)fprintf(stderr, "%s\n", text);
    (void)fflush(stderr);
}

kerf_progress
kerf_bench_ui_progress(kerf_bench_ui *ui)
{
    return (kerf_progress){.tell = ui->quiet ? NULL : tell, .ctx = ui};
}

void
kerf_bench_ui_clear(const kerf_bench_ui *ui)
{
    if (ui->err.is_tty)
        (void)fprintf(stderr, "\r\033[K");
}

int
kerf_bench_ui_status(const kerf_bench_ui *ui)
{
    return ui->check && ui->bars_missed > 0 ? 1 : 0;
}

void
kerf_bench_ui_judge(kerf_bench_ui *ui, bool met, const char *what, double value,
                    double bar, const char *unit)
{
    ui->bars_missed += !met;
    if (ui->json)
        return;
    (void)printf("  %s%-7s%s %s %.4g%s (bar: %.4g%s)\n",
                 met ? kerf_term_green(&ui->out) : kerf_term_red(&ui->out),
                 met ? "met" : "not met", kerf_term_plain(&ui->out), what,
                 value, unit, bar, unit);
}

void
kerf_bench_add_real(json_t *o, const char *name, double v)
{
    (void)json_object_set_new(o, name, json_real(v));
}

void
kerf_bench_add_spread(json_t *o, const char *name, const kerf_spread *s)
{
    char key[64];

    kerf_bench_add_real(o, name, s->median);
    (void)snprintf(key, sizeof key, "%s_least", name);
    kerf_bench_add_real(o, key, s->least);
    (void)snprintf(key, sizeof key, "%s_most", name);
    kerf_bench_add_real(o, key, s->most);
}
