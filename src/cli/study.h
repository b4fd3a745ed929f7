/*
 * study.h - what `kerf bench codec` found, of this run and of earlier ones:
 * a table, JSON lines to write and to read, bars, pictures.
 * Threads: one.
 */
#ifndef KERF_CLI_STUDY_H
#define KERF_CLI_STUDY_H

#include "bench/codec.h"
#include "cli/bench_ui.h"

/* Zeroed: empty. */
typedef struct kerf_study {
    kerf_codec_file *file; /* owned */
    size_t count, room;
} kerf_study;

void kerf_study_fini(kerf_study *study);

/* Adds what was found of a file to what is known of it (the same name and
 * size); rows of a method that is there already are replaced.
 * Errors: KERF_ENOMEM, KERF_ETOOBIG (too many methods). */
KERF_NODISCARD kerf_err kerf_study_add(kerf_study *study,
                                       const kerf_codec_file *file);
/* By size, as the table and the pictures show them. */
void kerf_study_sort(kerf_study *study);

/* The row of a method; NULL: none. */
const kerf_codec_row *kerf_study_row(const kerf_codec_file *file,
                                     const char *method);
/* One of `kerf bench codec`, or a peer that it only read about. */
bool kerf_study_is_own(const char *method);

/* MB/s of one way, in memory where that was measured; 0: not known. */
double kerf_study_rate(const kerf_codec_file *file, const kerf_codec_row *row,
                       bool packing);

/* What the reference published of its file of 184 MB. */
#define KERF_REFERENCE_BYTES 184000000u
typedef struct kerf_published {
    const char *method;
    double pack_s, ratio, unpack_s;
} kerf_published;

#define KERF_PUBLISHED 5
extern const kerf_published kerf_published_of[KERF_PUBLISHED];

/* study_json.c: one line {"event":"codec-file"}, then {"event":"codec"} each.
 */
void kerf_study_print_json(const kerf_codec_file *file);
/* Errors: KERF_ENOENT..., KERF_ECORRUPT (not such lines). */
KERF_NODISCARD kerf_err kerf_study_read(kerf_study *study, const char *path,
                                        kerf_detail *why);

/* study_show.c */
void kerf_study_print(const kerf_term *out, const kerf_codec_file *file);
/* Each bar that can be told from the rows. */
void kerf_study_judge(kerf_bench_ui *ui, const kerf_codec_file *file);

/* study_plot.c: compress.svg, ratio.svg, extract.svg and .png into dir. */
KERF_NODISCARD kerf_err kerf_study_plot(const kerf_study *study,
                                        const char *dir, kerf_detail *why);

#endif
