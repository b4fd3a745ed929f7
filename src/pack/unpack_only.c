/* One file or tensor out of a .kwz. */
#include "pack/look.h"
#include "pack/pack_own.h"

#include "base/text.h"

#include <stdio.h>
#include <string.h>

struct part {
    const kerf_pack_job *job;
    kerf_sink sink;
    uint64_t len;
};

static kerf_err
write_sink(void *ctx, const void *data, size_t len, kerf_detail *why)
{
    struct part *p = ctx;
    kerf_err err = kerf_sink_write(&p->sink, data, len, why);

    return err == KERF_OK
               ? pack_tell(p->job, p->sink.path, p->sink.len, p->len, why)
               : err;
}

/* The name that it gets: the last part of that in the container, or else the
 * container's own without its suffix; and the tensor's number. */
static kerf_err
name_out(const char *path, const kerf_look *look, size_t file,
         const kerf_unpack_one *one, size_t tensor, char name[KERF_PATH_MAX],
         kerf_detail *why)
{
    const char *suffix = kerf_pack_suffixes[KERF_PACK_KWZ];
    const char *of = look->index.file[file].name;
    char safe[256];
    int len, n;

    if (of == NULL) {
        of = strcmp(path, "-") != 0 ? kerf_path_base(path) : "";
        len = (int)strlen(of);
        if (kerf_path_ends(of, suffix))
            len -= (int)strlen(suffix);
        else if (one->tensor == NULL)
            len = 0;
    } else {
        of = kerf_path_base(of);
        len = (int)strlen(of);
    }
    if (len == 0 || strcmp(of, ".") == 0 || strcmp(of, "..") == 0) {
        return kerf_fail(why, KERF_EINVAL,
                         "it has no name to take ('%s'): --out - writes it to "
                         "standard output",
                         kerf_text_safe(safe, sizeof safe, of));
    }
    n = one->tensor == NULL
            ? snprintf(name, KERF_PATH_MAX, "%.*s", len, of)
            : snprintf(name, KERF_PATH_MAX, "%.*s.%zu.raw", len, of, tensor);
    return n < KERF_PATH_MAX
               ? KERF_OK
               : kerf_fail(why, KERF_ETOOBIG, "the path is too long");
}

/* Where to, in full; its folder is made if --out names one. */
static kerf_err
path_out(const kerf_pack_job *job, const char *path, const char *name,
         char to[KERF_PATH_MAX], kerf_detail *why)
{
    char dir[KERF_PATH_MAX];
    kerf_err err = KERF_OK;

    kerf_pack_name_dir(job, path, dir);
    if (job->to != NULL)
        err = kerf_fs_mkdirs(dir, why);
    if (err != KERF_OK)
        return err;
    if (job->to == NULL && strcmp(dir, ".") == 0)
        memcpy(to, name, strlen(name) + 1);
    else if (kerf_path_join(to, dir, name) != KERF_OK)
        return kerf_fail(why, KERF_ETOOBIG, "the path is too long");
    return KERF_OK;
}

static kerf_err
unpack_one(const kerf_pack_job *job, const kerf_unpack_one *one,
           const char *path, const kerf_look *look, kerf_pack_result *result,
           kerf_detail *why)
{
    bool to_out = strcmp(job->to != NULL ? job->to : path, "-") == 0;
    struct part part = {.job = job, .sink = KERF_SINK_NONE};
    const kerf_kwz_entry *e;
    char name[KERF_PATH_MAX];
    uint64_t offset = 0;
    size_t file = 0;
    size_t tensor = 0;
    kerf_err err = kerf_look_file(look, one->only, &file, why);

    if (err != KERF_OK)
        return err;
    e = &look->index.file[file];
    result->out = e->len;
    if (one->tensor != NULL) {
        err = kerf_look_tensor(look, file, one->tensor, &tensor, why);
        if (err != KERF_OK)
            return err;
        offset = e->segment[tensor].offset;
        result->out = e->segment[tensor].len;
    }
    memcpy(result->to, "-", 2);
    if (!to_out) {
        err = name_out(path, look, file, one, tensor, name, why);
        if (err == KERF_OK)
            err = path_out(job, path, name, result->to, why);
    }
    if (err == KERF_OK)
        err = kerf_sink_open(&part.sink, to_out ? NULL : result->to,
                             !job->force, job->most, why);
    part.len = result->out;
    if (err == KERF_OK)
        err = kerf_look_read(look, file, offset, result->out, write_sink, &part,
                             why);
    if (err == KERF_OK)
        err = kerf_sink_commit(&part.sink, 0644, 0, why);
    kerf_sink_drop(&part.sink);
    return err;
}

kerf_err
kerf_unpack_only(const kerf_pack_job *job, const kerf_unpack_one *one,
                 const char *path, kerf_pack_result *result, kerf_detail *why)
{
    kerf_look look = {0};
    kerf_err err = kerf_look_open(&look, path, why);

    *result = (kerf_pack_result){.format = KERF_PACK_KWZ, .files = 1};
    if (err != KERF_OK)
        return err;
    err = unpack_one(job, one, path, &look, result, why);
    kerf_look_close(&look);
    return err == KERF_OK ? err : kerf_fail_in(why, err, "%s", path);
}
