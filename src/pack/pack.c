#include "pack/pack_own.h"

#include "codec/kwz.h"
#include "pack/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PART ((size_t)1 << 18)

const char *const kerf_pack_names[KERF_PACK_FORMATS] = {
    "kwz", "gzip", "bz2", "xz", "zip", "tar.gz", "zst"};
const char *const kerf_pack_suffixes[KERF_PACK_FORMATS] = {
    ".kwz", ".gz", ".bz2", ".xz", ".zip", ".tar.gz", ".zst"};

/* The stream of a format that is one; false: an archive or kwz. */
static bool
is_stream(kerf_pack_format format, kerf_stream_kind *kind)
{
    switch (format) {
    case KERF_PACK_GZIP:
        *kind = KERF_STREAM_GZIP;
        return true;
    case KERF_PACK_BZ2:
        *kind = KERF_STREAM_BZ2;
        return true;
    case KERF_PACK_XZ:
        *kind = KERF_STREAM_XZ;
        return true;
    case KERF_PACK_ZST:
        *kind = KERF_STREAM_ZST;
        return true;
    default:
        return false;
    }
}

/* Standard input into a file without a name; its path to path. */
static kerf_err
spool(int *fd, char path[KERF_PATH_MAX], kerf_detail *why)
{
    uint8_t *part = malloc(PART);
    kerf_err err = part != NULL ? kerf_temp_fd(fd, why)
                                : kerf_fail(why, KERF_ENOMEM, "no memory");

    while (err == KERF_OK) {
        ssize_t n = read(STDIN_FILENO, part, PART);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            err =
                kerf_fail(why, KERF_EIO, "standard input: %s", strerror(errno));
        if (n <= 0)
            break;
        err = kerf_write_all(*fd, part, (size_t)n, "the temporary file", why);
    }
    (void)snprintf(path, KERF_PATH_MAX, "/proc/self/fd/%d", *fd);
    free(part);
    return err;
}

/* All of map through the stream into the sink. */
static kerf_err
run_stream(kerf_stream *s, const kerf_pack_job *job, const char *name,
           const kerf_map *map, kerf_sink *sink, kerf_detail *why)
{
    uint8_t *part = malloc(PART);
    kerf_err err =
        part != NULL ? KERF_OK : kerf_fail(why, KERF_ENOMEM, "no memory");
    size_t at = 0;
    bool done = false;

    while (err == KERF_OK && !done) {
        size_t n = map->len - at < PART ? map->len - at : PART;
        kerf_flow flow = {.in = map->data + at,
                          .in_left = n,
                          .is_end = at + n == map->len,
                          .out = part,
                          .out_left = PART};

        err = kerf_stream_run(s, &flow, &done, why);
        if (err == KERF_OK)
            err = kerf_sink_write(sink, part, PART - flow.out_left, why);
        at += n - flow.in_left;
        if (err == KERF_OK)
            err = pack_tell(job, name, at, map->len, why);
    }
    free(part);
    return err;
}

static kerf_err
pack_stream(const kerf_pack_job *job, kerf_stream_kind kind, const char *name,
            const char *path, kerf_sink *sink, uint64_t *in, kerf_detail *why)
{
    kerf_map map = {0};
    kerf_stream *s = NULL;
    kerf_err err = kerf_map_open(&map, path, SIZE_MAX, why);

    if (err != KERF_OK)
        return err;
    *in = map.len;
    err = kerf_stream_packer(&s, kind, job->level, job->threads);
    if (err != KERF_OK)
        err = kerf_fail(why, err, "%s", kerf_err_text(err));
    else
        err = run_stream(s, job, name, &map, sink, why);
    kerf_stream_free(s);
    kerf_map_close(&map);
    return err;
}

