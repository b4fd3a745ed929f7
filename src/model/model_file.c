#include "model/model_file.h"

#include "base/text.h"
#include "graph/pir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILES_MAX 65536

static const struct {
    const char *ending;
    const char *weights;
    kerf_format format;
} kinds[] = {
    {".pdmodel", ".pdiparams", KERF_FORMAT_PADDLE},
    {".onnx", NULL, KERF_FORMAT_ONNX},
    {".xml", ".bin", KERF_FORMAT_IR},
    {".json", ".pdiparams", KERF_FORMAT_PADDLE}, /* translated when read */
};
#define KIND_COUNT (sizeof kinds / sizeof *kinds)
#define KIND_PROGRAM 3 /* .json */

/* Index into kinds, or KIND_COUNT. */
static size_t
find_kind(const char *path)
{
    size_t i = 0;

    while (i < KIND_COUNT && !kerf_path_ends(path, kinds[i].ending))
        i++;
    return i;
}

static bool
is_half(const char *name)
{
    return strncmp(name, "client_infer_", 13) == 0 ||
           strncmp(name, "server_infer_", 13) == 0;
}

/* Length of a graph's path without its ending. */
static size_t
stem_of(const char *path)
{
    size_t kind = find_kind(path);

    return strlen(path) - (kind == KIND_COUNT ? 0 : strlen(kinds[kind].ending));
}

/* Is name[i] with its ending replaced there too? */
static bool
has_sibling(const kerf_names *names, size_t i, const char *ending)
{
    size_t stem = stem_of(names->name[i]);

    for (size_t k = 0; k < names->count; k++) {
        if (strncmp(names->name[i], names->name[k], stem) == 0 &&
            strcmp(names->name[k] + stem, ending) == 0)
            return true;
    }
    return false;
}

/* Among all that ends in .json, a program is what has weights beside it, or
 * Paddle's own name, and no older form. */
static bool
is_model(const kerf_names *names, size_t i)
{
    size_t kind = find_kind(names->name[i]);

    if (kind == KIND_COUNT || is_half(names->name[i]))
        return false;
    if (kind != KIND_PROGRAM)
        return true;
    return !has_sibling(names, i, ".pdmodel") &&
           (has_sibling(names, i, ".pdiparams") ||
            strcmp(names->name[i], "inference.json") == 0);
}

/* The one model among the names of a folder, as an index; count: how many. */
static size_t
pick_name(const kerf_names *names, size_t *count)
{
    size_t found = 0;

    *count = 0;
    for (size_t i = 0; i < names->count; i++) {
        if (!is_model(names, i))
            continue;
        found = i;
        ++*count;
    }
    return found;
}

static kerf_err
find_in_folder(char out[KERF_PATH_MAX], const char *dir, kerf_detail *why)
{
    kerf_names names = {0};
    size_t count = 0;
    size_t at;
    kerf_err err = kerf_fs_list(dir, FILES_MAX, &names, why);

    if (err != KERF_OK)
        return err;
    at = pick_name(&names, &count);
    if (count == 1)
        err = kerf_path_join(out, dir, names.name[at]);
    else if (count > 1) {
        err = kerf_fail(why, KERF_EINVAL,
                        "%s: holds %zu models: name one of their files", dir,
                        count);
    } else {
        err = kerf_fail(why, KERF_EINVAL,
                        "%s: no .pdmodel, .json program, .onnx or .xml in "
                        "this folder",
                        dir);
    }
    kerf_names_free(&names);
    return err;
}

/* "dir/name" without an ending: the first kind that exists. */
static kerf_err
find_by_prefix(char out[KERF_PATH_MAX], const char *path, kerf_detail *why)
{
    for (size_t i = 0; i < KIND_COUNT; i++) {
        int n = snprintf(out, KERF_PATH_MAX, "%s%s", path, kinds[i].ending);

        if (n > 0 && n < KERF_PATH_MAX && kerf_fs_exists(out))
            return KERF_OK;
    }
    if (kerf_fs_exists(path)) {
        return kerf_fail(why, KERF_EINVAL,
                         "%s: not a model: expected .pdmodel, .json, .onnx or "
                         ".xml",
                         path);
    }
    return kerf_fail(why, KERF_ENOENT,
                     "%s: no such model (.pdmodel, .json, .onnx, .xml or a "
                     "folder)",
                     path);
}

