/* zip and tar.gz, by libarchive; the gzip of a tar.gz goes through stream.h,
 * which verifies its check. */
#include "pack/pack_own.h"

#include "base/text.h"
#include "pack/stream.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PART ((size_t)1 << 16)

struct both {
    const kerf_pack_job *job;
    kerf_sink *sink;     /* packing */
    const kerf_map *map; /* unpacking */
    size_t at;           /* of the map, in bytes given to libarchive */
    kerf_stream *gzip;   /* NULL: zip */
    kerf_detail *why;    /* of an error in a callback */
    kerf_err err;
    uint64_t got;
    uint8_t part[PART];
};

static kerf_err
failed(struct both *b, struct archive *a, const char *what)
{
    const char *text = archive_error_string(a);

    if (b->err != KERF_OK)
        return b->err; /* told by the callback */
    return kerf_fail(b->why,
                     archive_errno(a) == ENOMEM ? KERF_ENOMEM : KERF_ECORRUPT,
                     "%s: %s", what, text != NULL ? text : "libarchive failed");
}

/* ---- packing ---------------------------------------------------------- */

static kerf_err
put(struct both *b, const void *data, size_t len, bool is_end)
{
    kerf_flow flow = {.in = data, .in_left = len, .is_end = is_end};
    bool done = false;

    if (b->gzip == NULL)
        return kerf_sink_write(b->sink, data, len, b->why);
    do {
        kerf_err err;

        flow.out = b->part;
        flow.out_left = sizeof b->part;
        err = kerf_stream_run(b->gzip, &flow, &done, b->why);
        if (err == KERF_OK)
            err = kerf_sink_write(b->sink, b->part,
                                  sizeof b->part - flow.out_left, b->why);
        if (err != KERF_OK)
            return err;
    } while (is_end ? !done : flow.in_left > 0);
    return KERF_OK;
}

static la_ssize_t
write_part(struct archive *a, void *ctx, const void *data, size_t len)
{
    struct both *b = ctx;

    b->err = put(b, data, len, false);
    if (b->err == KERF_OK)
        return (la_ssize_t)len;
    archive_set_error(a, EIO, "cannot write");
    return -1;
}

static kerf_err
pack_bytes(struct both *b, struct archive *a, const kerf_tree_item *item,
           uint64_t all)
{
    int fd = open(item->path, O_RDONLY | O_CLOEXEC);
    uint64_t left = (uint64_t)item->size;
    uint8_t *part = malloc(PART);
    kerf_err err = KERF_OK;

    if (fd < 0 || part == NULL) {
        err = kerf_fail(b->why, kerf_err_from_errno(errno), "%s: %s",
                        item->path, strerror(errno));
        goto out;
    }
    while (left > 0) {
        ssize_t n = read(fd, part, left < PART ? (size_t)left : PART);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            err = kerf_fail(b->why, KERF_EIO,
                            "%s: it changed while it was read", item->path);
            goto out;
        }
        if (archive_write_data(a, part, (size_t)n) != n) {
            err = failed(b, a, item->name);
            goto out;
        }
        left -= (uint64_t)n;
        b->got += (uint64_t)n;
        err = pack_tell(b->job, item->name, b->got, all, b->why);
        if (err != KERF_OK)
            goto out;
    }
out:
    if (fd >= 0)
        (void)close(fd);
    free(part);
    return err;
}

static kerf_err
pack_item(struct both *b, struct archive *a, const kerf_tree_item *item,
          uint64_t all)
{
    struct archive_entry *e = archive_entry_new();
    kerf_err err = KERF_OK;

    if (e == NULL)
        return kerf_fail(b->why, KERF_ENOMEM, "no memory");
    archive_entry_set_pathname(e, item->name);
    archive_entry_set_mode(e, item->mode);
    archive_entry_set_mtime(e, item->mtime, 0);
    if (S_ISREG(item->mode))
        archive_entry_set_size(e, item->size);
    if (archive_write_header(a, e) != ARCHIVE_OK)
        err = failed(b, a, item->name);
    else if (S_ISREG(item->mode))
        err = pack_bytes(b, a, item, all);
    archive_entry_free(e);
    return err;
}

