#include "model/bundle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/text.h"

enum {
    FOLDER_MOST = 65536 /* files looked at in a folder of models */
};

/* All files that a pair may have, in the order of their roles. */
static const struct kind {
    kerf_role role;
    kerf_format format;
} kinds[] = {
    {KERF_ROLE_CARD, KERF_FORMAT_PADDLE},
    {KERF_ROLE_HEAD_GRAPH, KERF_FORMAT_PADDLE},
    {KERF_ROLE_HEAD_WEIGHTS, KERF_FORMAT_PADDLE},
    {KERF_ROLE_HEAD_GRAPH, KERF_FORMAT_ONNX},
    {KERF_ROLE_TAIL_GRAPH, KERF_FORMAT_PADDLE},
    {KERF_ROLE_TAIL_WEIGHTS, KERF_FORMAT_PADDLE},
    {KERF_ROLE_TAIL_GRAPH, KERF_FORMAT_ONNX},
};

enum { KIND_COUNT = sizeof kinds / sizeof *kinds };

#define SIG_END ".kerf.sig.json"

void
kerf_pair_sig_file(char out[KERF_PART_NAME], const char *name)
{
    (void)snprintf(out, KERF_PART_NAME, "%s" SIG_END, name);
}

void
kerf_pair_drop(kerf_pair *pair, kerf_role role)
{
    free(pair->data[role]);
    pair->data[role] = NULL;
    pair->len[role] = 0;
}

void
kerf_pair_fini(kerf_pair *pair)
{
    for (int i = 0; i < KERF_ROLE_COUNT; i++)
        kerf_pair_drop(pair, (kerf_role)i);
    if (pair->has_card)
        kerf_card_fini(&pair->card);
    kerf_manifest_fini(&pair->manifest);
    *pair = (kerf_pair){0};
}

kerf_model_bytes
kerf_pair_bytes(const kerf_pair *pair, bool head)
{
    kerf_role graph = head ? KERF_ROLE_HEAD_GRAPH : KERF_ROLE_TAIL_GRAPH;
    kerf_role weights = head ? KERF_ROLE_HEAD_WEIGHTS : KERF_ROLE_TAIL_WEIGHTS;
    bool some = pair->len[weights] > 0; /* an empty file: no weights */

    return (kerf_model_bytes){
        .format = pair->manifest.format,
        .graph = pair->data[graph],
        .graph_len = pair->len[graph],
        .weights = some ? pair->data[weights] : NULL,
        .weights_len = pair->len[weights],
    };
}

/* NAME of client_infer_NAME.EXT and server_infer_NAME.EXT into out. */
static bool
model_of(char out[KERF_NAME_MAX], const char *file)
{
    static const char *const starts[] = {"client_infer_", "server_infer_"};
    static const char *const ends[] = {".pdmodel", ".pdiparams", ".onnx"};
    size_t len = strlen(file);

    for (size_t s = 0; s < 2; s++) {
        size_t start = strlen(starts[s]);

        if (strncmp(file, starts[s], start) != 0)
            continue;
        for (size_t e = 0; e < 3; e++) {
            size_t end = strlen(ends[e]);

            if (len <= start + end || len - start - end >= KERF_NAME_MAX ||
                !kerf_path_ends(file, ends[e]))
                continue;
            memcpy(out, file + start, len - start - end);
            out[len - start - end] = '\0';
            return kerf_text_is_name(out);
        }
    }
    return false;
}

bool
kerf_pair_has_name(const char *file)
{
    char name[KERF_NAME_MAX];

    return kerf_path_ends(file, ".kerf.json") ||
           kerf_path_ends(file, SIG_END) || model_of(name, file);
}

static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

kerf_err
kerf_pair_names(const char *dir, kerf_names *out, kerf_detail *why)
{
    kerf_names files = {0};
    kerf_names names;
    size_t kept = 0;
    kerf_err err = kerf_fs_list(dir, FOLDER_MOST, &files, why);

    if (err != KERF_OK)
        return err;
    /* In place: each file name gives way to the model's, or goes. */
    for (size_t i = 0; i < files.count; i++) {
        char name[KERF_NAME_MAX];

        if (model_of(name, files.name[i])) {
            memcpy(files.name[i], name, strlen(name) + 1);
        } else {
            files.name[i][0] = '\0';
        }
    }
    names = files;
    if (names.count > 1)
        qsort(names.name, names.count, sizeof *names.name, compare_names);
    for (size_t i = 0; i < names.count; i++) {
        char *name = names.name[i];

        if (name[0] == '\0' ||
            (kept > 0 && strcmp(names.name[kept - 1], name) == 0))
            free(name);
        else
            names.name[kept++] = name;
    }
    names.count = kept;
    if (kept > KERF_MODELS_MAX) {
        kerf_names_free(&names);
        return kerf_fail(why, KERF_ETOOBIG, "%s: %zu models, the limit is %d",
                         dir, kept, KERF_MODELS_MAX);
    }
    *out = names;
    return KERF_OK;
}