/* Where the packed file goes: *to NULL is standard output. */
static kerf_err
name_packed(const kerf_pack_job *job, const char *path, char to[KERF_PATH_MAX],
            kerf_detail *why)
{
    size_t len = strlen(path);
    int n;

    if (job->to != NULL)
        n = snprintf(to, KERF_PATH_MAX, "%s", job->to);
    else if (strcmp(path, "-") == 0)
        n = snprintf(to, KERF_PATH_MAX, "-");
    else {
        while (len > 1 && path[len - 1] == '/')
            len--;
        n = snprintf(to, KERF_PATH_MAX, "%.*s%s", (int)len, path,
                     kerf_pack_suffixes[job->format]);
    }
    if (n < 0 || n >= KERF_PATH_MAX)
        return kerf_fail(why, KERF_ETOOBIG, "%s: the path is too long", path);
    return KERF_OK;
}

static kerf_err
pack_tree(const kerf_pack_job *job, const char *path, bool is_dir,
          kerf_sink *sink, kerf_pack_result *result, kerf_detail *why)
{
    kerf_tree tree = {0};
    kerf_err err = kerf_tree_walk(&tree, path, why);

    if (err == KERF_OK && job->format == KERF_PACK_KWZ)
        err = kerf_kwz_pack_tree(job, &tree, is_dir, sink, why);
    else if (err == KERF_OK)
        err = kerf_archive_pack(job, &tree, sink, why);
    result->in = tree.bytes;
    for (size_t i = 0; i < tree.count; i++)
        result->files += S_ISREG(tree.item[i].mode);
    kerf_tree_fini(&tree);
    return err;
}

kerf_err
kerf_pack(const kerf_pack_job *job, const char *path, kerf_pack_result *result,
          kerf_detail *why)
{
    const char *from = path;
    bool is_dir = kerf_fs_is_dir(path);
    kerf_sink sink = KERF_SINK_NONE;
    char spooled[KERF_PATH_MAX];
    kerf_stream_kind kind = KERF_STREAM_GZIP;
    bool streams = is_stream(job->format, &kind);
    struct stat st = {.st_mode = 0644};
    int fd = -1;
    kerf_err err;

    *result = (kerf_pack_result){.format = job->format};
    if (is_dir && streams) {
        return kerf_fail(why, KERF_EINVAL,
                         "%s is a folder: --format kwz, zip or tar.gz packs "
                         "folders",
                         path);
    }
    err = name_packed(job, path, result->to, why);
    if (err == KERF_OK && strcmp(path, "-") == 0) {
        if (!streams && job->format != KERF_PACK_KWZ)
            return kerf_fail(why, KERF_EINVAL,
                             "%s holds files with names: give a file",
                             kerf_pack_names[job->format]);
        err = spool(&fd, spooled, why);
        from = spooled;
    } else if (err == KERF_OK && stat(path, &st) != 0) {
        err = kerf_fail(why, kerf_err_from_errno(errno), "%s: %s", path,
                        strerror(errno));
    }
    if (err == KERF_OK)
        err = kerf_sink_open(&sink,
                             strcmp(result->to, "-") == 0 ? NULL : result->to,
                             !job->force, UINT64_MAX, why);
    if (err == KERF_OK && streams) {
        result->files = 1;
        err = pack_stream(job, kind, path, from, &sink, &result->in, why);
    } else if (err == KERF_OK) {
        err = pack_tree(job, from, is_dir, &sink, result, why);
    }
    result->out = sink.len;
    if (err == KERF_OK)
        err = kerf_sink_commit(&sink, is_dir ? 0644 : st.st_mode, 0, why);
    kerf_sink_drop(&sink);
    if (fd >= 0)
        (void)close(fd);
    return err;
}

/* ---- unpacking -------------------------------------------------------- */

static bool
begins(const kerf_map *map, const char *magic, size_t len)
{
    return map->len >= len && memcmp(map->data, magic, len) == 0;
}

