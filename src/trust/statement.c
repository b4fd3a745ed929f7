#include "trust/statement.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/date.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/text.h"
#include "trust/json_load.h"

enum {
    STATEMENT_FORM = 1, /* "kerf_statement" */
    SIG_FORM = 1,       /* "kerf_sig" */
    KEY_FOLDER_MOST = 4096
};

/* What is signed begins with it, so that no signature of a text of another
 * purpose is one of a statement. */
static const char domain[] = "kerf-statement-1\n";

enum { SIGNED_MAX = sizeof domain - 1 + KERF_STATEMENT_MAX };

static size_t
signed_bytes(uint8_t to[SIGNED_MAX], const kerf_signed *s)
{
    memcpy(to, domain, sizeof domain - 1);
    memcpy(to + sizeof domain - 1, s->text, s->len);
    return sizeof domain - 1 + s->len;
}

/* The statement. */

/* A text member, or "". */
static const char *
text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text == NULL ? "" : text;
}

/* A whole number in least .. the greatest version; -1: it is none. */
static int64_t
number_of(const json_t *object, const char *key, int64_t least)
{
    const json_t *n = json_object_get(object, key);
    int64_t v = json_is_integer(n) ? (int64_t)json_integer_value(n) : -1;

    return v < least || v > KERF_STATEMENT_VERSION_MAX ? -1 : v;
}

static kerf_err
read_versions(kerf_statement *s, const json_t *root, kerf_detail *why)
{
    s->version = number_of(root, "version", 1);
    s->rollback_from = 0;
    if (s->version < 0)
        return kerf_fail(why, KERF_ECORRUPT,
                         "statement: \"version\": expected a number from 1");
    if (json_object_get(root, "rollback_from") == NULL)
        return KERF_OK;
    s->rollback_from = number_of(root, "rollback_from", s->version + 1);
    if (s->rollback_from < 0)
        return kerf_fail(why, KERF_ECORRUPT,
                         "statement: \"rollback_from\": expected a number over "
                         "its version");
    return KERF_OK;
}

static kerf_err
read_statement(kerf_statement *s, const json_t *root, kerf_detail *why)
{
    const json_t *form = json_object_get(root, "kerf_statement");
    const char *model = text_of(root, "model");

    if (!json_is_integer(form))
        return kerf_fail(why, KERF_ECORRUPT,
                         "not a statement: no \"kerf_statement\"");
    if (json_integer_value(form) != STATEMENT_FORM) {
        return kerf_fail(why, KERF_EVERSION,
                         "statement of version %lld, this kerf reads version "
                         "%d",
                         (long long)json_integer_value(form), STATEMENT_FORM);
    }
    if (!kerf_text_is_name(model) || strlen(model) >= sizeof s->model)
        return kerf_fail(why, KERF_ECORRUPT,
                         "statement: \"model\": expected the name of one");
    (void)snprintf(s->model, sizeof s->model, "%s", model);
    if (!kerf_unhex(s->bundle, sizeof s->bundle, text_of(root, "bundle")))
        return kerf_fail(why, KERF_ECORRUPT,
                         "statement: \"bundle\": expected 64 hex digits");
    if (!kerf_date_parse(&s->issued_s, text_of(root, "issued")) ||
        !kerf_date_parse(&s->expires_s, text_of(root, "expires")))
        return kerf_fail(why, KERF_ECORRUPT,
                         "statement: \"issued\" and \"expires\": expected "
                         "times as 2027-02-28T12:00:00Z");
    return read_versions(s, root, why);
}

kerf_err
kerf_statement_parse(kerf_statement *out, const char *text, size_t len,
                     kerf_detail *why)
{
    kerf_statement new = {0};
    json_t *root = NULL;
    kerf_err err =
        kerf_json_load(&root, text, len, KERF_STATEMENT_MAX, "statement", why);

    if (err == KERF_OK)
        err = read_statement(&new, root, why);
    json_decref(root);
    if (err == KERF_OK)
        *out = new;
    return err;
}

