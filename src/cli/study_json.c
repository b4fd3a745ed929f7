#include "cli/study.h"

#include "base/fs.h"
#include "cli/json_line.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FILES_MOST 4096u
#define LINE_MOST 65536

const kerf_published kerf_published_of[KERF_PUBLISHED] = {
    {.method = "gzip", .pack_s = 6.02, .ratio = 0.93, .unpack_s = 1.0},
    {.method = "bz2", .pack_s = 19.46, .ratio = 0.95, .unpack_s = 9.02},
    {.method = "xz", .pack_s = 110.8, .ratio = 0.92, .unpack_s = 19.0},
    {.method = "zip", .pack_s = 6.26, .ratio = 0.93, .unpack_s = 0.97},
    {.method = "tar.gz", .pack_s = 6.09, .ratio = 0.93, .unpack_s = 1.85},
};

void
kerf_study_fini(kerf_study *study)
{
    free(study->file);
    *study = (kerf_study){.count = 0};
}

static kerf_codec_row *
find_row(kerf_codec_file *file, const char *method)
{
    for (size_t i = 0; i < file->row_count; i++) {
        if (strcmp(file->row[i].method, method) == 0)
            return &file->row[i];
    }
    return NULL;
}

static kerf_codec_file *
find_file(kerf_study *study, const kerf_codec_file *like)
{
    for (size_t i = 0; i < study->count; i++) {
        if (study->file[i].bytes == like->bytes &&
            strcmp(study->file[i].name, like->name) == 0)
            return &study->file[i];
    }
    return NULL;
}

static kerf_err
add_file(kerf_study *study, kerf_codec_file **out, const kerf_codec_file *like)
{
    if (study->count == FILES_MOST)
        return KERF_ETOOBIG;
    if (study->count == study->room) {
        size_t room = study->room > 0 ? 2 * study->room : 16;
        kerf_codec_file *more = realloc(study->file, room * sizeof *more);

        if (more == NULL)
            return KERF_ENOMEM;
        study->file = more;
        study->room = room;
    }
    *out = &study->file[study->count++];
    **out = *like;
    (*out)->row_count = 0;
    return KERF_OK;
}

kerf_err
kerf_study_add(kerf_study *study, const kerf_codec_file *file)
{
    kerf_codec_file *to = find_file(study, file);
    kerf_err err = KERF_OK;

    if (to == NULL)
        err = add_file(study, &to, file);
    if (err != KERF_OK)
        return err;
    if (file->memcpy_s > 0)
        to->memcpy_s = file->memcpy_s;
    if (file->floor.order0 > 0)
        to->floor = file->floor;
    for (size_t i = 0; i < file->row_count; i++) {
        kerf_codec_row *row = find_row(to, file->row[i].method);

        if (row == NULL && to->row_count == KERF_CODEC_METHODS_MOST)
            return KERF_ETOOBIG;
        if (row == NULL)
            row = &to->row[to->row_count++];
        *row = file->row[i];
    }
    return KERF_OK;
}

