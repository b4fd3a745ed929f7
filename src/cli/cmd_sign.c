/*
 * cmd_sign.c - `kerf sign`: keys, and statements beside pairs that say that an
 * edge may run them.
 */
#include "cli/cmd.h"

#include "base/date.h"
#include "base/text.h"
#include "cli/json_line.h"
#include "cli/out.h"
#include "model/bundle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char about[] =
    "Signs pairs of a folder: NAME.kerf.sig.json beside each says which "
    "version\n"
    "of the model it is, and until when edges may run it. An edge that is "
    "given\n"
    "the public key (kerf edge --trust) runs nothing else.";

typedef struct sign_flags {
    const char *name[KERF_MODELS_MAX + 1]; /* NULL: no more */
    const char *new_key, *key, *models, *expires;
    kerf_list trust;
    int64_t version, rollback_from;
    bool check, json, version_given, rollback_given, expires_given;
    kerf_cmd_common common;
} sign_flags;

/* Versions that a permission may go back, where no file says how many were
 * signed: one that names a far one by mistake would lock the edges out of all
 * that follow. */
#define ROLLBACK_MOST 1000

/* What the file beside a pair says now. */
typedef struct last_signed {
    kerf_statement says; /* version 0: there is none */
    bool same;           /* of this very bundle */
} last_signed;

static int
check_flags(const sign_flags *f)
{
    bool new_key = f->new_key != NULL;
    bool signs = f->key != NULL;

    if (new_key + signs + f->check != 1)
        return kerf_usage_error("sign", "give one of --new-key FILE, --key "
                                        "FILE and --check");
    if (new_key && f->name[0] != NULL) {
        return kerf_usage_error("sign",
                                "--new-key makes a key: sign %s with "
                                "it after that (--key)",
                                f->name[0]);
    }
    if (!new_key && f->name[0] == NULL)
        return kerf_usage_error("sign", "which models of %s? Give their names",
                                f->models);
    if (f->check != (f->trust.count > 0))
        return kerf_usage_error("sign", "--check and --trust KEY.pub go "
                                        "together");
    if (!signs && (f->version_given || f->rollback_given || f->expires_given)) {
        return kerf_usage_error("sign", "--%s goes with --key",
                                f->version_given    ? "model-version"
                                : f->rollback_given ? "rollback-from"
                                                    : "expires");
    }
    if (f->rollback_given && f->version_given && f->rollback_from <= f->version)
        return kerf_usage_error("sign",
                                "--rollback-from is the newer version that may "
                                "have run: more than --model-version");
    return -1;
}

/* One command runs in a process. */
static sign_flags flags = {.models = KERF_CMD_MODELS, .expires = "1y"};

static const kerf_opt table[] = {
    {.kind = KERF_OPT_GROUP, .help = "A key"},
    {.name = "new-key",
     .kind = KERF_OPT_TEXT,
     .to = &flags.new_key,
     .value = "FILE",
     .help = "make one: FILE, which stays secret, and FILE.pub"},
    {.kind = KERF_OPT_GROUP, .help = "To sign"},
    {.name = "key",
     .kind = KERF_OPT_TEXT,
     .to = &flags.key,
     .value = "FILE",
     .help = "sign with this one"},
    {.name = "models",
     .kind = KERF_OPT_TEXT,
     .to = &flags.models,
     .value = "DIR",
     .help = "folder of the pairs"},
    {.name = "model-version",
     .kind = KERF_OPT_LONG,
     .to = &flags.version,
     .given = &flags.version_given,
     .min = 1,
     .max = (double)KERF_STATEMENT_VERSION_MAX,
     .value = "N",
     .no_default = true,
     .help = "default: one more than signed last; the same for the same "
             "files"},
    {.name = "expires",
     .kind = KERF_OPT_TEXT,
     .to = &flags.expires,
     .given = &flags.expires_given,
     .value = "WHEN",
     .help = "until when edges run it: 12h, 90d, 8w or 1y from now, or a day, "
             "2027-02-28"},
    {.name = "rollback-from",
     .kind = KERF_OPT_LONG,
     .to = &flags.rollback_from,
     .given = &flags.rollback_given,
     .min = 2,
     .max = (double)KERF_STATEMENT_VERSION_MAX,
     .value = "N",
     .no_default = true,
     .help = "edges that ran versions up to N may go back to this one"},
    {.kind = KERF_OPT_GROUP, .help = "To look"},
    {.name = "check",
     .kind = KERF_OPT_FLAG,
     .to = &flags.check,
     .help = "would an edge run it?"},
    {.name = "trust",
     .kind = KERF_OPT_LIST,
     .to = &flags.trust,
     .value = "KEY.pub...",
     .no_default = true,
     .help = "with these public keys, or folders of them"},
    {.kind = KERF_OPT_GROUP, .help = "Output"},
    {.name = "json",
     .kind = KERF_OPT_FLAG,
     .to = &flags.json,
     .help = "one JSON object per line on stdout"},
    KERF_CMD_LOG_OPT(&flags.common),
};

