/*
 * A tensor may keep its data in a file beside the model (TensorProto: location
 * relative to the model's folder, offset, length). A location is text from a
 * file that anybody may have made: what it leads to must lie in that folder,
 * links followed, or a model could show a part of any file of this machine.
 */
#include "graph/onnx_own.h"

#include "base/fs.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILES_MAX 65536

/* TensorProto.external_data. */
struct place {
    kerf_onnx_text location;
    uint64_t offset, length;
    bool has_length;
};

static kerf_err
fail(kerf_detail *why, kerf_err err, const kerf_onnx_tensor *t,
     const struct place *at, const char *what)
{
    char name[KERF_ONNX_SHOWN], location[KERF_ONNX_SHOWN];

    return kerf_fail(why, err, "tensor '%s', data file '%s': %s",
                     kerf_onnx_show(name, t->name),
                     kerf_onnx_show(location, at->location), what);
}

kerf_err
kerf_onnx_files_init(kerf_onnx_files *files, const char *path, kerf_detail *why)
{
    size_t len = (size_t)(kerf_path_base(path) - path);
    char *dir = len == 0 ? strdup(".") : strndup(path, len);

    if (dir == NULL)
        return kerf_fail(why, KERF_ENOMEM, "%s: no memory", path);
    *files = (kerf_onnx_files){.dir = realpath(dir, NULL)};
    free(dir);
    if (files->dir == NULL)
        return kerf_fail(why, kerf_err_from_errno(errno), "%s: %s", path,
                         strerror(errno));
    return KERF_OK;
}

void
kerf_onnx_files_fini(kerf_onnx_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        free(files->at[i].location);
        kerf_map_close(&files->at[i].map);
    }
    free(files->at);
    free(files->dir);
    *files = (kerf_onnx_files){0};
}

/* Decimal digits, all of it. */
static bool
read_number(kerf_onnx_text text, uint64_t *out)
{
    uint64_t value = 0;

    for (size_t i = 0; i < text.len; i++) {
        uint64_t digit = (uint64_t)(unsigned char)text.at[i] - '0';

        if (digit > 9 || value > (UINT64_MAX - digit) / 10)
            return false;
        value = 10 * value + digit;
    }
    *out = value;
    return text.len > 0;
}

static bool
read_place(struct place *out, const uint8_t *tensor, size_t len)
{
    kerf_rd r = {.at = tensor, .left = len};
    struct place place = {0};
    bool is_good = true;
    kerf_wire_field f;

    while (kerf_wire_next(&r, &f)) {
        kerf_onnx_text key, value;

        if (f.number != ONNX_TENSOR_EXTERNAL || f.wire != 2)
            continue;
        key = kerf_onnx_field_text(f.bytes, f.len, 1);
        value = kerf_onnx_field_text(f.bytes, f.len, 2);
        if (kerf_onnx_is(key, "location")) {
            place.location = value;
        } else if (kerf_onnx_is(key, "offset")) {
            is_good &= read_number(value, &place.offset);
        } else if (kerf_onnx_is(key, "length")) {
            is_good &= read_number(value, &place.length);
            place.has_length = true;
        }
    }
    *out = place;
    return is_good && !r.bad;
}

/* No "..", no leading '/', no 0 byte. */
static bool
is_below(kerf_onnx_text location)
{
    const char *at = location.at;
    size_t left = location.len;

    if (left == 0 || left >= PATH_MAX || at[0] == '/' ||
        memchr(at, 0, left) != NULL)
        return false;
    while (left > 0) {
        const char *slash = memchr(at, '/', left);
        size_t len = slash == NULL ? left : (size_t)(slash - at);

        if (len == 2 && at[0] == '.' && at[1] == '.')
            return false;
        len += slash != NULL;
        at += len;
        left -= len;
    }
    return true;
}