/* Adds a file to the stamp, if it is there. Returns its mtime. */
static int64_t
add_stamp(kerf_wr *w, size_t kind, const char *dir, const char *file)
{
    char path[KERF_PATH_MAX];
    struct stat st;
    int64_t mtime;

    if (kerf_path_join(path, dir, file) != KERF_OK || stat(path, &st) != 0)
        return INT64_MIN;
    mtime = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    kerf_wr_u64(w, kind);
    kerf_wr_u64(w, (uint64_t)st.st_size);
    kerf_wr_u64(w, (uint64_t)mtime);
    kerf_wr_u64(w, (uint64_t)st.st_ino);
    return mtime;
}

uint64_t
kerf_pair_stamp(const char *dir, const char *name, int64_t *newest_ns)
{
    uint8_t bytes[(KIND_COUNT + 1) * 32];
    kerf_wr w = {.at = bytes, .left = sizeof bytes};
    char file[KERF_PART_NAME];
    int64_t newest = INT64_MIN;
    bool any = false;
    uint64_t stamp;

    for (size_t i = 0; i < KIND_COUNT; i++) {
        int64_t mtime;

        if (!kerf_role_file(file, kinds[i].role, kinds[i].format, name))
            continue;
        mtime = add_stamp(&w, i, dir, file);
        any = any || (mtime != INT64_MIN && kinds[i].role != KERF_ROLE_CARD);
        newest = mtime > newest ? mtime : newest;
    }
    *newest_ns = any ? newest : 0;
    if (!any)
        return 0;
    kerf_pair_sig_file(file, name);
    (void)add_stamp(&w, KIND_COUNT, dir, file);
    stamp = kerf_xxh3(bytes, (size_t)(w.at - bytes));
    return stamp == 0 ? 1 : stamp;
}

static bool
file_is_there(const char *dir, const char *name, kerf_role role,
              kerf_format format)
{
    char file[KERF_PART_NAME];
    char path[KERF_PATH_MAX];

    return kerf_role_file(file, role, format, name) &&
           kerf_path_join(path, dir, file) == KERF_OK && kerf_fs_exists(path);
}

/* Which format both halves have; a missing half is not this check's matter. */
static kerf_err
find_format(kerf_format *format, const char *dir, const char *name,
            kerf_detail *why)
{
    bool head_pd =
        file_is_there(dir, name, KERF_ROLE_HEAD_GRAPH, KERF_FORMAT_PADDLE);
    bool head_onnx =
        file_is_there(dir, name, KERF_ROLE_HEAD_GRAPH, KERF_FORMAT_ONNX);
    bool tail_pd =
        file_is_there(dir, name, KERF_ROLE_TAIL_GRAPH, KERF_FORMAT_PADDLE);
    bool tail_onnx =
        file_is_there(dir, name, KERF_ROLE_TAIL_GRAPH, KERF_FORMAT_ONNX);
    const char *both = head_pd && head_onnx   ? "client"
                       : tail_pd && tail_onnx ? "server"
                                              : NULL;

    if (both != NULL) {
        return kerf_fail(why, KERF_EMISMATCH,
                         "%s: both %s_infer_%s.pdmodel and .onnx in %s: remove "
                         "one",
                         name, both, name, dir);
    }
    if ((head_pd && tail_onnx) || (head_onnx && tail_pd)) {
        return kerf_fail(why, KERF_EMISMATCH,
                         "%s: head and tail in %s are of different formats "
                         "(.pdmodel and .onnx)",
                         name, dir);
    }
    if (!head_pd && !head_onnx && !tail_pd && !tail_onnx) {
        return kerf_fail(why, KERF_ENOENT,
                         "%s: waiting for client_infer_%s.pdmodel or .onnx "
                         "in %s",
                         name, name, dir);
    }
    *format = head_onnx || tail_onnx ? KERF_FORMAT_ONNX : KERF_FORMAT_PADDLE;
    return KERF_OK;
}

static kerf_err
read_part(kerf_pair *pair, kerf_sha256 *hash, kerf_role role, const char *dir,
          kerf_detail *why)
{
    kerf_manifest *m = &pair->manifest;
    kerf_file *f = &m->file[m->file_count];
    size_t most =
        role == KERF_ROLE_CARD ? KERF_CARD_BYTES_MAX : KERF_MODEL_BYTES_MAX;
    char path[KERF_PATH_MAX];
    kerf_err err;

    if (!kerf_role_file(f->name, role, m->format, m->name))
        return KERF_OK;
    if (kerf_path_join(path, dir, f->name) != KERF_OK)
        return kerf_fail(why, KERF_EINVAL, "%s: path too long", dir);
    err = kerf_fs_read(path, most, &pair->data[role], &pair->len[role], why);
    if (err == KERF_ENOENT && role == KERF_ROLE_CARD) {
        if (why != NULL) /* nothing is wrong: a card is optional */
            why->text[0] = '\0';
        return KERF_OK;
    }
    if (err == KERF_ENOENT)
        return kerf_fail(why, KERF_ENOENT, "%s: waiting for %s in %s", m->name,
                         f->name, dir);
    if (err != KERF_OK)
        return err;
    f->role = role;
    f->size = pair->len[role];
    kerf_sha256_add(hash, pair->data[role], pair->len[role]);
    kerf_sha256_end(hash, f->sha256);
    m->file_count++;
    return KERF_OK;
}