static char *
format_statement(const kerf_statement *s)
{
    char bundle[2 * KERF_STATEMENT_BUNDLE + 1];
    char issued[KERF_DATE_TEXT], expires[KERF_DATE_TEXT];
    json_t *root;
    char *text;

    kerf_hex(bundle, s->bundle, sizeof s->bundle);
    root = json_pack("{s:i, s:s, s:s, s:I, s:s, s:s}", "kerf_statement",
                     STATEMENT_FORM, "model", s->model, "bundle", bundle,
                     "version", (json_int_t)s->version, "issued",
                     kerf_date_text(issued, s->issued_s), "expires",
                     kerf_date_text(expires, s->expires_s));
    if (root != NULL && s->rollback_from > 0 &&
        json_object_set_new(root, "rollback_from",
                            json_integer((json_int_t)s->rollback_from)) != 0) {
        json_decref(root);
        return NULL;
    }
    text = root == NULL ? NULL : json_dumps(root, JSON_COMPACT);
    json_decref(root);
    return text;
}

kerf_err
kerf_statement_sign(kerf_signed *out, const kerf_statement *s,
                    const kerf_secret_key *key, const kerf_public_key *public,
                    kerf_detail *why)
{
    kerf_signed new = {0};
    kerf_statement back;
    uint8_t bytes[SIGNED_MAX];
    char *text = format_statement(s);
    kerf_err err = KERF_OK;

    if (text == NULL)
        return kerf_fail(why, KERF_ENOMEM, "cannot sign: out of memory");
    new.len = strlen(text);
    if (kerf_statement_parse(&back, text, new.len, why) != KERF_OK)
        err = KERF_EINVAL; /* e.g. a version of 0 */
    else
        memcpy(new.text, text, new.len);
    free(text);
    if (err == KERF_OK)
        err = kerf_sign(key, bytes, signed_bytes(bytes, &new), new.sig, why);
    if (err != KERF_OK)
        return err;
    memcpy(new.key, public->id, sizeof new.key);
    *out = new;
    return KERF_OK;
}

kerf_signature
kerf_statement_show(const kerf_statement *s, const kerf_signed *with,
                    bool checked)
{
    kerf_signature out = {.version = s->version,
                          .rollback_from = s->rollback_from,
                          .checked = checked};

    (void)kerf_date_text(out.issued, s->issued_s);
    (void)kerf_date_text(out.expires, s->expires_s);
    kerf_hex(out.key, with->key, sizeof with->key);
    return out;
}

/* With its signature. */

bool
kerf_signed_equal(const kerf_signed *a, const kerf_signed *b)
{
    return a->len == b->len && memcmp(a->text, b->text, a->len) == 0 &&
           memcmp(a->key, b->key, sizeof a->key) == 0 &&
           memcmp(a->sig, b->sig, sizeof a->sig) == 0;
}

json_t *
kerf_signed_to_json(const kerf_signed *s)
{
    char sig[2 * KERF_ED25519_SIG + 1];
    char key[KERF_KEY_ID_HEX];

    kerf_hex(sig, s->sig, sizeof s->sig);
    kerf_hex(key, s->key, sizeof s->key);
    return json_pack("{s:s, s:s, s:s}", "statement", s->text, "signature", sig,
                     "key", key);
}

kerf_err
kerf_signed_from_json(kerf_signed *out, const json_t *object, kerf_detail *why)
{
    kerf_signed new = {0};
    const char *text = text_of(object, "statement");

    if (object == NULL) {
        *out = new;
        return KERF_OK;
    }
    new.len = strlen(text);
    if (new.len == 0 || new.len > KERF_STATEMENT_MAX) {
        return kerf_fail(why, KERF_ECORRUPT,
                         "signature: \"statement\": expected a text of 1 to %d "
                         "bytes",
                         KERF_STATEMENT_MAX);
    }
    if (!kerf_unhex(new.sig, sizeof new.sig, text_of(object, "signature")) ||
        !kerf_unhex(new.key, sizeof new.key, text_of(object, "key")))
        return kerf_fail(why, KERF_ECORRUPT,
                         "signature: \"signature\" and \"key\": expected 128 "
                         "and 16 hex digits");
    memcpy(new.text, text, new.len);
    *out = new;
    return KERF_OK;
}

