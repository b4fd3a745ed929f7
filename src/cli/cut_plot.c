/* The picture of a list of cuts. */
#include "cli/cut_list.h"
#include "cli/gnuplot.h"

#include <math.h>
#include <stdio.h>

#define BAND 0.2 /* of the height, above the curves */

/* Part of all, in percent; 0 of 0 is 0. */
static double
percent(uint64_t part, uint64_t rest)
{
    double all = (double)part + (double)rest;

    return all > 0.0 ? 100.0 * (double)part / all : 0.0;
}

/* Rows of: cut, bytes, % of parameters, % of FLOPs, and bytes again where they
 * are less than the input's, and where they are the least so far. */
static void
put_data(FILE *to, const kerf_cut_list *list)
{
    (void)fputs("$cuts << EOD\n", to);
    for (size_t i = 0; i < list->cuts.count; i++) {
        const kerf_cut *cut = &list->cuts.cut[i];
        const kerf_cut_mark *mark = &list->mark[i];
        bool shown = cut->refused == NULL && cut->bytes_known;
        char bytes[24] = "NaN";

        if (shown) /* a logarithm has no 0 */
            (void)snprintf(
                bytes, sizeof bytes, "%llu",
                (unsigned long long)(cut->bytes < 1 ? 1 : cut->bytes));
        (void)fprintf(to, "%zu %s %.2f ", i, bytes,
                      percent(cut->cost_head.params, cut->cost_tail.params));
        if (cut->flops_known)
            (void)fprintf(to, "%.2f",
                          percent(cut->cost_head.flops, cut->cost_tail.flops));
        else
            (void)fputs("NaN", to);
        (void)fprintf(to, " %s %s\n", mark->is_below ? bytes : "NaN",
                      mark->is_smallest ? bytes : "NaN");
    }
    (void)fputs("EOD\n", to);
}

/* The least and the greatest size, the input's among them. */
static void
find_range(const kerf_cut_list *list, double *least, double *most)
{
    *most = (double)list->model->input_bytes;
    *least = *most > 0.0 ? *most : 1e300;
    for (size_t i = 0; i < list->cuts.count; i++) {
        const kerf_cut *cut = &list->cuts.cut[i];
        double bytes = cut->bytes < 1 ? 1.0 : (double)cut->bytes;

        if (cut->refused != NULL || !cut->bytes_known)
            continue;
        *least = bytes < *least ? bytes : *least;
        *most = bytes > *most ? bytes : *most;
    }
}

/* The left axis, a logarithm, with a band above for words; its marks are powers
 * of ten, and twice and five times these where there are few. */
static void
put_bytes(FILE *to, const kerf_cut_list *list)
{
    static const double steps[] = {1.0, 2.0, 5.0};
    double low;
    double high;
    bool is_wide;
    bool any = false;

    find_range(list, &low, &high);
    is_wide = high / low > 300.0;
    low /= is_wide ? 2.0 : 1.5;
    high *= pow(high / low, BAND / (1.0 - BAND));
    (void)fprintf(to, "set yrange [%g:%g]\nset ytics (", low, high);
    for (int power = 0; pow(10.0, power) <= high; power++) {
        for (size_t i = 0; i < (is_wide ? 1 : 3); i++) {
            double at = pow(10.0, power) * steps[i];
            char text[16];

            if (at < low || at > high)
                continue;
            (void)fprintf(to, "%s'%s' %g", any ? ", " : "",
                          kerf_cut_bytes_text(text, (uint64_t)at), at);
            any = true;
        }
    }
    (void)fputs(")\n", to);
}

/* A cut to look at: its number in a row of the band, and a line down to its
 * point. */
static void
put_pick(FILE *to, const kerf_cut_list *list, kerf_cut_pick pick, int row,
         bool is_left)
{
    static const char *const what[KERF_PICK_COUNT] = {
        "less than the input", "less, with 8 bits each", "the fewest bytes"};
    size_t i = list->pick[pick];
    double y = 1.0 - BAND * (0.4 + row) / KERF_PICK_COUNT;
    uint64_t bytes = list->cuts.cut[i].bytes;

    bytes = bytes < 1 ? 1 : bytes;
    (void)fprintf(to,
                  "set arrow from %zu,graph %.3f to %zu,%llu nohead front dt 3 "
                  "lw 1.5 lc rgb '#b3500b'\n"
                  "set label 'cut %zu: %s' at %zu,graph %.3f %s front offset "
                  "%s,0 tc rgb '#b3500b'\n"
                  "set label '' at %zu,%llu front point pt 7 ps 0.7 lc rgb "
                  "'#b3500b'\n",
                  i, y, i, (unsigned long long)bytes, i, what[pick], i, y,
                  is_left ? "left" : "right", is_left ? "0.7" : "-0.7", i,
                  (unsigned long long)bytes);
}

/* Words stand right of their lines, near the right border left of them; in such
 * an order of rows that no line goes through other words. */