kerf_err
kerf_pair_card(kerf_pair *pair, kerf_detail *why)
{
    kerf_err err;

    kerf_card_init(&pair->card);
    if (pair->data[KERF_ROLE_CARD] == NULL)
        return KERF_OK;
    err = kerf_card_parse(&pair->card, pair->data[KERF_ROLE_CARD],
                          pair->len[KERF_ROLE_CARD], why);
    if (err != KERF_OK)
        return kerf_fail_in(why, err, "%s.kerf.json", pair->manifest.name);
    pair->has_card = true;
    return KERF_OK;
}

static kerf_err
read_parts(kerf_pair *pair, const char *dir, kerf_detail *why)
{
    kerf_sha256 *hash = NULL;
    kerf_err err = kerf_sha256_new(&hash);

    for (int i = 0; i < KERF_ROLE_COUNT && err == KERF_OK; i++)
        err = read_part(pair, hash, (kerf_role)i, dir, why);
    kerf_sha256_free(hash);
    return err;
}

kerf_err
kerf_pair_sig_read(kerf_signed *sig, kerf_statement *says, const char *dir,
                   const char *name, kerf_detail *why)
{
    char file[KERF_PART_NAME];
    char path[KERF_PATH_MAX];
    uint8_t *json = NULL;
    size_t len = 0;
    kerf_err err;

    kerf_pair_sig_file(file, name);
    if (kerf_path_join(path, dir, file) != KERF_OK)
        return kerf_fail(why, KERF_EINVAL, "%s: path too long", dir);
    err = kerf_fs_read(path, KERF_SIG_FILE_MAX, &json, &len, why);
    if (err != KERF_OK)
        return err;
    err = kerf_signed_parse(sig, says, json, len, why);
    free(json);
    return err == KERF_OK ? err : kerf_fail_in(why, err, "%s", path);
}

/* The signature beside it, as bytes; whether it fits shows when it is sealed.
 */
static void
read_sig(kerf_pair *pair, const char *dir)
{
    kerf_manifest *m = &pair->manifest;

    if (kerf_pair_sig_read(&m->sig, &pair->says, dir, m->name,
                           &pair->sig_why) == KERF_ENOENT)
        pair->sig_why.text[0] = '\0';
}

/* One that is of other files is not sent: no edge would take it. */
static void
check_sig(kerf_pair *pair)
{
    kerf_manifest *m = &pair->manifest;

    if (m->sig.len == 0)
        return;
    if (strcmp(pair->says.model, m->name) != 0) {
        (void)kerf_fail(&pair->sig_why, KERF_EMISMATCH,
                        "%s" SIG_END " is of model %s: sign this one (kerf "
                        "sign)",
                        m->name, pair->says.model);
    } else if (memcmp(pair->says.bundle, m->id, sizeof m->id) != 0) {
        (void)kerf_fail(&pair->sig_why, KERF_EMISMATCH,
                        "the pair changed since it was signed, as version "
                        "%lld: sign it again (kerf sign)",
                        (long long)pair->says.version);
    } else {
        return;
    }
    m->sig = (kerf_signed){0};
    pair->says = (kerf_statement){0};
}

kerf_err
kerf_pair_read(kerf_pair *pair, const char *dir, const char *name,
               kerf_detail *why)
{
    kerf_pair new = {0};
    kerf_manifest *m = &new.manifest;
    int64_t newest = 0;
    uint64_t stamp = kerf_pair_stamp(dir, name, &newest);
    kerf_err err;

    if (!kerf_text_is_name(name) || strlen(name) >= sizeof m->name) {
        char safe[KERF_NAME_MAX];

        return kerf_fail(why, KERF_EINVAL, "not a model name: \"%s\"",
                         kerf_text_safe(safe, sizeof safe, name));
    }
    (void)snprintf(m->name, sizeof m->name, "%s", name);
    m->probe_tolerance = KERF_PROBE_TOLERANCE;
    err = find_format(&m->format, dir, name, why);
    if (err != KERF_OK)
        goto out;
    err = read_parts(&new, dir, why);
    if (err != KERF_OK)
        goto out;
    read_sig(&new, dir);
    /* A half-copied pair must not go out as a bundle of its own. */
    if (kerf_pair_stamp(dir, name, &newest) != stamp) {
        err = kerf_fail(why, KERF_EAGAIN, "%s: its files changed while read",
                        name);
        goto out;
    }
    err = kerf_pair_card(&new, why);
    if (err != KERF_OK)
        goto out;
    err = kerf_manifest_seal(m);
    if (err != KERF_OK)
        goto out;
    check_sig(&new);
    *pair = new;
    new = (kerf_pair){0};
out:
    kerf_pair_fini(&new);
    return err;
}