static const kerf_command command = {.name = "sign",
                                     .usage = "NAME... --key FILE [flags]",
                                     .about = about,
                                     .opt = table,
                                     .opt_count = sizeof table / sizeof *table,
                                     .arg = flags.name,
                                     .arg_least = 0,
                                     .arg_most = KERF_MODELS_MAX,
                                     .arg_name = "NAME"};

/* ---- a key ------------------------------------------------------------ */

static int
make_key(const sign_flags *f)
{
    char id[KERF_KEY_ID_HEX], safe[256];
    kerf_public_key public = {0};
    kerf_detail why = {{0}};
    kerf_err err = kerf_key_make(f->new_key, &public, &why);

    if (err != KERF_OK)
        return kerf_cmd_failed(err, &why);
    kerf_hex(id, public.id, sizeof public.id);
    (void)kerf_text_safe(safe, sizeof safe, f->new_key);
    if (f->json) {
        kerf_json_line(json_pack("{s:s, s:o, s:s}", "event", "key", "file",
                                 kerf_json_text(f->new_key), "key", id));
        return 0;
    }
    (void)printf("Key %s\n"
                 "%s is secret: keep it off clouds and edges, and keep a copy\n"
                 "%s.pub is for edges: kerf edge --trust %s.pub\n",
                 id, safe, safe, safe);
    return 0;
}

/* ---- signing ---------------------------------------------------------- */

static kerf_err
sig_path(char out[KERF_PATH_MAX], const sign_flags *f, const char *name,
         kerf_detail *why)
{
    char file[KERF_PART_NAME];

    kerf_pair_sig_file(file, name);
    if (kerf_path_join(out, f->models, file) == KERF_OK)
        return KERF_OK;
    return kerf_fail(why, KERF_EINVAL, "%s: path too long", f->models);
}

static kerf_err
read_last(last_signed *last, const char *dir, const kerf_manifest *m,
          kerf_detail *why)
{
    kerf_signed sig;
    kerf_err err;

    *last = (last_signed){.same = false};
    err = kerf_pair_sig_read(&sig, &last->says, dir, m->name, why);
    if (err == KERF_ENOENT)
        return KERF_OK;
    if (err == KERF_OK && strcmp(last->says.model, m->name) != 0)
        *last = (last_signed){.same = false};
    last->same = last->says.version > 0 &&
                 memcmp(last->says.bundle, m->id, sizeof m->id) == 0;
    return err;
}