static kerf_err
find_graph(char out[KERF_PATH_MAX], const char *path, kerf_detail *why)
{
    if (strlen(path) + 16 > KERF_PATH_MAX)
        return kerf_fail(why, KERF_ETOOBIG, "model path too long");
    if (kerf_fs_is_dir(path))
        return find_in_folder(out, path, why);
    if (find_kind(path) != KIND_COUNT) {
        (void)snprintf(out, KERF_PATH_MAX, "%s", path);
        return KERF_OK;
    }
    if (kerf_path_ends(path, ".pdiparams")) {
        static const char *const endings[] = {".pdmodel", ".json"};

        for (size_t i = 0; i < 2; i++) {
            (void)snprintf(out, KERF_PATH_MAX, "%.*s%s",
                           (int)(strlen(path) - 10), path, endings[i]);
            if (kerf_fs_exists(out))
                return KERF_OK;
        }
        return kerf_fail(why, KERF_ENOENT,
                         "%s: these are weights, and their program (.pdmodel "
                         "or .json) is missing",
                         path);
    }
    return find_by_prefix(out, path, why);
}

/* "resnet20" of ".../resnet20.pdmodel"; files that are called inference.* or
 * model.* by habit take their folder's name. */
static void
make_name(kerf_model_file *f)
{
    char dir[KERF_PATH_MAX];
    const char *base = kerf_path_base(f->graph_path);
    size_t len = stem_of(base);

    if ((len == 9 && strncmp(base, "inference", 9) == 0) ||
        (len == 5 && strncmp(base, "model", 5) == 0)) {
        (void)kerf_path_dir(dir, f->graph_path);
        for (size_t end = strlen(dir); end > 1 && dir[end - 1] == '/'; end--)
            dir[end - 1] = '\0';
        if (kerf_text_is_name(kerf_path_base(dir)) &&
            strlen(kerf_path_base(dir)) < sizeof f->name) {
            (void)snprintf(f->name, sizeof f->name, "%s", kerf_path_base(dir));
            return;
        }
    }
    (void)snprintf(f->name, sizeof f->name, "%.*s", (int)len, base);
}

kerf_err
kerf_model_file_card(const kerf_model_file *f, char out[KERF_PATH_MAX])
{
    char dir[KERF_PATH_MAX];
    char name[KERF_NAME_MAX + 16];

    (void)kerf_path_dir(dir, f->graph_path);
    (void)snprintf(name, sizeof name, "%s.kerf.json", f->name);
    if (strcmp(dir, ".") == 0) {
        (void)snprintf(out, KERF_PATH_MAX, "%s", name);
        return KERF_OK;
    }
    return kerf_path_join(out, dir, name);
}

/* NAME.kerf.json, else the graph's own STEM.kerf.json, else the only card, when
 * no other model is there that it could belong to. */
static kerf_err
find_card(kerf_model_file *f, kerf_detail *why)
{
    char dir[KERF_PATH_MAX];
    kerf_names names = {0};
    size_t stem = stem_of(f->graph_path);
    size_t found = 0;
    size_t models = 0;
    size_t at = 0;
    kerf_err err = kerf_model_file_card(f, f->card_path);
    int n;

    if (err != KERF_OK || kerf_fs_exists(f->card_path))
        return err;
    n = snprintf(f->card_path, KERF_PATH_MAX, "%.*s.kerf.json", (int)stem,
                 f->graph_path);
    if (n > 0 && n < KERF_PATH_MAX && kerf_fs_exists(f->card_path))
        return KERF_OK;
    f->card_path[0] = '\0';
    (void)kerf_path_dir(dir, f->graph_path);
    err = kerf_fs_list(dir, FILES_MAX, &names, why);
    if (err != KERF_OK)
        return err;
    for (size_t i = 0; i < names.count; i++) {
        if (!kerf_path_ends(names.name[i], ".kerf.json"))
            continue;
        found++;
        at = i;
    }
    (void)pick_name(&names, &models);
    f->card_is_other = found == 1 && models == 1;
    if (f->card_is_other)
        err = kerf_path_join(f->card_path, dir, names.name[at]);
    kerf_names_free(&names);
    return err;
}