static bool
set_format(struct archive *a, const kerf_pack_job *job)
{
    char level[2] = {(char)('0' + job->level), '\0'};

    if (job->format == KERF_PACK_TAR_GZ)
        return archive_write_set_format_pax_restricted(a) == ARCHIVE_OK;
    return archive_write_set_format_zip(a) == ARCHIVE_OK &&
           archive_write_set_format_option(a, "zip", "compression",
                                           "deflate") == ARCHIVE_OK &&
           (job->level == 0 ||
            archive_write_set_format_option(a, "zip", "compression-level",
                                            level) == ARCHIVE_OK);
}

kerf_err
kerf_archive_pack(const kerf_pack_job *job, const kerf_tree *tree,
                  kerf_sink *sink, kerf_detail *why)
{
    struct both *b = calloc(1, sizeof *b);
    struct archive *a = archive_write_new();
    kerf_err err = KERF_OK;

    if (b == NULL || a == NULL) {
        err = kerf_fail(why, KERF_ENOMEM, "no memory");
        goto out;
    }
    *b = (struct both){.job = job, .sink = sink, .why = why};
    if (job->format == KERF_PACK_TAR_GZ)
        err = kerf_stream_packer(&b->gzip, KERF_STREAM_GZIP, job->level, 1);
    if (err != KERF_OK)
        goto out;
    if (!set_format(a, job) ||
        archive_write_set_bytes_per_block(a, 10240) != ARCHIVE_OK ||
        archive_write_set_bytes_in_last_block(
            a, job->format == KERF_PACK_ZIP ? 1 : 10240) != ARCHIVE_OK ||
        archive_write_open2(a, b, NULL, write_part, NULL, NULL) != ARCHIVE_OK) {
        err = failed(b, a, "packing");
        goto out;
    }
    for (size_t i = 0; i < tree->count && err == KERF_OK; i++)
        err = pack_item(b, a, &tree->item[i], tree->bytes);
    if (err == KERF_OK && archive_write_close(a) != ARCHIVE_OK)
        err = failed(b, a, "packing");
    if (err == KERF_OK)
        err = put(b, NULL, 0, true);
out:
    if (a != NULL)
        (void)archive_write_free(a); /* nothing more is written: it is closed,
                                        or its callback fails */
    if (b != NULL)
        kerf_stream_free(b->gzip);
    free(b);
    return err;
}

/* ---- unpacking -------------------------------------------------------- */

/* Bytes of the tar in the gzip. */
static la_ssize_t
read_part(struct archive *a, void *ctx, const void **data)
{
    struct both *b = ctx;
    kerf_flow flow = {.in = b->map->data + b->at,
                      .in_left = b->map->len - b->at,
                      .is_end = true,
                      .out = b->part,
                      .out_left = sizeof b->part};
    bool done = false;

    while (b->err == KERF_OK && !done && flow.out_left > 0)
        b->err = kerf_stream_run(b->gzip, &flow, &done, b->why);
    b->at = b->map->len - flow.in_left;
    if (b->err != KERF_OK) {
        archive_set_error(a, EIO, "cannot read");
        return -1;
    }
    *data = b->part;
    return (la_ssize_t)(sizeof b->part - flow.out_left);
}

static kerf_err
unpack_bytes(struct both *b, struct archive *a, kerf_sink *sink,
             const char *name, uint64_t *out)
{
    const void *data;
    size_t len;
    la_int64_t at;
    int rc;

    while ((rc = archive_read_data_block(a, &data, &len, &at)) == ARCHIVE_OK) {
        kerf_err err = KERF_OK;

        /* Sparse files have holes, which are zeros. */
        while (err == KERF_OK && (uint64_t)at > sink->len) {
            static const uint8_t zeros[4096];
            uint64_t hole = (uint64_t)at - sink->len;

            err = kerf_sink_write(
                sink, zeros, hole < sizeof zeros ? (size_t)hole : sizeof zeros,
                b->why);
        }
        if (err == KERF_OK)
            err = kerf_sink_write(sink, data, len, b->why);
        if (err != KERF_OK)
            return err;
        err = pack_tell(b->job, name, b->gzip != NULL ? b->at : 0,
                        b->gzip != NULL ? b->map->len : 0, b->why);
        if (err != KERF_OK)
            return err;
    }
    *out += sink->len;
    return rc == ARCHIVE_EOF ? KERF_OK : failed(b, a, name);
}