/* Refuses what edges would refuse: they remember, too. */
static kerf_err
choose_version(const sign_flags *f, const last_signed *last, kerf_statement *s,
               kerf_detail *why)
{
    long long was = (long long)last->says.version;
    long long highest = (long long)last->says.rollback_from;

    if (highest < was) /* edges take none up to it any more */
        highest = was;
    s->version = f->version_given ? f->version
                 : last->same     ? last->says.version
                                  : highest + 1;
    s->rollback_from = f->rollback_given ? f->rollback_from : 0;
    if (s->version > KERF_STATEMENT_VERSION_MAX) {
        return kerf_fail(why, KERF_EINVAL,
                         "%s: version %lld was the last that there is: give "
                         "the model another name",
                         s->model, highest);
    }
    if (f->rollback_given && !f->version_given && !last->same) {
        return kerf_fail(why, KERF_EINVAL,
                         "%s: which version do edges go back to? "
                         "--model-version",
                         s->model);
    }
    if (f->rollback_given && s->rollback_from <= s->version) {
        return kerf_fail(why, KERF_EINVAL,
                         "%s is version %lld: --rollback-from is the newer one "
                         "that may have run",
                         s->model, (long long)s->version);
    }
    if (f->rollback_given && s->rollback_from > s->version + ROLLBACK_MOST &&
        s->rollback_from > highest) {
        return kerf_fail(
            why, KERF_EINVAL,
            "--rollback-from %lld: edges that run it take no other "
            "version up to that one any more: give the one that "
            "was signed last",
            (long long)s->rollback_from);
    }
    if (s->version == was && !last->same) {
        return kerf_fail(why, KERF_EINVAL,
                         "%s: version %lld was signed for other files: leave "
                         "--model-version out, or give a higher one",
                         s->model, was);
    }
    if (s->version < was && s->rollback_from < was) {
        return kerf_fail(why, KERF_EINVAL,
                         "%s: version %lld was signed last, and edges that ran "
                         "it go back only with --rollback-from %lld",
                         s->model, was, was);
    }
    return KERF_OK;
}

/* No statement is older than the one before it. A permission to go back counts
 * when it is newer than what is in force, and statements have whole seconds: it
 * may be dated a second ahead. Nothing else is, or a permission that is signed
 * in another folder right after would not be newer. */
static kerf_err
choose_times(const sign_flags *f, const last_signed *last, kerf_statement *s,
             kerf_detail *why)
{
    int64_t now_s = kerf_date_now();
    int64_t least_s = last->says.version > 0 ? last->says.issued_s : 0;
    char safe[64];

    s->issued_s = now_s;
    least_s += least_s > 0 && s->rollback_from > 0 ? 1 : 0;
    if (least_s > now_s && least_s < now_s + KERF_STATEMENT_SKEW_S / 2)
        s->issued_s = least_s;
    if (!kerf_date_parse_end(&s->expires_s, f->expires, now_s)) {
        return kerf_fail(why, KERF_EINVAL,
                         "--expires %s: expected 12h, 90d, 8w, 1y or "
                         "2027-02-28",
                         kerf_text_safe(safe, sizeof safe, f->expires));
    }
    if (s->expires_s <= s->issued_s)
        return kerf_fail(why, KERF_EINVAL, "--expires %s: that is over",
                         kerf_text_safe(safe, sizeof safe, f->expires));
    return KERF_OK;
}

static void
show_signed(const sign_flags *f, const kerf_manifest *m,
            const kerf_signature *sig, const char *path, const char *verb)
{
    char id[2 * KERF_BUNDLE_ID_LEN + 1], safe[256];
    json_t *o;

    kerf_hex(id, m->id, sizeof m->id);
    if (f->json) {
        o = kerf_json_signature(m->name, sig, "");
        (void)json_object_set_new(o, "bundle", json_string(id));
        (void)json_object_set_new(o, "file", kerf_json_text(path));
        kerf_json_line(o);
        return;
    }
    (void)printf("%s %s: version %lld, until %.16sZ, key %s, bundle %.12s",
                 verb, m->name, (long long)sig->version, sig->expires, sig->key,
                 id);
    if (sig->rollback_from > 0)
        (void)printf(", also after versions up to %lld",
                     (long long)sig->rollback_from);
    (void)printf("\n%s\n", kerf_text_safe(safe, sizeof safe, path));
}

