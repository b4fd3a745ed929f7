#include "cli/study.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* What docs/BENCHMARKS.md promises. */
#define BIG_BYTES 1000000u /* from here on the bars on size and speed hold */
#define TWO_THREADS_FROM 8000000u
#define LONG_BYTES 100000000u
#define FLOATS_LEAST 0.95 /* parts of the file: it is f32 weights */

/* ---- the table -------------------------------------------------------- */

static const kerf_published *
published(const char *method)
{
    for (size_t i = 0; i < KERF_PUBLISHED; i++) {
        if (strcmp(kerf_published_of[i].method, method) == 0)
            return &kerf_published_of[i];
    }
    return NULL;
}

/* A number in a column, or a dash when it is not known. */
static void
cell(int width, int digits, double v)
{
    if (v > 0)
        (void)printf(" %*.*f", width, digits, v);
    else
        (void)printf(" %*s", width, "-");
}

static void
print_row(const kerf_codec_file *file, const kerf_codec_row *row)
{
    double mb = (double)file->bytes / 1e6;
    const kerf_published *p = published(row->method);

    (void)printf("  %-8s %3d %11llu", row->method, row->threads,
                 (unsigned long long)row->bytes);
    cell(6, 4, file->bytes > 0 ? (double)row->bytes / (double)file->bytes : 0);
    cell(9, 4, row->pack_s);
    cell(8, 1, row->pack_s > 0 ? mb / row->pack_s : 0);
    cell(8, 4, row->unpack_s);
    cell(8, 1, row->unpack_s > 0 ? mb / row->unpack_s : 0);
    cell(7, 1, row->pack_kib / 1024);
    cell(7, 1, row->unpack_kib / 1024);
    cell(7, 0, row->memory_pack_s > 0 ? mb / row->memory_pack_s : 0);
    cell(7, 0, row->memory_unpack_s > 0 ? mb / row->memory_unpack_s : 0);
    if (p != NULL)
        (void)printf("   %6.2f %4.2f %5.2f", p->pack_s, p->ratio, p->unpack_s);
    (void)fputc('\n', stdout);
}

void
kerf_study_print(const kerf_term *out, const kerf_codec_file *file)
{
    double all = file->bytes > 0 ? (double)file->bytes : 1;

    (void)printf("%s%s%s: %llu bytes, %.1f %% in tensors", kerf_term_bold(out),
                 file->name, kerf_term_plain(out),
                 (unsigned long long)file->bytes,
                 100 * (double)file->floor.tensor_bytes / all);
    if (file->floor.order0 > 0)
        (void)printf("; entropy, order 0: %.4f, conditional: %.4f",
                     file->floor.order0 / all, file->floor.conditional / all);
    if (file->memcpy_s > 0)
        (void)printf("; memcpy: %.0f MB/s", all / 1e6 / file->memcpy_s);
    (void)printf("\n  %s%-8s %3s %11s %6s %9s %8s %8s %8s %7s %7s %7s %7s   "
                 "%s%s\n",
                 kerf_term_dim(out), "", "", "", "", "compress", "", "extract",
                 "", "peak MB", "", "in RAM", "MB/s", "published: 184 MB,",
                 kerf_term_plain(out));
    (void)printf("  %s%-8s %3s %11s %6s %9s %8s %8s %8s %7s %7s %7s %7s   "
                 "%s%s\n",
                 kerf_term_dim(out), "method", "thr", "bytes", "ratio", "s",
                 "MB/s", "s", "MB/s", "compr.", "extr.", "compr.", "extr.",
                 "another machine", kerf_term_plain(out));
    for (size_t i = 0; i < file->row_count; i++)
        print_row(file, &file->row[i]);
}

/* ---- bars ------------------------------------------------------------- */

struct judge {
    kerf_bench_ui *ui;
    const kerf_codec_file *file;
};

static void
most(struct judge *j, const char *what, double value, double bar)
{
    kerf_bench_ui_judge(j->ui, value <= bar, what, value, bar, "");
}

static void
least(struct judge *j, const char *what, double value, double bar)
{
    kerf_bench_ui_judge(j->ui, value >= bar, what, value, bar, "");
}

static double
bytes_of(const struct judge *j, const char *method)
{
    const kerf_codec_row *row = kerf_study_row(j->file, method);

    return row != NULL ? (double)row->bytes : 0;
}