static kerf_err
find_weights(kerf_model_file *f)
{
    size_t stem = stem_of(f->graph_path);
    const char *ending = kinds[f->format].weights;
    int n;

    f->weights_path[0] = '\0';
    if (ending == NULL)
        return KERF_OK;
    n = snprintf(f->weights_path, KERF_PATH_MAX, "%.*s%s", (int)stem,
                 f->graph_path, ending);
    if (n < 0 || n >= KERF_PATH_MAX)
        return KERF_ETOOBIG;
    if (!kerf_fs_exists(f->weights_path))
        f->weights_path[0] = '\0';
    return KERF_OK;
}

/* The bytes of the graph (which 0) or the weights (1). */
static kerf_err
take_bytes(kerf_model_file *f, int which, bool map, kerf_detail *why)
{
    const char *path = which == 0 ? f->graph_path : f->weights_path;
    const uint8_t **data = which == 0 ? &f->graph : &f->weights;
    size_t *len = which == 0 ? &f->graph_len : &f->weights_len;
    kerf_err err;

    if (map) {
        err = kerf_map_open(&f->mapped[which], path, KERF_MODEL_BYTES_MAX, why);
        *data = f->mapped[which].data;
        *len = f->mapped[which].len;
    } else {
        err =
            kerf_fs_read(path, KERF_MODEL_BYTES_MAX, &f->read[which], len, why);
        *data = f->read[which];
    }
    return err;
}

/* A .json program becomes the .pdmodel that all others read. */
static kerf_err
translate(kerf_model_file *f, kerf_detail *why)
{
    uint8_t *program = NULL;
    size_t len = 0;
    kerf_err err =
        kerf_pir_translate(f->graph, f->graph_len, &program, &len, why);

    if (err != KERF_OK)
        return kerf_fail_in(why, err, "%s", f->graph_path);
    free(f->read[0]);
    kerf_map_close(&f->mapped[0]);
    f->read[0] = program;
    f->graph = program;
    f->graph_len = len;
    return KERF_OK;
}

kerf_err
kerf_model_file_find(kerf_model_file *f, const char *path, kerf_detail *why)
{
    kerf_model_file found = {0};
    kerf_err err = find_graph(found.graph_path, path, why);

    if (err != KERF_OK)
        return err;
    found.format = kinds[find_kind(found.graph_path)].format;
    make_name(&found);
    err = find_weights(&found);
    if (err == KERF_OK)
        err = find_card(&found, why);
    if (err == KERF_OK)
        *f = found;
    return err;
}

static kerf_err
find_and_take(kerf_model_file *f, const char *path, bool map, kerf_detail *why)
{
    kerf_model_file fresh = {0};
    kerf_err err = kerf_model_file_find(&fresh, path, why);

    if (err != KERF_OK)
        return err;
    err = take_bytes(&fresh, 0, map, why);
    if (err == KERF_OK && fresh.graph_len == 0)
        err = kerf_fail(why, KERF_ECORRUPT, "%s: empty file", fresh.graph_path);
    if (err == KERF_OK && find_kind(fresh.graph_path) == KIND_PROGRAM)
        err = translate(&fresh, why);
    if (err == KERF_OK && fresh.weights_path[0] != '\0')
        err = take_bytes(&fresh, 1, map, why);
    if (err != KERF_OK) {
        kerf_model_file_close(&fresh);
        return err;
    }
    *f = fresh;
    return KERF_OK;
}

kerf_err
kerf_model_file_open(kerf_model_file *f, const char *path, kerf_detail *why)
{
    return find_and_take(f, path, false, why);
}

kerf_err
kerf_model_file_map(kerf_model_file *f, const char *path, kerf_detail *why)
{
    return find_and_take(f, path, true, why);
}

void
kerf_model_file_close(kerf_model_file *f)
{
    for (int i = 0; i < 2; i++) {
        free(f->read[i]);
        kerf_map_close(&f->mapped[i]);
    }
    *f = (kerf_model_file){0};
}

kerf_model_bytes
kerf_model_file_bytes(const kerf_model_file *f)
{
    return (kerf_model_bytes){.format = f->format,
                              .graph = f->graph,
                              .graph_len = f->graph_len,
                              .weights = f->weights,
                              .weights_len = f->weights_len,
                              .path = f->graph_path[0] == '\0' ? NULL
                                                               : f->graph_path};
}