static void
put_picks(FILE *to, const kerf_cut_list *list)
{
    static const kerf_cut_pick by_depth[KERF_PICK_COUNT] = {
        KERF_PICK_LESS_Q8, KERF_PICK_LESS, KERF_PICK_FEWEST};
    int row = 0;

    for (int n = 0; n < 2 * KERF_PICK_COUNT; n++) {
        bool is_left = n < KERF_PICK_COUNT;
        kerf_cut_pick pick =
            by_depth[is_left ? n : 2 * KERF_PICK_COUNT - 1 - n];

        if (kerf_cut_is_repeated(list, pick) ||
            (list->pick[pick] * 4 < list->cuts.count * 3) != is_left)
            continue;
        put_pick(to, list, pick, row++, is_left);
    }
}

/* What a line of the legend says: words, a number, and what stands behind. */
static void
put_title(FILE *to, const char *words, const char *number, const char *end)
{
    char text[96];

    (void)snprintf(text, sizeof text, "%s%s%s", words, number, end);
    (void)fputs(" title ", to);
    kerf_gnuplot_text(to, text);
}

static void
put_curves(FILE *to, const kerf_cut_list *list)
{
    const kerf_cut_model *m = list->model;
    const kerf_cut *any = &list->cuts.cut[0];
    char text[16];

    (void)fputs("plot $cuts using 1:3 axes x1y2 with fillsteps fs solid "
                "noborder lc rgb '#dfe8f2'",
                to);
    put_title(to, "parameters in the head, of ",
              kerf_cut_count_text(text, any->cost_head.params +
                                            any->cost_tail.params),
              "");
    if (any->flops_known) {
        (void)fputs(", $cuts using 1:4 axes x1y2 with steps lw 1.5 lc rgb "
                    "'#9db4cc'",
                    to);
        put_title(to, "FLOPs in the head, of ",
                  kerf_cut_count_text(text, any->cost_head.flops +
                                                any->cost_tail.flops),
                  "");
    }
    if (m->input_bytes > 0) {
        (void)fprintf(to, ", %llu with lines dt 2 lw 1.5 lc rgb '#c0392b'",
                      (unsigned long long)m->input_bytes);
        put_title(to, "the input itself, ",
                  kerf_cut_bytes_text(text, m->input_bytes),
                  m->image_port != KERF_PORTS_MAX ? " as u8" : "");
    }
    (void)fputs(", $cuts using 1:2 with steps lw 2 lc rgb '#2c3e50' title "
                "'bytes that cross'"
                ", $cuts using 1:5 with points pt 7 ps 0.4 lc rgb '#27ae60' "
                "title 'less than the input'"
                ", $cuts using 1:6 with points pt 6 ps 0.9 lw 1.5 lc rgb "
                "'#e67e22' title 'the least so far'\n",
                to);
}

static void
put_script(FILE *to, const void *ctx)
{
    const kerf_cut_list *list = ctx;
    char title[KERF_NAME_MAX + 64];

    put_data(to, list);
    (void)fputs("set terminal svg size 1000,600 dynamic enhanced "
                "font 'DejaVu Sans,Helvetica,Arial,sans-serif,13' "
                "background '#ffffff'\n"
                "set encoding utf8\n"
                "set border 11 lc rgb '#777777'\n"
                "set tics nomirror out tc rgb '#333333'\n"
                "set grid ytics lc rgb '#e4e4e4' lw 1 dt 1\n"
                "set logscale y\n"
                "set y2tics 0,20,100 format '%g %%'\n"
                "set key at screen 0.5,0.02 center bottom horizontal samplen 2 "
                "spacing 1.2 tc rgb '#333333'\n"
                "set bmargin at screen 0.27\n"
                "set xlabel 'cut' tc rgb '#333333'\n"
                "set ylabel 'bytes that cross, one sample' tc rgb '#333333'\n"
                "set y2label 'in the head, of all' tc rgb '#333333'\n",
                to);
    (void)fprintf(to, "set y2range [0:%g]\n", 100.0 / (1.0 - BAND));
    (void)fprintf(to, "set xrange [-0.5:%.1f]\n",
                  (double)list->cuts.count - 0.5);
    put_bytes(to, list);
    put_picks(to, list);
    (void)snprintf(title, sizeof title, "%s: %zu cuts", list->model->file.name,
                   list->cuts.count);
    (void)fputs("set title ", to);
    kerf_gnuplot_text(to, title);
    (void)fputs(" noenhanced tc rgb '#111111' font ',16'\n", to);
    put_curves(to, list);
}

kerf_err
kerf_cut_plot(const kerf_cut_list *list, const char *path, kerf_detail *why)
{
    bool any = false;

    for (size_t i = 0; i < list->cuts.count && !any; i++)
        any = list->cuts.cut[i].bytes_known;
    if (!any) {
        return kerf_fail(why, KERF_EINVAL,
                         "--svg: no cut has a size that is known%s%s",
                         list->model->note.text[0] == '\0' ? "" : ": ",
                         list->model->note.text);
    }
    return kerf_gnuplot(path, put_script, list, why);
}
