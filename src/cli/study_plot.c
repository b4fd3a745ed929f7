/* The three pictures of the study: what packing takes, what it gives, what
 * unpacking takes, against the size of the file. */
#include "cli/study.h"

#include "base/fs.h"
#include "cli/gnuplot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum picture { COMPRESS, RATIO, EXTRACT, PICTURES };

struct drawing {
    const kerf_study *study;
    enum picture picture;
    bool as_png;
};

/* How a method looks. Those that nearly lie on each other (gzip, zip, tar.gz)
 * have points of different sizes, the smallest drawn last. */
struct look {
    const char *method, *title, *colour;
    int dash, point;
    double size, width;
};

static const struct look looks[] = {
    {"bz2", "bz2", "#b8860b", 1, 5, 0.8, 1.5},
    {"xz", "xz", "#8e44ad", 1, 9, 0.9, 1.5},
    {"gzip", "gzip", "#c0392b", 1, 6, 1.5, 1.5},
    {"tar.gz", "tar.gz", "#e67e22", 2, 4, 1.0, 1.5},
    {"zip", "zip", "#7f8c8d", 3, 7, 0.5, 1.5},
    {"zstd-19", "zstd -19", "#16a085", 2, 8, 0.9, 1.5},
    {"zstd-3", "zstd -3", "#27ae60", 1, 8, 0.9, 1.5},
    {"zipnn", "ZipNN", "#566573", 4, 12, 0.9, 1.2},
    {"blosc2", "Blosc2", "#a04000", 4, 10, 0.9, 1.2},
    {"kwz", "kwz", "#1f4e9c", 1, 7, 0.8, 3},
    {"kwz-2", "kwz, 2 threads", "#5b9bd5", 2, 7, 0.6, 2.5},
};

#define LOOKS (sizeof looks / sizeof *looks)

static double
value_of(const struct drawing *d, const kerf_codec_file *file,
         const kerf_codec_row *row)
{
    if (d->picture == RATIO)
        return (double)row->bytes / (double)file->bytes;
    if (d->picture == COMPRESS)
        return row->pack_s > 0 ? row->pack_s : row->memory_pack_s;
    return row->unpack_s > 0 ? row->unpack_s : row->memory_unpack_s;
}

static unsigned long
colour_of(const char *method)
{
    for (size_t i = 0; i < LOOKS; i++) {
        if (strcmp(looks[i].method, method) == 0)
            return strtoul(looks[i].colour + 1, NULL, 16);
    }
    return 0;
}

static bool
put_series(FILE *to, const struct drawing *d, size_t look)
{
    bool any = false;

    (void)fprintf(to, "$m%zu << EOD\n", look);
    for (size_t i = 0; i < d->study->count; i++) {
        const kerf_codec_file *file = &d->study->file[i];
        const kerf_codec_row *row = kerf_study_row(file, looks[look].method);

        if (row == NULL || file->bytes == 0 || !(value_of(d, file, row) > 0))
            continue;
        any = true;
        (void)fprintf(to, "%.6f %.9g\n", (double)file->bytes / 1e6,
                      value_of(d, file, row));
    }
    (void)fputs("EOD\n", to);
    return any;
}

/* memcpy's time, or the entropies; beside each other in columns. */
static void
put_bounds(FILE *to, const struct drawing *d)
{
    (void)fputs("$bounds << EOD\n", to);
    for (size_t i = 0; i < d->study->count; i++) {
        const kerf_codec_file *f = &d->study->file[i];
        double bytes = f->bytes > 0 ? (double)f->bytes : NAN;

        (void)fprintf(to, "%.6f %.9g %.9g %.9g\n", bytes / 1e6,
                      f->memcpy_s > 0 ? f->memcpy_s : NAN,
                      f->floor.order0 > 0 ? f->floor.order0 / bytes : NAN,
                      f->floor.conditional > 0 ? f->floor.conditional / bytes
                                               : NAN);
    }
    (void)fputs("EOD\n$published << EOD\n", to);
    for (size_t i = 0; i < KERF_PUBLISHED; i++) {
        const kerf_published *p = &kerf_published_of[i];

        (void)fprintf(to, "%.1f %g %lu\n", KERF_REFERENCE_BYTES / 1e6,
                      d->picture == RATIO      ? p->ratio
                      : d->picture == COMPRESS ? p->pack_s
                                               : p->unpack_s,
                      colour_of(p->method));
    }
    (void)fputs("EOD\n", to);
}