kerf_err
kerf_signed_format(const kerf_signed *s, char **out)
{
    json_t *root = kerf_signed_to_json(s);
    char *text = NULL;

    if (root != NULL &&
        json_object_set_new(root, "kerf_sig", json_integer(SIG_FORM)) == 0)
        text = json_dumps(root, JSON_INDENT(1) | JSON_SORT_KEYS);
    json_decref(root);
    if (text == NULL)
        return KERF_ENOMEM;
    *out = text;
    return KERF_OK;
}

kerf_err
kerf_signed_parse(kerf_signed *out, kerf_statement *says, const void *json,
                  size_t len, kerf_detail *why)
{
    kerf_signed new = {0};
    const json_t *form;
    json_t *root = NULL;
    kerf_err err =
        kerf_json_load(&root, json, len, KERF_SIG_FILE_MAX, "signature", why);

    if (err != KERF_OK)
        return err;
    form = json_object_get(root, "kerf_sig");
    if (!json_is_integer(form))
        err = kerf_fail(why, KERF_ECORRUPT, "not a signature: no \"kerf_sig\"");
    else if (json_integer_value(form) != SIG_FORM)
        err = kerf_fail(why, KERF_EVERSION,
                        "signature of version %lld, this kerf reads version %d",
                        (long long)json_integer_value(form), SIG_FORM);
    if (err == KERF_OK)
        err = kerf_signed_from_json(&new, root, why);
    json_decref(root);
    if (err == KERF_OK)
        err = kerf_statement_parse(says, new.text, new.len, why);
    if (err == KERF_OK)
        *out = new;
    return err;
}

/* Trust. */

kerf_err
kerf_statement_in_time(const kerf_statement *s, int64_t now_s, kerf_detail *why)
{
    char now[KERF_DATE_TEXT], at[KERF_DATE_TEXT];

    (void)kerf_date_text(now, now_s);
    if (now_s < s->issued_s - KERF_STATEMENT_SKEW_S) {
        return kerf_fail(why, KERF_EAGAIN,
                         "the clock here says %s, and it was signed at %s: set "
                         "the clock",
                         now, kerf_date_text(at, s->issued_s));
    }
    if (now_s > s->expires_s) {
        return kerf_fail(why, KERF_EDENIED,
                         "its signature expired at %s, and the clock here says "
                         "%s: sign it again (kerf sign)",
                         kerf_date_text(at, s->expires_s), now);
    }
    return KERF_OK;
}

/* What was signed, if this key signed it. */
static kerf_err
check_signature(const kerf_public_key *key, size_t count, const kerf_signed *s,
                kerf_detail *why)
{
    uint8_t bytes[SIGNED_MAX];
    size_t len = signed_bytes(bytes, s);
    char id[KERF_KEY_ID_HEX];
    bool known = false;

    for (size_t i = 0; i < count; i++) {
        if (memcmp(key[i].id, s->key, sizeof s->key) != 0)
            continue;
        known = true;
        if (kerf_verify(&key[i], bytes, len, s->sig))
            return KERF_OK;
    }
    kerf_hex(id, s->key, sizeof s->key);
    if (known) {
        return kerf_fail(why, KERF_EDENIED,
                         "its signature is wrong: what key %s signed was "
                         "altered",
                         id);
    }
    return kerf_fail(why, KERF_EDENIED,
                     "key %s signed it, which is not among those of --trust",
                     id);
}

static kerf_err
check_subject(const kerf_statement *says, const char *model,
              const uint8_t *bundle, kerf_detail *why)
{
    char theirs[2 * KERF_STATEMENT_BUNDLE + 1];
    char ours[2 * KERF_STATEMENT_BUNDLE + 1];

    if (strcmp(says->model, model) != 0)
        return kerf_fail(why, KERF_EDENIED,
                         "its signature is for model %s, not for %s",
                         says->model, model);
    if (memcmp(says->bundle, bundle, sizeof says->bundle) == 0)
        return KERF_OK;
    kerf_hex(theirs, says->bundle, sizeof says->bundle);
    kerf_hex(ours, bundle, sizeof says->bundle);
    return kerf_fail(why, KERF_EDENIED,
                     "it is not what was signed: the signature is for bundle "
                     "%.12s, this is %.12s",
                     theirs, ours);
}

