/*
 * The curves of bytes against agreement.
 */
#include "cli/bench_agree.h"
#include "cli/gnuplot.h"

#include <math.h>
#include <string.h>

struct curves {
    const kerf_agree *a;
    const char *title;
    bool png;
};

static const struct {
    const char *title, *colour;
    int point;
    const char *label; /* where names stand, in characters */
} style[KERF_AGREE_FAMILIES] = {
    {"floats", "#7f8c8d", 4, "0,0.9"},
    {"q8 to q2", "#2e86c1", 7, "-1.6,0.7"},
    {"q8c to q2c", "#1e8449", 5, "1.4,-0.9"},
    {"q8s to q2s", "#7d3c98", 11, "1.4,-0.5"},
    {"JPEG of the picture", "#c0392b", 9, "1.6,-0.5"},
    {"WebP of the picture", "#e67e22", 13, "-1.6,0.5"},
};

static double
share_of(const kerf_agree *a, const kerf_agree_way *w)
{
    return w->same / (double)a->pictures * (a->is_boxes ? 1 : 100);
}

static void
put_data(FILE *to, const kerf_agree *a)
{
    for (int f = 0; f < KERF_AGREE_FAMILIES; f++) {
        (void)fprintf(to, "$family%d << EOD\n", f);
        for (size_t i = 0; i < a->count; i++) {
            const kerf_agree_way *w = &a->way[i];
            const char *space = strrchr(w->name, ' ');
            bool is_whole = w->family < KERF_AGREE_JPEG || space == NULL;

            if ((int)w->family != f)
                continue;
            (void)fprintf(to, "%.1f %.5f \"%s\"\n",
                          w->bytes / (double)a->pictures, share_of(a, w),
                          is_whole ? w->name : space + 1);
        }
        (void)fputs("EOD\n", to);
    }
}

/* Axes that hold what matters: from where half is lost, up to all. */
static void
put_axes(FILE *to, const kerf_agree *a)
{
    double all = a->is_boxes ? 1 : 100;
    double least = all;
    double from = a->raw_bytes;
    double up_to = 0;

    for (size_t i = 0; i < a->count; i++) {
        double share = share_of(a, &a->way[i]);
        double bytes = a->way[i].bytes / (double)a->pictures;

        least = share < least && share >= all / 2 ? share : least;
        from = bytes < from ? bytes : from;
        up_to = bytes > up_to ? bytes : up_to;
    }
    least = floor(least / all * 20 - 0.01) / 20 * all;
    (void)fprintf(to, "set yrange [%g:%g]\n", least,
                  all + (all - least) * 0.06);
    (void)fprintf(to, "set xrange [%g:%g]\n", from / 1.15, up_to * 1.15);
    (void)fputs("set logscale x\n"
                "set xtics (",
                to);
    for (int power = 2; power < 9; power++) {
        for (int digit = 1; digit <= 5; digit += digit == 1 ? 1 : 3) {
            double at = pow(10, power) * digit;

            if (at >= 1e6)
                (void)fprintf(to, "'%g MB' %g,", at / 1e6, at);
            else if (at >= 1e3)
                (void)fprintf(to, "'%g kB' %g,", at / 1e3, at);
            else
                (void)fprintf(to, "'%g B' %g,", at, at);
        }
    }
    (void)fputs("'' 1e9)\n", to);
}

static void
put_names(FILE *to, int family, const char *every, const char *offset)
{
    (void)fprintf(to,
                  ", $family%d %s using 1:2:3 with labels offset %s "
                  "font ',9' tc rgb '%s' noenhanced notitle",
                  family, every, offset, style[family].colour);
}

/* Names beside the points; f32 + zlib is right behind exact. */
static void
put_labels(FILE *to, int family)
{
    bool floats = family == KERF_AGREE_FLOAT;

    put_names(to, family, floats ? "every ::1" : "", style[family].label);
    if (floats)
        put_names(to, family, "every ::::0", "0,-0.9");
}

static void
put_script(FILE *to, const void *ctx)
{
    const struct curves *c = ctx;

    put_data(to, c->a);
    (void)fprintf(to,
                  "set terminal %s background '#ffffff'\n"
                  "set encoding utf8\n"
                  "set border 3 lc rgb '#777777'\n"
                  "set tics nomirror tc rgb '#333333'\n"
                  "set grid xtics ytics lt 1 lw 1 lc rgb '#e4e4e4'\n"
                  "set key bottom right Left reverse spacing 1.2 samplen 2 "
                  "tc rgb '#333333'\n"
                  "set xlabel 'bytes sent for a picture (mean)' "
                  "tc rgb '#333333'\n"
                  "set ylabel '%s' tc rgb '#333333'\n",
                  c->png ? "pngcairo size 1200,720 font 'DejaVu Sans,13'"
                         : "svg size 960,576 dynamic font "
                           "'DejaVu Sans,Helvetica,Arial,sans-serif,13'",
                  c->a->is_boxes ? "F1 of the boxes against the whole network"
                                 : "same top class as the whole network, %");
    put_axes(to, c->a);
    (void)fputs("set title ", to);
    kerf_gnuplot_text(to, c->title);
    (void)fputs(" noenhanced tc rgb '#111111'\nplot ", to);
    for (int f = 0; f < KERF_AGREE_FAMILIES; f++) {
        if (f == KERF_AGREE_WEBP && !c->a->has_webp)
            continue;
        (void)fprintf(to,
                      "%s$family%d using 1:2 with %s pt %d ps 1.1 lw 2 "
                      "lc rgb '%s' title '%s'",
                      f > 0 ? ", " : "", f,
                      f == KERF_AGREE_FLOAT ? "points" : "linespoints",
                      style[f].point, style[f].colour, style[f].title);
        put_labels(to, f);
    }
    (void)fputc('\n', to);
}

kerf_err
kerf_agree_plot(const kerf_agree *a, const char *title, const char *path,
                kerf_detail *why)
{
    const char *dot = strrchr(path, '.');
    struct curves c = {.a = a, .title = title};

    c.png = dot != NULL && strcmp(dot, ".png") == 0;
    if (!c.png && (dot == NULL || strcmp(dot, ".svg") != 0))
        return kerf_fail(why, KERF_EINVAL, "--plot: not a .svg or .png file");
    return kerf_gnuplot(path, put_script, &c, why);
}