/* Index of the file of that location, or of where it belongs. */
static size_t
find_file(const kerf_onnx_files *files, kerf_onnx_text location, bool *is_there)
{
    size_t low = 0;
    size_t high = files->count;

    *is_there = false;
    while (low < high && !*is_there) {
        size_t mid = low + (high - low) / 2;
        const char *has = files->at[mid].location;
        kerf_onnx_text text = {has, strlen(has)};
        int order = kerf_onnx_compare(&text, &location);

        *is_there = order == 0;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return high;
}

/* Opens what the location leads to, when that is in the folder. */
static kerf_err
map_file(const kerf_onnx_files *files, const kerf_onnx_tensor *t,
         const struct place *at, kerf_onnx_file *out, kerf_detail *why)
{
    size_t dir_len = strlen(files->dir);
    kerf_onnx_file file = {.location =
                               strndup(at->location.at, at->location.len)};
    char path[PATH_MAX];
    char *real = NULL;
    kerf_detail reason = {{0}};
    int n;
    kerf_err err;

    if (file.location == NULL) {
        err = fail(why, KERF_ENOMEM, t, at, "no memory");
        goto out;
    }
    n = snprintf(path, sizeof path, "%s/%s", files->dir, file.location);
    if (n < 0 || (size_t)n >= sizeof path) {
        err = fail(why, KERF_ETOOBIG, t, at, "its path is too long");
        goto out;
    }
    real = realpath(path, NULL);
    if (real == NULL) {
        err = fail(why, kerf_err_from_errno(errno), t, at, strerror(errno));
        goto out;
    }
    if (dir_len > 1 &&
        (strncmp(real, files->dir, dir_len) != 0 || real[dir_len] != '/')) {
        err = fail(why, KERF_ENOTSUP, t, at,
                   "a link leads out of the model's folder: put the file "
                   "itself there");
        goto out;
    }
    err = kerf_map_open(&file.map, real, SIZE_MAX, &reason);
    if (err != KERF_OK) {
        err = fail(why, err, t, at, reason.text);
        goto out;
    }
    *out = file;
    file.location = NULL;
out:
    free(file.location);
    free(real);
    return err;
}

/* The tensor's data within the file. */
static kerf_err
slice(const kerf_onnx_file *file, const kerf_onnx_tensor *t,
      const struct place *at, const uint8_t **data, size_t *len,
      kerf_detail *why)
{
    if (at->has_length && at->length != t->bytes)
        return fail(why, KERF_ECORRUPT, t, at,
                    "its length there is not what type and dims need");
    if (at->offset > file->map.len || t->bytes > file->map.len - at->offset)
        return fail(why, KERF_ECORRUPT, t, at,
                    "the file ends before the tensor's data does");
    *data = file->map.data + at->offset;
    *len = (size_t)t->bytes;
    return KERF_OK;
}

static kerf_err
read_both(const uint8_t *tensor, size_t len, kerf_onnx_tensor *t,
          struct place *at, kerf_detail *why)
{
    kerf_err err = kerf_onnx_tensor_read(t, tensor, len, why);

    if (err != KERF_OK)
        return err;
    if (!read_place(at, tensor, len))
        return fail(why, KERF_ECORRUPT, t, at,
                    "offset and length must be numbers");
    if (!t->has_bytes)
        return fail(why, KERF_ENOTSUP, t, at,
                    "text or an unknown type cannot be in a file of its own");
    if (!is_below(at->location))
        return fail(why, KERF_ENOTSUP, t, at,
                    "it must be a path within the model's folder");
    return KERF_OK;
}

kerf_err
kerf_onnx_files_add(kerf_onnx_files *files, const uint8_t *tensor, size_t len,
                    kerf_detail *why)
{
    kerf_onnx_tensor t;
    struct place place;
    const uint8_t *data;
    size_t data_len, at;
    bool is_there = false;
    void *room = files->at;
    kerf_err err = read_both(tensor, len, &t, &place, why);

    if (err != KERF_OK)
        return err;
    at = find_file(files, place.location, &is_there);
    if (!is_there) {
        kerf_onnx_file file;

        err = kerf_graph_grow(&room, files->count, &files->room, FILES_MAX,
                              sizeof file);
        files->at = room;
        if (err != KERF_OK)
            return fail(why, err, &t, &place, kerf_err_text(err));
        err = map_file(files, &t, &place, &file, why);
        if (err != KERF_OK)
            return err;
        memmove(&files->at[at + 1], &files->at[at],
                (files->count - at) * sizeof file);
        files->at[at] = file;
        files->count++;
    }
    return slice(&files->at[at], &t, &place, &data, &data_len, why);
}

kerf_err
kerf_onnx_files_data(const kerf_onnx_files *files, const uint8_t *tensor,
                     size_t len, const uint8_t **data, size_t *data_len,
                     kerf_detail *why)
{
    kerf_onnx_tensor t;
    struct place place;
    bool is_there = false;
    size_t at;
    kerf_err err = read_both(tensor, len, &t, &place, why);

    if (err != KERF_OK)
        return err;
    at = find_file(files, place.location, &is_there);
    if (!is_there)
        return fail(why, KERF_ENOENT, &t, &place, "it was never mapped");
    return slice(&files->at[at], &t, &place, data, data_len, why);
}