/* A gzip is that of a tar when its name says so. */
static kerf_err
tell_format(const kerf_map *map, const char *path, kerf_pack_format *format,
            kerf_detail *why)
{
    if (begins(map, "KWZ", 3))
        *format = KERF_PACK_KWZ;
    else if (begins(map, "\x1f\x8b", 2)) {
        *format =
            kerf_path_ends(path, ".tar.gz") || kerf_path_ends(path, ".tgz")
                ? KERF_PACK_TAR_GZ
                : KERF_PACK_GZIP;
    } else if (begins(map, "BZh", 3)) {
        *format = KERF_PACK_BZ2;
    } else if (begins(map,
                      "\xfd"
                      "7zXZ\0",
                      6)) {
        *format = KERF_PACK_XZ;
    } else if (begins(map, "PK\3\4", 4) || begins(map, "PK\5\6", 4)) {
        *format = KERF_PACK_ZIP;
    } else if (begins(map, "\x28\xb5\x2f\xfd", 4)) {
        *format = KERF_PACK_ZST;
    } else {
        return kerf_fail(why, KERF_ENOTSUP,
                         "it is none of kwz, gzip, bz2, xz, zip, tar.gz, zst");
    }
    return KERF_OK;
}

void
kerf_pack_name_dir(const kerf_pack_job *job, const char *path,
                   char dir[KERF_PATH_MAX])
{
    size_t len = (size_t)(kerf_path_base(path) - path);

    if (job->to != NULL)
        (void)snprintf(dir, KERF_PATH_MAX, "%s", job->to);
    else if (len == 0)
        (void)snprintf(dir, KERF_PATH_MAX, ".");
    else
        (void)snprintf(dir, KERF_PATH_MAX, "%.*s", (int)len, path);
}

/* The name without its last suffix, in the folder that it goes to. */
static kerf_err
name_unpacked(const kerf_pack_job *job, const char *path,
              kerf_pack_format format, char to[KERF_PATH_MAX], kerf_detail *why)
{
    const char *base = kerf_path_base(path);
    const char *suffix = kerf_pack_suffixes[format];
    char name[KERF_PATH_MAX], dir[KERF_PATH_MAX];
    kerf_err err;

    if ((job->to != NULL && strcmp(job->to, "-") == 0) ||
        (job->to == NULL && strcmp(path, "-") == 0)) {
        memcpy(to, "-", 2);
        return KERF_OK;
    }
    if (!kerf_path_ends(base, suffix) || strlen(base) == strlen(suffix)) {
        return kerf_fail(why, KERF_EINVAL,
                         "%s is %s, and does not end with %s: --out - writes "
                         "it to standard output",
                         path, kerf_pack_names[format], suffix);
    }
    (void)snprintf(name, sizeof name, "%.*s",
                   (int)(strlen(base) - strlen(suffix)), base);
    kerf_pack_name_dir(job, path, dir);
    if (job->to != NULL) {
        err = kerf_fs_mkdirs(dir, why);
        if (err != KERF_OK)
            return err;
    }
    if (job->to == NULL && strcmp(dir, ".") == 0)
        dir[0] = '\0';
    err = dir[0] != '\0' ? kerf_path_join(to, dir, name) : KERF_OK;
    if (dir[0] == '\0')
        memcpy(to, name, sizeof name);
    if (err != KERF_OK)
        return kerf_fail(why, err, "%s: the path is too long", path);
    return KERF_OK;
}

static kerf_err
unpack_archive(const kerf_pack_job *job, const char *path, const kerf_map *map,
               kerf_pack_result *result, kerf_detail *why)
{
    kerf_nest nest = {.temp = ""};
    kerf_err err;

    if (job->to != NULL && strcmp(job->to, "-") == 0)
        return kerf_fail(why, KERF_EINVAL,
                         "%s holds files with names: --out DIR",
                         kerf_pack_names[result->format]);
    kerf_pack_name_dir(job, path, result->to);
    err = kerf_nest_open(&nest, result->to, job->force, why);
    if (err == KERF_OK)
        err = kerf_archive_unpack(job, map, &nest, result, why);
    if (err == KERF_OK)
        err = kerf_nest_commit(&nest, why);
    kerf_nest_drop(&nest);
    return err;
}