static kerf_err
unpack_file(struct both *b, struct archive *a, struct archive_entry *e,
            kerf_nest *nest, kerf_pack_result *result)
{
    const char *name = archive_entry_pathname(e);
    kerf_sink sink = KERF_SINK_NONE;
    char path[KERF_PATH_MAX];
    kerf_err err = kerf_nest_path(nest, name, path, b->why);

    if (err == KERF_OK)
        err = kerf_sink_open(&sink, path, true, b->job->most - result->out,
                             b->why);
    if (err == KERF_OK)
        err = unpack_bytes(b, a, &sink, name, &result->out);
    if (err == KERF_OK)
        err = kerf_sink_commit(&sink, archive_entry_mode(e) | 0600,
                               archive_entry_mtime(e), b->why);
    kerf_sink_drop(&sink);
    result->files++;
    return err;
}

static kerf_err
unpack_entry(struct both *b, struct archive *a, struct archive_entry *e,
             kerf_nest *nest, kerf_pack_result *result)
{
    char name[KERF_PATH_MAX], safe[256];
    const char *given = archive_entry_pathname(e);
    size_t len = given != NULL ? strlen(given) : 0;

    if (len == 0 || len >= sizeof name)
        return kerf_fail(b->why, KERF_ECORRUPT,
                         "it holds a name that cannot be read");
    if (archive_entry_hardlink(e) != NULL ||
        (archive_entry_filetype(e) != AE_IFREG &&
         archive_entry_filetype(e) != AE_IFDIR)) {
        return kerf_fail(b->why, KERF_ENOTSUP,
                         "it holds '%s', a link or a device, which kerf does "
                         "not make: nothing was unpacked",
                         kerf_text_safe(safe, sizeof safe, given));
    }
    if (archive_entry_filetype(e) == AE_IFREG)
        return unpack_file(b, a, e, nest, result);
    memcpy(name, given, len + 1); /* folders end with a slash */
    while (len > 1 && name[len - 1] == '/')
        name[--len] = '\0';
    if (strcmp(name, ".") == 0)
        return KERF_OK;
    return kerf_nest_dir(nest, name, b->why);
}

kerf_err
kerf_archive_unpack(const kerf_pack_job *job, const kerf_map *map,
                    kerf_nest *nest, kerf_pack_result *result, kerf_detail *why)
{
    struct both *b = calloc(1, sizeof *b);
    struct archive *a = archive_read_new();
    struct archive_entry *e;
    kerf_err err = KERF_OK;
    int rc;

    if (b == NULL || a == NULL) {
        err = kerf_fail(why, KERF_ENOMEM, "no memory");
        goto out;
    }
    *b = (struct both){.job = job, .map = map, .why = why};
    if (result->format == KERF_PACK_TAR_GZ) {
        err = kerf_stream_unpacker(&b->gzip, KERF_STREAM_GZIP);
        if (err != KERF_OK)
            goto out;
        (void)archive_read_support_format_tar(a);
        rc = archive_read_open(a, b, NULL, read_part, NULL);
    } else {
        (void)archive_read_support_format_zip_seekable(a);
        rc = archive_read_open_memory(a, map->data, map->len);
    }
    while (rc == ARCHIVE_OK && err == KERF_OK &&
           (rc = archive_read_next_header(a, &e)) == ARCHIVE_OK)
        err = unpack_entry(b, a, e, nest, result);
    if (err == KERF_OK && rc != ARCHIVE_EOF)
        err = failed(b, a, "damaged");
    /* What is behind the tar's end is verified, too. */
    while (err == KERF_OK && b->gzip != NULL) {
        const void *rest;
        la_ssize_t n = read_part(a, b, &rest);

        err = b->err;
        if (n <= 0)
            break;
    }
out:
    if (a != NULL)
        (void)archive_read_free(a);
    if (b != NULL)
        kerf_stream_free(b->gzip);
    free(b);
    return err;
}