kerf_err
kerf_card_read(kerf_card *card, const char *path, kerf_detail *why)
{
    uint8_t *json = NULL;
    size_t len = 0;
    kerf_err err = kerf_fs_read(path, KERF_CARD_BYTES_MAX, &json, &len, why);

    if (err != KERF_OK)
        return err;
    err = kerf_card_parse(card, json, len, why);
    free(json);
    return err == KERF_OK ? err : kerf_fail_in(why, err, "%s", path);
}

static size_t
count_lines(const char *text)
{
    size_t n = 0;

    for (const char *at = text; *at != '\0'; n++) {
        at += strcspn(at, "\n");
        at += *at == '\n';
    }
    return n;
}

/* Splits text in place into lines; the last may lack its newline. Returns how
 * many they are without the blank ones at the end. */
static size_t
split_lines(char *text, char **line, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t len = strcspn(text, "\n");
        char *next = text + len + (text[len] == '\n');

        text[len] = '\0';
        while (len > 0 && (text[len - 1] == '\r' || text[len - 1] == ' '))
            text[--len] = '\0';
        line[i] = text;
        text = next;
    }
    while (count > 0 && line[count - 1][0] == '\0')
        count--;
    return count;
}

static kerf_err
check_lines(char *const *line, size_t count, const char *path, kerf_detail *why)
{
    if (count == 0 || count > KERF_CARD_LABELS_MAX)
        return kerf_fail(why, KERF_EINVAL, "%s: %zu labels, expected 1..%d",
                         path, count, KERF_CARD_LABELS_MAX);
    for (size_t i = 0; i < count; i++) {
        if (!kerf_text_is_utf8(line[i]))
            return kerf_fail(why, KERF_ECORRUPT,
                             "%s: line %zu is not UTF-8 text", path, i + 1);
        if (strlen(line[i]) > KERF_CARD_LABEL_BYTES_MAX)
            return kerf_fail(why, KERF_ETOOBIG,
                             "%s: line %zu: a label has at most %d bytes", path,
                             i + 1, KERF_CARD_LABEL_BYTES_MAX);
    }
    return KERF_OK;
}

/* Length of "17 " when the line starts with its own number, else 0. */
static size_t
own_index(const char *line, size_t i)
{
    char number[32];
    int n = snprintf(number, sizeof number, "%zu ", i);

    return n > 0 && strncmp(line, number, (size_t)n) == 0 ? (size_t)n : 0;
}

static kerf_err
copy_labels(kerf_card *card, char *const *line, size_t count)
{
    char **label = calloc(count == 0 ? 1 : count, sizeof *label);
    bool numbered = count > 1;

    if (label == NULL)
        return KERF_ENOMEM;
    for (size_t i = 0; i < count; i++)
        numbered = numbered && own_index(line[i], i) > 0;
    for (size_t i = 0; i < count; i++) {
        label[i] = strdup(line[i] + (numbered ? own_index(line[i], i) : 0));
        if (label[i] != NULL)
            continue;
        while (i-- > 0)
            free(label[i]);
        free(label);
        return KERF_ENOMEM;
    }
    for (size_t i = 0; i < card->label_count; i++)
        free(card->label[i]);
    free(card->label);
    card->label = label;
    card->label_count = count;
    card->given |= KERF_GIVEN_LABELS;
    return KERF_OK;
}

kerf_err
kerf_card_read_labels(kerf_card *card, const char *path, kerf_detail *why)
{
    uint8_t *text = NULL;
    char *first;
    char **line = NULL;
    size_t len = 0;
    size_t count;
    kerf_err err = kerf_fs_read(path, KERF_CARD_BYTES_MAX, &text, &len, why);

    if (err != KERF_OK)
        return err;
    if (memchr(text, 0, len) != NULL) {
        err = kerf_fail(why, KERF_ECORRUPT, "%s: not a text file", path);
        goto out;
    }
    /* A byte order mark is no part of the first label. */
    first = (char *)text;
    if (len >= 3 && memcmp(first, "\xef\xbb\xbf", 3) == 0)
        first += 3;
    count = count_lines(first);
    line = calloc(count + 1, sizeof *line);
    if (line == NULL) {
        err = kerf_fail(why, KERF_ENOMEM, "%s: no memory", path);
        goto out;
    }
    count = split_lines(first, line, count);
    err = check_lines(line, count, path, why);
    if (err == KERF_OK)
        err = copy_labels(card, line, count);
out:
    free(line);
    free(text);
    return err;
}