static int
compare_files(const void *a, const void *b)
{
    const kerf_codec_file *x = a;
    const kerf_codec_file *y = b;

    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

void
kerf_study_sort(kerf_study *study)
{
    if (study->count > 0)
        qsort(study->file, study->count, sizeof *study->file, compare_files);
}

const kerf_codec_row *
kerf_study_row(const kerf_codec_file *file, const char *method)
{
    for (size_t i = 0; i < file->row_count; i++) {
        if (strcmp(file->row[i].method, method) == 0)
            return &file->row[i];
    }
    return NULL;
}

bool
kerf_study_is_own(const char *method)
{
    for (size_t i = 0; i < kerf_codec_methods(); i++) {
        if (strcmp(method, kerf_codec_method(i)) == 0)
            return true;
    }
    return strncmp(method, "kwz-", 4) == 0;
}

double
kerf_study_rate(const kerf_codec_file *file, const kerf_codec_row *row,
                bool packing)
{
    double memory = packing ? row->memory_pack_s : row->memory_unpack_s;
    double s = memory > 0 ? memory : packing ? row->pack_s : row->unpack_s;

    return s > 0 ? (double)file->bytes / 1e6 / s : 0;
}

/* ---- writing ---------------------------------------------------------- */

/* What was not measured is not there. */
static void
put(json_t *o, const char *name, double v)
{
    if (v > 0)
        (void)json_object_set_new(o, name, json_real(v));
}

static void
print_row(const kerf_codec_file *file, const kerf_codec_row *row)
{
    json_t *o = json_pack(
        "{s:s, s:o, s:I, s:o, s:i, s:i, s:I}", "event", "codec", "file",
        kerf_json_text(file->name), "bytes", (json_int_t)file->bytes, "method",
        kerf_json_text(row->method), "threads", row->threads, "rounds",
        row->rounds, "packed_bytes", (json_int_t)row->bytes);

    if (file->bytes > 0)
        put(o, "ratio", (double)row->bytes / (double)file->bytes);
    put(o, "compress_s", row->pack_s);
    put(o, "extract_s", row->unpack_s);
    put(o, "memory_compress_s", row->memory_pack_s);
    put(o, "memory_extract_s", row->memory_unpack_s);
    put(o, "compress_mb_per_s", kerf_study_rate(file, row, true));
    put(o, "extract_mb_per_s", kerf_study_rate(file, row, false));
    put(o, "compress_peak_kib", row->pack_kib);
    put(o, "extract_peak_kib", row->unpack_kib);
    for (size_t i = 0; i < KERF_PUBLISHED; i++) {
        const kerf_published *p = &kerf_published_of[i];

        if (strcmp(p->method, row->method) != 0)
            continue;
        (void)json_object_set_new(
            o, "published_elsewhere",
            json_pack("{s:i, s:f, s:f, s:f}", "bytes",
                      (int)KERF_REFERENCE_BYTES, "compress_s", p->pack_s,
                      "ratio", p->ratio, "extract_s", p->unpack_s));
    }
    kerf_json_line(o);
}

void
kerf_study_print_json(const kerf_codec_file *file)
{
    json_t *o =
        json_pack("{s:s, s:o, s:I}", "event", "codec-file", "file",
                  kerf_json_text(file->name), "bytes", (json_int_t)file->bytes);

    put(o, "tensor_bytes", (double)file->floor.tensor_bytes);
    put(o, "f32_bytes", (double)file->floor.float_bytes);
    put(o, "order0_bytes", file->floor.order0);
    put(o, "conditional_bytes", file->floor.conditional);
    put(o, "memcpy_s", file->memcpy_s);
    kerf_json_line(o);
    for (size_t i = 0; i < file->row_count; i++)
        print_row(file, &file->row[i]);
}

/* ---- reading ---------------------------------------------------------- */

/* A number of at least 0; else 0. */
static double
get(const json_t *o, const char *name)
{
    double v = json_number_value(json_object_get(o, name));

    return isfinite(v) && v > 0 && v < 1e18 ? v : 0;
}

static bool
get_text(const json_t *o, const char *name, char *out, size_t cap)
{
    const char *text = json_string_value(json_object_get(o, name));

    if (text == NULL || *text == '\0' || strlen(text) >= cap)
        return false;
    memcpy(out, text, strlen(text) + 1);
    return true;
}

static kerf_err
take_line(kerf_study *study, const json_t *o)
{
    kerf_codec_file file = {.row_count = 0};
    kerf_codec_row *row = &file.row[0];
    const char *event = json_string_value(json_object_get(o, "event"));

    if (event == NULL || !get_text(o, "file", file.name, sizeof file.name))
        return KERF_ECORRUPT;
    file.bytes = (uint64_t)get(o, "bytes");
    if (strcmp(event, "codec-file") == 0) {
        file.floor =
            (kerf_floor){.tensor_bytes = (uint64_t)get(o, "tensor_bytes"),
                         .float_bytes = (uint64_t)get(o, "f32_bytes"),
                         .order0 = get(o, "order0_bytes"),
                         .conditional = get(o, "conditional_bytes")};
        file.memcpy_s = get(o, "memcpy_s");
        return kerf_study_add(study, &file);
    }
    if (strcmp(event, "codec") != 0 ||
        !get_text(o, "method", row->method, sizeof row->method))
        return KERF_ECORRUPT;
    row->threads = (int)fmin(get(o, "threads"), 1e6);
    row->rounds = (int)fmin(get(o, "rounds"), 1e6);
    row->bytes = (uint64_t)get(o, "packed_bytes");
    row->pack_s = get(o, "compress_s");
    row->unpack_s = get(o, "extract_s");
    row->memory_pack_s = get(o, "memory_compress_s");
    row->memory_unpack_s = get(o, "memory_extract_s");
    row->pack_kib = get(o, "compress_peak_kib");
    row->unpack_kib = get(o, "extract_peak_kib");
    file.row_count = 1;
    return kerf_study_add(study, &file);
}

kerf_err
kerf_study_read(kerf_study *study, const char *path, kerf_detail *why)
{
    FILE *from = fopen(path, "re");
    char *line = malloc(LINE_MOST);
    kerf_err err = KERF_OK;
    int number = 0;

    if (from == NULL)
        err = kerf_fail(why, kerf_err_from_errno(errno), "%s: %s", path,
                        strerror(errno));
    else if (line == NULL)
        err = kerf_fail(why, KERF_ENOMEM, "no memory");
    while (err == KERF_OK && fgets(line, LINE_MOST, from) != NULL) {
        json_t *o = json_loads(line, 0, NULL);

        number++;
        err = json_is_object(o) ? take_line(study, o) : KERF_ECORRUPT;
        json_decref(o);
        if (err != KERF_OK) {
            err = kerf_fail(why, err,
                            "%s, line %d: %s: not what kerf bench codec --json "
                            "prints",
                            path, number, kerf_err_text(err));
        }
    }
    free(line);
    if (from != NULL)
        (void)fclose(from);
    return err;
}