static void
put_axes(FILE *to, const struct drawing *d)
{
    static const char *const titles[PICTURES] = {
        "Time to compress a file of weights",
        "What is left of it: compressed size / size",
        "Time to extract it again"};

    (void)fprintf(
        to,
        d->as_png
            ? "set terminal pngcairo size 1500,960 fontscale 1 linewidth 1.5 "
              "pointscale 1.7 font 'DejaVu Sans,17' background '#ffffff'\n"
            : "set terminal svg size 1000,640 dynamic enhanced font "
              "'DejaVu Sans,Helvetica,Arial,sans-serif,13' background "
              "'#ffffff'\n");
    (void)fputs("set encoding utf8\n"
                "set border 3 lc rgb '#777777'\n"
                "set tics nomirror tc rgb '#333333'\n"
                "set grid xtics ytics lc rgb '#e4e4e4' lw 1, lc rgb '#e4e4e4'\n"
                "set key outside right center vertical Left reverse samplen 3 "
                "spacing 1.3 "
                "tc rgb '#333333'\n"
                "set logscale x\n"
                "set xtics (1,2,3,5,10,20,50,100,200,500,1000)\n"
                "set xlabel 'size of the file, MB' tc rgb '#333333'\n"
                "set autoscale xfix\n"
                "set offsets graph 0.04, graph 0.04, 0, 0\n",
                to);
    (void)fprintf(to, "set title '%s' tc rgb '#111111'\n", titles[d->picture]);
    if (d->picture == RATIO) {
        (void)fputs("set ylabel 'ratio' tc rgb '#333333'\n"
                    "set format y '%.2f'\n"
                    "set offsets graph 0.04, graph 0.04, graph 0.05, "
                    "graph 0.05\n",
                    to);
        return;
    }
    (void)fputs("set logscale y\n"
                "set ylabel 'seconds' tc rgb '#333333'\n"
                "set ytics ('1 µs' 1e-6, '10 µs' 1e-5, '0.1 ms' 1e-4, '1 ms' "
                "1e-3, '10 ms' 1e-2, "
                "'0.1 s' 0.1, '1 s' 1, '10 s' 10, '100 s' 100, '1000 s' 1000)\n"
                "set mytics 10\n",
                to);
}

static void
put_script(FILE *to, const void *ctx)
{
    const struct drawing *d = ctx;
    bool has[LOOKS];

    put_axes(to, d);
    put_bounds(to, d);
    for (size_t i = 0; i < LOOKS; i++)
        has[i] = put_series(to, d, i);
    (void)fputs("plot ", to);
    for (size_t i = 0; i < LOOKS; i++) {
        const struct look *l = &looks[i];

        if (has[i]) {
            (void)fprintf(to,
                          "$m%zu with linespoints lw %g dt %d pt %d ps %g lc "
                          "rgb '%s' title '%s', ",
                          i, l->width, l->dash, l->point, l->size, l->colour,
                          l->title);
        }
    }
    if (d->picture == RATIO) {
        (void)fputs("$bounds using 1:3 with lines lw 1.5 dt 3 lc rgb '#333333' "
                    "title 'entropy, order 0', "
                    "$bounds using 1:4 with lines lw 1.5 dt 4 lc rgb '#999999' "
                    "title 'entropy, conditional', ",
                    to);
    } else {
        (void)fputs("$bounds using 1:2 with lines lw 1.5 dt 3 lc rgb '#333333' "
                    "title 'memcpy', ",
                    to);
    }
    (void)fputs("$published using 1:2:3 with points pt 2 ps 1.2 lw 2 lc rgb "
                "variable notitle, NaN with points pt 2 ps 1.2 lw 2 lc rgb "
                "'#333333' title 'published, another machine'\n",
                to);
}

kerf_err
kerf_study_plot(const kerf_study *study, const char *dir, kerf_detail *why)
{
    static const char *const names[PICTURES][2] = {
        {"compress.svg", "compress.png"},
        {"ratio.svg", "ratio.png"},
        {"extract.svg", "extract.png"}};
    kerf_err err = kerf_fs_mkdirs(dir, why);

    for (int i = 0; i < PICTURES * 2 && err == KERF_OK; i++) {
        const struct drawing d = {.study = study,
                                  .picture = (enum picture)(i / 2),
                                  .as_png = i % 2 == 1};
        char path[KERF_PATH_MAX];

        err = kerf_path_join(path, dir, names[i / 2][i % 2]);
        if (err != KERF_OK)
            return kerf_fail(why, err, "--plots: the path is too long");
        err = kerf_gnuplot(path, put_script, &d, why);
    }
    return err;
}
