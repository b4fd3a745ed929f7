#include "trust/ran.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/date.h"
#include "base/fs.h"
#include "base/hash.h"

enum { RAN_FORM = 1, RAN_MODELS = 4096 };
#define RAN_BYTES_MAX ((size_t)4 << 20)

struct entry {
    int64_t high;
    int64_t version, issued_s; /* of the statement in force */
    uint8_t bundle[KERF_STATEMENT_BUNDLE];
};

/* The file's members: "models", and "check" over them, so that a flipped bit is
 * seen. */
static void
hash_models(char out[17], const json_t *models)
{
    char *text = json_dumps(models, JSON_COMPACT | JSON_SORT_KEYS);
    uint64_t sum = text == NULL ? 0 : kerf_xxh3(text, strlen(text));

    (void)snprintf(out, 17, "%016llx", (unsigned long long)sum);
    free(text);
}

static bool
is_whole(const json_t *root)
{
    const json_t *models = json_object_get(root, "models");
    const char *check = json_string_value(json_object_get(root, "check"));
    char sum[17];

    if (json_integer_value(json_object_get(root, "kerf_ran")) != RAN_FORM ||
        !json_is_object(models) || check == NULL)
        return false;
    hash_models(sum, models);
    return strcmp(sum, check) == 0;
}

/* *models -> json_decref(); an empty one when there is no file yet. */
static kerf_err
read_models(const char *path, json_t **models, kerf_detail *why)
{
    uint8_t *text = NULL;
    size_t len = 0;
    json_t *root = NULL;
    kerf_err err = kerf_fs_read(path, RAN_BYTES_MAX, &text, &len, why);

    if (err == KERF_ENOENT) {
        if (why != NULL)
            why->text[0] = '\0';
        *models = json_object();
        return *models != NULL ? KERF_OK
                               : kerf_fail(why, KERF_ENOMEM, "no memory");
    }
    if (err != KERF_OK)
        return err;
    root = json_loadb((const char *)text, len, JSON_REJECT_DUPLICATES, NULL);
    free(text);
    if (root != NULL && is_whole(root))
        *models = json_incref(json_object_get(root, "models"));
    else {
        err = kerf_fail(why, KERF_ECORRUPT,
                        "%s is damaged, so that nobody knows what ran here: "
                        "remove it, if any version that is signed may run",
                        path);
    }
    json_decref(root);
    return err;
}

static kerf_err
write_models(const char *path, json_t *models, kerf_detail *why)
{
    char sum[17];
    json_t *root;
    char *text;
    kerf_err err;

    hash_models(sum, models);
    root = json_pack("{s:i, s:O, s:s}", "kerf_ran", RAN_FORM, "models", models,
                     "check", sum);
    text = root == NULL ? NULL : json_dumps(root, JSON_INDENT(1));
    json_decref(root);
    if (text == NULL)
        return kerf_fail(why, KERF_ENOMEM, "%s: no memory", path);
    err = kerf_fs_write(path, text, strlen(text), why);
    free(text);
    return err;
}

/* False: there is none. Damage cannot be, where the check is right; who made
 * that on purpose gets an entry that allows nothing. */
static bool
get_entry(struct entry *e, const json_t *models, const char *model)
{
    const json_t *o = json_object_get(models, model);
    const char *bundle = json_string_value(json_object_get(o, "bundle"));
    const char *issued = json_string_value(json_object_get(o, "issued"));

    *e = (struct entry){.high = INT64_MAX, .issued_s = INT64_MAX};
    if (o == NULL)
        return false;
    if (bundle == NULL || issued == NULL ||
        !json_is_integer(json_object_get(o, "version")) ||
        !json_is_integer(json_object_get(o, "highest")) ||
        !kerf_unhex(e->bundle, sizeof e->bundle, bundle) ||
        !kerf_date_parse(&e->issued_s, issued))
        return true;
    e->version = json_integer_value(json_object_get(o, "version"));
    e->high = json_integer_value(json_object_get(o, "highest"));
    return true;
}

