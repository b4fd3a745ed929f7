#include "pack/look.h"

#include "base/fs.h"
#include "base/text.h"
#include "graph/pdmodel.h"
#include "graph/weights.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAM_MOST ((uint64_t)256 << 20) /* bytes of a .pdmodel */

/* ---- without an index ------------------------------------------------- */

/* The tensors of a file that is one block, from its bytes. */
static kerf_err
find_tensors(kerf_look *look, kerf_kwz_entry *e, kerf_detail *why)
{
    uint8_t *plain = malloc(e->place->len + 1);
    kerf_err err =
        plain != NULL ? KERF_OK : kerf_fail(why, KERF_ENOMEM, "no memory");

    if (err == KERF_OK)
        err = kerf_kwz_range(&look->index, 0, look->map.data, look->map.len,
                             look->coder, 0, e->place->len, plain, why);
    if (err == KERF_OK) {
        err = kerf_weights_find(plain, e->place->len, &e->segment,
                                &e->segment_count);
        if (err != KERF_OK)
            err = kerf_fail(why, err, "no memory");
    }
    free(plain);
    return err;
}

/* The index that a container of one block does not have. */
static kerf_err
make_index(kerf_look *look, kerf_detail *why)
{
    kerf_kwz_reader *kr = NULL;
    kerf_rd r = {.at = look->map.data, .left = look->map.len};
    kerf_kwz_record record;
    kerf_kwz_entry *e;
    size_t need = 0;
    kerf_err err = kerf_kwz_reader_new(&kr);

    if (err != KERF_OK)
        return kerf_fail(why, err, "no memory");
    err = kerf_kwz_next(kr, &r, &record, &need, why);
    if (err == KERF_EAGAIN || (err == KERF_OK && !kerf_kwz_is_whole(kr)))
        err = kerf_fail(why, KERF_ECORRUPT, "it is cut short");
    if (err == KERF_OK && r.left > 0)
        err = kerf_fail(why, KERF_ECORRUPT, "bytes behind the end");
    kerf_kwz_reader_free(kr);
    if (err != KERF_OK)
        return err;
    e = calloc(1, sizeof *e);
    if (e == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory");
    look->index = (kerf_kwz_index){.file = e, .file_count = 1};
    e->place = calloc(1, sizeof *e->place);
    if (e->place == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory");
    e->place_count = 1;
    e->len = record.block.len;
    *e->place =
        (kerf_kwz_place){.at = KERF_KWZ_HEAD_LEN, .len = record.block.len};
    return find_tensors(look, e, why);
}

/* ---- names of tensors ------------------------------------------------- */

struct buffer {
    uint8_t *data;
    size_t len;
};

static kerf_err
append(void *ctx, const void *data, size_t len, kerf_detail *why)
{
    struct buffer *b = ctx;

    (void)why;
    memcpy(b->data + b->len, data, len);
    b->len += len;
    return KERF_OK;
}

/* The names in a program, in the order of the .pdiparams; NULL: they are not
 * to be had, or not as many. */
static char **
program_names(const kerf_look *look, size_t program, size_t count)
{
    uint64_t len = look->index.file[program].len;
    struct buffer b = {0};
    kerf_pdmodel p = {0};
    kerf_detail why;
    char **names = NULL;

    if (len > PROGRAM_MOST)
        return NULL;
    b.data = malloc((size_t)len + 1);
    if (b.data != NULL &&
        kerf_look_read(look, program, 0, len, append, &b, &why) == KERF_OK &&
        kerf_pdmodel_open(&p, b.data, b.len, &why) == KERF_OK) {
        if (p.param_count == count)
            names = calloc(count + 1, sizeof *names);
        for (size_t i = 0; names != NULL && i < count; i++)
            names[i] = strndup(p.param[i].name.at, p.param[i].name.len);
        kerf_pdmodel_close(&p);
    }
    free(b.data);
    return names;
}

static kerf_err
find_names(kerf_look *look, kerf_detail *why)
{
    static const char weights[] = ".pdiparams";
    static const char program[] = ".pdmodel";
    const kerf_kwz_index *x = &look->index;

    look->names = calloc(x->file_count + 1, sizeof *look->names);
    if (look->names == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory");
    for (size_t i = 0; i < x->file_count; i++) {
        const char *name = x->file[i].name;
        size_t stem;

        if (name == NULL || !kerf_path_ends(name, weights))
            continue;
        stem = strlen(name) - strlen(weights);
        for (size_t k = 0; k < x->file_count; k++) {
            const char *other = x->file[k].name;

            if (other != NULL && strncmp(other, name, stem) == 0 &&
                strcmp(other + stem, program) == 0)
                look->names[i] =
                    program_names(look, k, x->file[i].segment_count);
        }
    }
    return KERF_OK;
}

static void
free_names(kerf_look *look)
{
    for (size_t i = 0; look->names != NULL && i < look->index.file_count; i++) {
        size_t count = look->index.file[i].segment_count;

        for (size_t k = 0; look->names[i] != NULL && k < count; k++)
            free(look->names[i][k]);
        free(look->names[i]);
    }
    free(look->names);
    look->names = NULL;
}

/* ---- what is shown ---------------------------------------------------- */

kerf_err
kerf_look_open(kerf_look *look, const char *path, kerf_detail *why)
{
    kerf_look l = {0};
    kerf_err err = kerf_map_open(&l.map, path, SIZE_MAX, why);

    if (err != KERF_OK)
        return err;
    if (l.map.len < KERF_KWZ_HEAD_LEN ||
        memcmp(l.map.data, KERF_KWZ_MAGIC, 3) != 0) {
        err =
            kerf_fail(why, KERF_ENOTSUP,
                      "%s is not a .kwz: only these can be looked into", path);
        goto fail;
    }
    err = kerf_block_coder_new(&l.coder);
    if (err != KERF_OK) {
        err = kerf_fail(why, err, "no memory");
        goto fail;
    }
    err = kerf_kwz_index_read(&l.index, l.map.data, l.map.len, why);
    if (err == KERF_ENOENT)
        err = make_index(&l, why);
    if (err == KERF_OK)
        err = find_names(&l, why);
    if (err != KERF_OK) {
        err = kerf_fail_in(why, err, "%s", path);
        goto fail;
    }
    *look = l;
    return KERF_OK;
fail:
    kerf_look_close(&l);
    return err;
}

void
kerf_look_close(kerf_look *look)
{
    free_names(look);
    kerf_kwz_index_fini(&look->index);
    kerf_block_coder_free(look->coder);
    kerf_map_close(&look->map);
    *look = (kerf_look){0};
}

kerf_err
kerf_look_file(const kerf_look *look, const char *name, size_t *file,
               kerf_detail *why)
{
    char safe[256];

    if (name == NULL && look->index.file_count == 1) {
        *file = 0;
        return KERF_OK;
    }
    if (name == NULL) {
        return kerf_fail(why, KERF_EINVAL,
                         "it holds %zu files: --only NAME says which, --list "
                         "shows them",
                         look->index.file_count);
    }
    for (size_t i = 0; i < look->index.file_count; i++) {
        const char *have = look->index.file[i].name;

        if (have != NULL && strcmp(have, name) == 0) {
            *file = i;
            return KERF_OK;
        }
    }
    return kerf_fail(why, KERF_ENOENT,
                     "it holds no file '%s': --list shows what it holds",
                     kerf_text_safe(safe, sizeof safe, name));
}

const char *
kerf_look_tensor_name(const kerf_look *look, size_t file, size_t tensor)
{
    return look->names[file] != NULL ? look->names[file][tensor] : NULL;
}

kerf_err
kerf_look_tensor(const kerf_look *look, size_t file, const char *name,
                 size_t *tensor, kerf_detail *why)
{
    const kerf_kwz_entry *e = &look->index.file[file];
    unsigned long long number;
    char safe[256];
    char *end = NULL;

    for (size_t i = 0; i < e->segment_count; i++) {
        const char *have = kerf_look_tensor_name(look, file, i);

        if (have != NULL && strcmp(have, name) == 0) {
            *tensor = i;
            return KERF_OK;
        }
    }
    errno = 0;
    number = strtoull(name, &end, 10);
    if (name[0] >= '0' && name[0] <= '9' && *end == '\0' && errno == 0 &&
        number < e->segment_count) {
        *tensor = (size_t)number;
        return KERF_OK;
    }
    return kerf_fail(why, KERF_ENOENT,
                     "it has no tensor '%s', but %zu others: --list shows "
                     "them",
                     kerf_text_safe(safe, sizeof safe, name), e->segment_count);
}

kerf_err
kerf_look_read(const kerf_look *look, size_t file, uint64_t offset,
               uint64_t len, kerf_look_write *write, void *ctx,
               kerf_detail *why)
{
    uint8_t *part = malloc(KERF_BLOCK_MOST);
    kerf_err err =
        part != NULL ? KERF_OK : kerf_fail(why, KERF_ENOMEM, "no memory");

    while (err == KERF_OK && len > 0) {
        size_t n = len < KERF_BLOCK_MOST ? (size_t)len : KERF_BLOCK_MOST;

        /* Up to where a block ends, so that none is decoded twice. */
        n = kerf_kwz_reach(&look->index, file, offset, n);
        err = kerf_kwz_range(&look->index, file, look->map.data, look->map.len,
                             look->coder, offset, n, part, why);
        if (err == KERF_OK)
            err = write(ctx, part, n, why);
        offset += n;
        len -= n;
    }
    free(part);
    return err;
}