/* One file without a name, of a stream or a kwz. */
static kerf_err
unpack_one(const kerf_pack_job *job, const char *path, const kerf_map *map,
           kerf_pack_result *result, kerf_detail *why)
{
    kerf_sink sink = KERF_SINK_NONE;
    kerf_nest nest = {.temp = ""};
    kerf_stream_kind kind = KERF_STREAM_GZIP;
    kerf_stream *s = NULL;
    bool is_kwz = !is_stream(result->format, &kind);
    kerf_err err = name_unpacked(job, path, result->format, result->to, why);

    if (err == KERF_OK)
        err = kerf_sink_open(&sink,
                             strcmp(result->to, "-") == 0 ? NULL : result->to,
                             !job->force, job->most, why);
    if (err == KERF_OK && is_kwz) {
        err = kerf_kwz_unpack_map(job, map, &sink, &nest, result, why);
    } else if (err == KERF_OK) {
        result->files = 1;
        err = kerf_stream_unpacker(&s, kind);
        if (err == KERF_OK)
            err = run_stream(s, job, path, map, &sink, why);
        result->out = sink.len;
    }
    if (err == KERF_OK)
        err = kerf_sink_commit(&sink, 0644, 0, why);
    kerf_stream_free(s);
    kerf_sink_drop(&sink);
    return err;
}

/* A kwz of files with names. */
static kerf_err
unpack_named(const kerf_pack_job *job, const char *path, const kerf_map *map,
             kerf_pack_result *result, kerf_detail *why)
{
    kerf_sink sink = KERF_SINK_NONE;
    kerf_nest nest = {.temp = ""};
    kerf_err err;

    if (job->to != NULL && strcmp(job->to, "-") == 0)
        return kerf_fail(why, KERF_EINVAL,
                         "it holds files with names: --out "
                         "DIR");
    kerf_pack_name_dir(job, path, result->to);
    memcpy(nest.dir, result->to, sizeof nest.dir);
    err = kerf_kwz_unpack_map(job, map, &sink, &nest, result, why);
    if (err == KERF_OK && nest.temp[0] != '\0')
        err = kerf_nest_commit(&nest, why);
    kerf_sink_drop(&sink);
    kerf_nest_drop(&nest);
    return err;
}

kerf_err
kerf_unpack(const kerf_pack_job *job, const char *path,
            kerf_pack_result *result, kerf_detail *why)
{
    const char *from = path;
    char spooled[KERF_PATH_MAX];
    kerf_map map = {0};
    int fd = -1;
    kerf_err err = KERF_OK;

    *result = (kerf_pack_result){0};
    if (strcmp(path, "-") == 0) {
        err = spool(&fd, spooled, why);
        from = spooled;
    }
    if (err == KERF_OK)
        err = kerf_map_open(&map, from, SIZE_MAX, why);
    if (err == KERF_OK) {
        result->in = map.len;
        err = tell_format(&map, path, &result->format, why);
        if (err == KERF_OK && (result->format == KERF_PACK_ZIP ||
                               result->format == KERF_PACK_TAR_GZ))
            err = unpack_archive(job, path, &map, result, why);
        else if (err == KERF_OK && result->format == KERF_PACK_KWZ &&
                 kerf_kwz_is_named(map.data, map.len))
            err = unpack_named(job, path, &map, result, why);
        else if (err == KERF_OK)
            err = unpack_one(job, path, &map, result, why);
        if (err != KERF_OK)
            err = kerf_fail_in(why, err, "%s", path);
    }
    kerf_map_close(&map);
    if (fd >= 0)
        (void)close(fd);
    return err;
}