static kerf_err
put_entry(json_t *models, const char *model, const struct entry *e,
          kerf_detail *why)
{
    char bundle[2 * KERF_STATEMENT_BUNDLE + 1];
    char issued[KERF_DATE_TEXT];
    json_t *o;

    if (json_object_size(models) >= RAN_MODELS &&
        json_object_get(models, model) == NULL)
        return kerf_fail(why, KERF_ETOOBIG,
                         "%d models have run from this store: use another",
                         RAN_MODELS);
    kerf_hex(bundle, e->bundle, sizeof e->bundle);
    o = json_pack("{s:I, s:I, s:s, s:s}", "highest", (json_int_t)e->high,
                  "version", (json_int_t)e->version, "bundle", bundle, "issued",
                  kerf_date_text(issued, e->issued_s));
    if (json_object_set_new(models, model, o) != 0)
        return kerf_fail(why, KERF_ENOMEM, "no memory");
    return KERF_OK;
}

static kerf_err
decide(const struct entry *e, const kerf_statement *s, kerf_detail *why)
{
    bool same = memcmp(e->bundle, s->bundle, sizeof e->bundle) == 0;
    long long version = (long long)s->version;

    if (s->version > e->high || (s->version == e->version && same))
        return KERF_OK;
    if (s->version == e->version) {
        return kerf_fail(why, KERF_EDENIED,
                         "another bundle ran as version %lld here: sign this "
                         "one with a higher --model-version",
                         version);
    }
    if (s->rollback_from < e->high) {
        return kerf_fail(why, KERF_EDENIED,
                         "it is version %lld, and version %lld has run here: "
                         "going back takes kerf sign --rollback-from %lld",
                         version, (long long)e->high, (long long)e->high);
    }
    if (s->issued_s <= e->issued_s) {
        return kerf_fail(why, KERF_EDENIED,
                         "its permission to go back to version %lld is older "
                         "than what runs here: sign it again (kerf sign)",
                         version);
    }
    return KERF_OK;
}

static void
put_in_force(struct entry *e, const kerf_statement *s)
{
    int64_t least =
        s->version > s->rollback_from ? s->version : s->rollback_from;

    e->high = e->high > least ? e->high : least;
    e->version = s->version;
    /* One that is signed again, with an older statement about: the newer
     * counts. */
    e->issued_s = e->issued_s > s->issued_s ? e->issued_s : s->issued_s;
    memcpy(e->bundle, s->bundle, sizeof e->bundle);
}

/* Under the folder's lock. */
static kerf_err
look(const char *path, const kerf_statement *s, bool adds, kerf_detail *why)
{
    json_t *models = NULL;
    struct entry e, before;
    bool known;
    kerf_err err = read_models(path, &models, why);

    if (err != KERF_OK)
        return err;
    known = get_entry(&e, models, s->model);
    if (known)
        err = decide(&e, s, why);
    else
        e = (struct entry){0};
    before = e;
    if (err == KERF_OK && adds) {
        put_in_force(&e, s);
        if (!known || e.high != before.high || e.version != before.version ||
            e.issued_s != before.issued_s) {
            err = put_entry(models, s->model, &e, why);
            if (err == KERF_OK)
                err = write_models(path, models, why);
        }
    }
    json_decref(models);
    return err;
}

static kerf_err
look_locked(const char *dir, const kerf_statement *s, bool adds,
            kerf_detail *why)
{
    char path[KERF_PATH_MAX];
    int fd;
    kerf_err err;

    if (kerf_path_join(path, dir, KERF_RAN_FILE) != KERF_OK)
        return kerf_fail(why, KERF_EINVAL, "%s: path too long", dir);
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return kerf_fail(why, KERF_EIO, "%s: %s", dir, strerror(errno));
    (void)flock(fd,
                LOCK_EX); /* where there are no locks: one edge, one store */
    err = look(path, s, adds, why);
    (void)close(fd);
    return err;
}

kerf_err
kerf_ran_allows(const char *dir, const kerf_statement *s, kerf_detail *why)
{
    return look_locked(dir, s, false, why);
}

kerf_err
kerf_ran_add(const char *dir, const kerf_statement *s, kerf_detail *why)
{
    return look_locked(dir, s, true, why);
}

bool
kerf_ran_bundle(const char *dir, const char *model,
                uint8_t bundle[KERF_STATEMENT_BUNDLE])
{
    char path[KERF_PATH_MAX];
    json_t *models = NULL;
    struct entry e;
    bool known;

    if (kerf_path_join(path, dir, KERF_RAN_FILE) != KERF_OK ||
        read_models(path, &models, NULL) != KERF_OK)
        return false;
    known = get_entry(&e, models, model) && e.version > 0;
    memcpy(bundle, e.bundle, sizeof e.bundle);
    json_decref(models);
    return known;
}