static kerf_err
sign_one(const sign_flags *f, const char *name, const kerf_secret_key *key,
         const kerf_public_key *public, kerf_detail *why)
{
    kerf_pair pair = {0};
    kerf_statement s = {0};
    kerf_signed sig = {0};
    kerf_signature shown;
    last_signed last;
    char path[KERF_PATH_MAX];
    char *json = NULL;
    kerf_err err = kerf_pair_read(&pair, f->models, name, why);

    if (err != KERF_OK)
        return err;
    (void)snprintf(s.model, sizeof s.model, "%s", pair.manifest.name);
    memcpy(s.bundle, pair.manifest.id, sizeof s.bundle);
    err = sig_path(path, f, name, why);
    if (err == KERF_OK)
        err = read_last(&last, f->models, &pair.manifest, why);
    if (err == KERF_OK)
        err = choose_version(f, &last, &s, why);
    if (err == KERF_OK)
        err = choose_times(f, &last, &s, why);
    if (err == KERF_OK)
        err = kerf_statement_sign(&sig, &s, key, public, why);
    if (err == KERF_OK && kerf_signed_format(&sig, &json) != KERF_OK)
        err = kerf_fail(why, KERF_ENOMEM, "%s: no memory", name);
    if (err == KERF_OK)
        err = kerf_fs_write(path, json, strlen(json), why);
    if (err == KERF_OK) {
        shown = kerf_statement_show(&s, &sig, true);
        show_signed(f, &pair.manifest, &shown, path, "Signed");
    }
    free(json);
    kerf_pair_fini(&pair);
    return err;
}

static int
sign_all(const sign_flags *f)
{
    kerf_secret_key *key = NULL;
    kerf_public_key public = {0};
    kerf_detail why = {{0}};
    kerf_err err = kerf_secret_key_read(&key, f->key, &public, &why);

    for (size_t i = 0; err == KERF_OK && f->name[i] != NULL; i++)
        err = sign_one(f, f->name[i], key, &public, &why);
    kerf_secret_key_free(key);
    return err == KERF_OK ? 0 : kerf_cmd_failed(err, &why);
}

/* ---- looking ---------------------------------------------------------- */

static kerf_err
check_one(const sign_flags *f, const char *name, kerf_detail *why)
{
    const kerf_trust trust = {.path = f->trust.item, .count = f->trust.count};
    kerf_pair pair = {0};
    kerf_statement says = {0};
    kerf_signature shown;
    char path[KERF_PATH_MAX];
    kerf_err err = kerf_pair_read(&pair, f->models, name, why);

    if (err != KERF_OK)
        return err;
    err = sig_path(path, f, name, why);
    if (err == KERF_OK && pair.sig_why.text[0] != '\0') {
        err = kerf_fail(why, KERF_EMISMATCH, "%s", pair.sig_why.text);
    } else if (err == KERF_OK) {
        err =
            kerf_trust_statement(&trust, &pair.manifest.sig, pair.manifest.name,
                                 pair.manifest.id, kerf_date_now(), &says, why);
        if (err != KERF_OK)
            (void)kerf_fail_in(why, err, "%s", name);
    }
    if (err == KERF_OK) {
        shown = kerf_statement_show(&says, &pair.manifest.sig, true);
        show_signed(f, &pair.manifest, &shown, path, "Trusted");
    }
    kerf_pair_fini(&pair);
    return err;
}

/* All of them, whatever is wrong with some. */
static int
check_all(const sign_flags *f)
{
    const kerf_trust trust = {.path = f->trust.item, .count = f->trust.count};
    kerf_detail why = {{0}};
    kerf_err err = kerf_trust_check(&trust, &why);
    int status = 0;

    if (err != KERF_OK)
        return kerf_cmd_failed(err, &why);
    for (size_t i = 0; f->name[i] != NULL; i++) {
        why.text[0] = '\0';
        err = check_one(f, f->name[i], &why);
        if (err == KERF_OK)
            continue;
        if (f->json)
            kerf_json_line(kerf_json_signature(f->name[i], NULL, why.text));
        status = kerf_cmd_failed(err, &why);
    }
    return status;
}

int
kerf_cmd_sign(int argc, char **argv)
{
    kerf_engine_opts none = {0};
    int status = kerf_opts_parse(&command, argc, argv);

    if (status < 0)
        status = check_flags(&flags);
    if (status >= 0)
        return status;
    kerf_cmd_apply(&flags.common, &none);
    if (flags.new_key != NULL)
        return make_key(&flags);
    return flags.check ? check_all(&flags) : sign_all(&flags);
}