static kerf_err read_keys(const kerf_trust *trust, kerf_public_key *key,
                          size_t *count, kerf_detail *why);

kerf_err
kerf_trust_statement(const kerf_trust *trust, const kerf_signed *s,
                     const char *model,
                     const uint8_t bundle[KERF_STATEMENT_BUNDLE], int64_t now_s,
                     kerf_statement *says, kerf_detail *why)
{
    kerf_public_key key[KERF_TRUST_KEYS_MAX];
    size_t count = 0;
    kerf_err err;

    if (s->len == 0)
        return kerf_fail(why, KERF_EDENIED,
                         "it is not signed: sign it (kerf sign) where its key "
                         "is");
    err = read_keys(trust, key, &count, why);
    if (err == KERF_OK)
        err = check_signature(key, count, s, why);
    if (err == KERF_OK)
        err = kerf_statement_parse(says, s->text, s->len, why);
    if (err == KERF_OK)
        err = check_subject(says, model, bundle, why);
    if (err == KERF_OK)
        err = kerf_statement_in_time(says, now_s, why);
    return err;
}

/* Keys. */

static kerf_err
add_key(const char *path, kerf_public_key *key, size_t *count, kerf_detail *why)
{
    kerf_err err;

    if (*count == KERF_TRUST_KEYS_MAX)
        return kerf_fail(why, KERF_ETOOBIG, "--trust: more than %d keys",
                         KERF_TRUST_KEYS_MAX);
    err = kerf_public_key_read(&key[*count], path, why);
    if (err == KERF_OK)
        ++*count;
    return err;
}

static kerf_err
add_folder(const char *dir, kerf_public_key *key, size_t *count,
           kerf_detail *why)
{
    kerf_names names = {0};
    char path[KERF_PATH_MAX];
    size_t before = *count;
    kerf_err err = kerf_fs_list(dir, KEY_FOLDER_MOST, &names, why);

    for (size_t i = 0; err == KERF_OK && i < names.count; i++) {
        if (!kerf_path_ends(names.name[i], ".pub") || names.name[i][0] == '.')
            continue;
        err = kerf_path_join(path, dir, names.name[i]);
        if (err == KERF_OK)
            err = add_key(path, key, count, why);
        if (err != KERF_OK && *count < KERF_TRUST_KEYS_MAX) {
            /* One that is being copied must not stop the others. */
            kerf_log(KERF_LOG_WARN, "trust.key_skipped", "why=%s",
                     KERF_Q(why != NULL ? why->text : kerf_err_text(err)));
            err = KERF_OK;
        }
    }
    kerf_names_free(&names);
    if (err == KERF_OK && *count == before)
        err =
            kerf_fail(why, KERF_ENOENT,
                      "--trust %s: no key (*.pub) in it that can be used", dir);
    return err;
}

/* A path that gives no key, as a folder that was emptied, takes none from the
 * others: what is trusted only becomes less. Without any key all is refused. */
static kerf_err
read_keys(const kerf_trust *trust, kerf_public_key *key, size_t *count,
          kerf_detail *why)
{
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < trust->count; i++) {
        kerf_detail at = {{0}};
        kerf_err one = kerf_fs_is_dir(trust->path[i])
                           ? add_folder(trust->path[i], key, count, &at)
                           : add_key(trust->path[i], key, count, &at);

        if (one == KERF_OK)
            continue;
        err = kerf_fail(why, one, "%s",
                        at.text[0] != '\0' ? at.text : kerf_err_text(one));
        if (one == KERF_ETOOBIG || one == KERF_ENOMEM)
            return err;
        if (trust->count > 1)
            kerf_log(KERF_LOG_WARN, "trust.path_skipped", "path=%s why=%s",
                     KERF_Q(trust->path[i]), KERF_Q(at.text));
    }
    return *count > 0 ? KERF_OK : err;
}

kerf_err
kerf_trust_check(const kerf_trust *trust, kerf_detail *why)
{
    kerf_public_key key[KERF_TRUST_KEYS_MAX];
    size_t count = 0;

    return read_keys(trust, key, &count, why);
}