static void
judge_size(struct judge *j, double kwz, bool is_weights)
{
    double gzip = bytes_of(j, "gzip");
    double zstd = bytes_of(j, "zstd-3");
    double xz = bytes_of(j, "xz");
    double floor = j->file->floor.order0;
    bool repeats = xz > 0 && xz < floor; /* matches find more than values do */

    if (gzip > 0 && zstd > 0)
        most(j, "kwz / the smaller of gzip -9 and zstd -3, bytes:",
             kwz / fmin(gzip, zstd), 1.001);
    if (is_weights && repeats)
        most(j, "values repeat: kwz / xz, bytes:", kwz / xz, 1.02);
    if (!is_weights || repeats)
        return;
    if (gzip > 0)
        most(j, "kwz / gzip -9, bytes:", kwz / gzip, 0.91);
    if (zstd > 0)
        most(j, "kwz / zstd -3, bytes:", kwz / zstd, 0.92);
    if (floor > 0)
        most(j, "kwz / order-0 entropy, bytes:", kwz / floor, 1.006);
}

/* In memory, one thread. */
static void
judge_speed(struct judge *j, const kerf_codec_row *kwz)
{
    const kerf_codec_row *gzip = kerf_study_row(j->file, "gzip");
    const kerf_codec_row *zstd = kerf_study_row(j->file, "zstd-3");
    const kerf_codec_row *two = kerf_study_row(j->file, "kwz-2");

    if (!(kwz->memory_pack_s > 0) || !(kwz->memory_unpack_s > 0))
        return;
    if (gzip != NULL && gzip->memory_pack_s > 0) {
        least(j, "in memory: kwz compresses faster than gzip -9, times:",
              gzip->memory_pack_s / kwz->memory_pack_s, 60);
        least(j, "in memory: kwz extracts faster than zlib, times:",
              gzip->memory_unpack_s / kwz->memory_unpack_s, 12);
    }
    if (zstd != NULL && zstd->memory_pack_s > 0) {
        least(j, "in memory: kwz compresses faster than zstd -3, times:",
              zstd->memory_pack_s / kwz->memory_pack_s, 2.5);
        least(j, "in memory: kwz extracts faster than zstd -3, times:",
              zstd->memory_unpack_s / kwz->memory_unpack_s, 2.3);
    }
    /* Of smaller files one thread is used. */
    if (two != NULL && two->memory_pack_s > 0 && two->memory_unpack_s > 0 &&
        j->file->bytes >= TWO_THREADS_FROM) {
        least(j, "in memory: two threads compress faster than one, times:",
              kwz->memory_pack_s / two->memory_pack_s, 1.5);
        least(j, "in memory: two threads extract faster than one, times:",
              kwz->memory_unpack_s / two->memory_unpack_s, 1.5);
    }
}

static void
judge_peers(struct judge *j, const kerf_codec_row *kwz)
{
    double fastest = kerf_study_rate(j->file, kwz, false);
    char what[128];

    for (size_t i = 0; i < j->file->row_count; i++) {
        const kerf_codec_row *row = &j->file->row[i];
        double rate = kerf_study_rate(j->file, row, true);

        if (kerf_study_is_own(row->method) &&
            strcmp(row->method, "zstd-19") != 0)
            continue;
        (void)snprintf(what, sizeof what, "kwz / %s, bytes:", row->method);
        most(j, what, (double)kwz->bytes / (double)row->bytes, 1);
        (void)snprintf(what, sizeof what,
                       "kwz compresses faster than %s, times:", row->method);
        if (rate > 0)
            least(j, what, kerf_study_rate(j->file, kwz, true) / rate, 1);
        fastest = fmax(fastest, kerf_study_rate(j->file, row, false));
    }
    if (fastest > 0)
        least(j, "kwz extracts / the fastest of these, MB/s:",
              kerf_study_rate(j->file, kwz, false) / fastest, 0.8);
}

void
kerf_study_judge(kerf_bench_ui *ui, const kerf_codec_file *file)
{
    struct judge j = {.ui = ui, .file = file};
    const kerf_codec_row *kwz = kerf_study_row(file, "kwz");
    const kerf_codec_row *gzip = kerf_study_row(file, "gzip");
    bool is_weights =
        file->bytes >= BIG_BYTES &&
        (double)file->floor.float_bytes >= FLOATS_LEAST * (double)file->bytes;

    if (kwz == NULL || kwz->bytes == 0)
        return;
    judge_size(&j, (double)kwz->bytes, is_weights);
    if (is_weights) {
        judge_speed(&j, kwz);
        if (kwz->pack_kib > 0)
            most(&j, "kwz, one thread: memory to compress, MB:",
                 kwz->pack_kib / 1024, 1.5);
        if (kwz->unpack_kib > 0)
            most(&j, "kwz, one thread: memory to extract, MB:",
                 kwz->unpack_kib / 1024, 1.5);
        judge_peers(&j, kwz);
    }
    if (file->bytes >= LONG_BYTES && gzip != NULL && gzip->pack_s > 0 &&
        kwz->pack_s > 0)
        most(&j, "file to file: kwz / gzip, time to compress:",
             kwz->pack_s / gzip->pack_s, 0.07);
}
