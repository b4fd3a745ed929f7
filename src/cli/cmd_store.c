/*
 * cmd_store.c - `kerf store`: what models an edge has, whether they are right,
 * and room for others. Also while an edge runs.
 */
#include "cli/cmd.h"

#include "base/date.h"
#include "base/text.h"
#include "cli/json_line.h"
#include "cli/out.h"
#include "model/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char about[] =
    "Looks after an edge's folder of models, also while edges use it.\n"
    "list: what is there; verify: reads all of it, and takes damaged files "
    "away;\n"
    "gc: removes what no model needs, and with --store-max the models used\n"
    "least lately.";

typedef struct store_flags {
    const char *what, *end; /* end: NULL, no more words */
    const char *store, *store_max;
    uint64_t bound;
    bool json;
    kerf_cmd_common common;
} store_flags;

static int
parse(store_flags *f, int argc, char **argv)
{
    const kerf_opt table[] = {
        {.name = "store",
         .kind = KERF_OPT_TEXT,
         .to = &f->store,
         .value = "DIR",
         .help = "the folder"},
        {.name = "store-max",
         .kind = KERF_OPT_TEXT,
         .to = &f->store_max,
         .value = "SIZE",
         .help = "gc: bytes that may stay, as 500M"},
        {.name = "json",
         .kind = KERF_OPT_FLAG,
         .to = &f->json,
         .help = "one JSON object per line on stdout"},
        KERF_CMD_LOG_OPT(&f->common),
    };
    const kerf_command command = {.name = "store",
                                  .usage = "list|verify|gc [flags]",
                                  .about = about,
                                  .opt = table,
                                  .opt_count = sizeof table / sizeof *table,
                                  .arg = &f->what,
                                  .arg_least = 1,
                                  .arg_most = 1,
                                  .arg_name = "list|verify|gc"};
    int rc = kerf_opts_parse(&command, argc, argv);

    if (rc >= 0)
        return rc;
    kerf_cmd_apply_log(&f->common);
    if (strcmp(f->what, "list") != 0 && strcmp(f->what, "verify") != 0 &&
        strcmp(f->what, "gc") != 0)
        return kerf_usage_error("store", "%s: expected list, verify or gc",
                                f->what);
    if (f->store_max != NULL && strcmp(f->what, "gc") != 0)
        return kerf_usage_error("store", "--store-max goes with gc");
    if (f->store_max != NULL &&
        (!kerf_cmd_size(f->store_max, &f->bound) || f->bound == 0))
        return kerf_usage_error(
            "store", "--store-max %s: expected bytes, as 500M", f->store_max);
    return -1;
}

static const char *
state_of(const kerf_stored *s)
{
    if (s->is_coming)
        return s->is_held ? "coming in" : "broken off";
    if (s->missing > 0)
        return "damaged";
    return s->is_held ? "in use" : "kept";
}

static void
show(const kerf_stored *s, bool json)
{
    char id[KERF_SHA256_HEX];
    char date[KERF_DATE_TEXT];
    char size[32];

    kerf_hex(id, s->id, sizeof s->id);
    (void)kerf_date_text(date, s->used_s);
    if (json) {
        kerf_json_line(json_pack(
            "{s:s, s:s, s:s, s:I, s:I, s:s, s:s}", "event", "bundle", "name",
            s->name, "bundle", id, "bytes", (json_int_t)s->bytes, "missing",
            (json_int_t)s->missing, "used", date, "state", state_of(s)));
        return;
    }
    (void)printf("%.12s  %-24s  %9s  %s  %s\n", id, s->name,
                 kerf_text_bytes(size, sizeof size, s->bytes), date,
                 state_of(s));
}

static int
list(kerf_store *store, const store_flags *f)
{
    kerf_stored *all = NULL;
    kerf_detail why = {{0}};
    uint64_t bytes = 0;
    size_t count = 0;
    char size[32];
    kerf_err err = kerf_store_list(store, &all, &count, &bytes, &why);

    if (err != KERF_OK)
        return kerf_cmd_failed(err, &why);
    if (!f->json && count > 0)
        (void)printf("%-12s  %-24s  %9s  %-20s  %s\n", "bundle", "model",
                     "size", "used", "state");
    for (size_t i = 0; i < count; i++)
        show(&all[i], f->json);
    if (f->json) {
        kerf_json_line(json_pack("{s:s, s:I, s:I}", "event", "store", "bundles",
                                 (json_int_t)count, "bytes",
                                 (json_int_t)bytes));
    } else {
        (void)printf("%zu %s, %s\n", count, count == 1 ? "bundle" : "bundles",
                     kerf_text_bytes(size, sizeof size, bytes));
    }
    free(all);
    return 0;
}

struct findings {
    bool json;
    size_t count;
};

static void
tell(void *ctx, const char *what, const char *why)
{
    struct findings *findings = ctx;
    char safe[KERF_PART_NAME + 64];

    findings->count++;
    if (findings->json) {
        kerf_json_line(json_pack("{s:s, s:o, s:o}", "event", "finding", "file",
                                 kerf_json_text(what), "why",
                                 kerf_json_text(why)));
        return;
    }
    (void)printf("%s: %s\n", kerf_text_safe(safe, sizeof safe, what), why);
}

static int
verify(kerf_store *store, const store_flags *f)
{
    struct findings findings = {.json = f->json};
    kerf_detail why = {{0}};
    uint64_t checked = 0;
    char size[32];
    kerf_err err = kerf_store_verify(store, tell, &findings, &checked, &why);

    if (err != KERF_OK)
        return kerf_cmd_failed(err, &why);
    if (f->json) {
        kerf_json_line(json_pack("{s:s, s:I, s:I}", "event", "verified",
                                 "bytes", (json_int_t)checked, "findings",
                                 (json_int_t)findings.count));
    } else {
        (void)printf("%s are right%s\n",
                     kerf_text_bytes(size, sizeof size, checked),
                     findings.count > 0 ? "; the rest is said above" : "");
    }
    return findings.count > 0 ? 1 : 0;
}

static int
collect(kerf_store *store, const store_flags *f)
{
    kerf_detail why = {{0}};
    uint64_t freed = 0;
    size_t bundles = 0;
    char size[32];
    kerf_err err = kerf_store_collect(store, f->bound, &freed, &bundles, &why);

    if (f->json) {
        kerf_json_line(json_pack("{s:s, s:I, s:I}", "event", "freed", "bytes",
                                 (json_int_t)freed, "bundles",
                                 (json_int_t)bundles));
    } else {
        (void)printf("%s freed, %zu %s removed\n",
                     kerf_text_bytes(size, sizeof size, freed), bundles,
                     bundles == 1 ? "bundle" : "bundles");
    }
    return err == KERF_OK ? 0 : kerf_cmd_failed(err, &why);
}

int
kerf_cmd_store(int argc, char **argv)
{
    store_flags f = {.store = KERF_CMD_STORE};
    kerf_store *store = NULL;
    kerf_detail why = {{0}};
    int rc = parse(&f, argc, argv);
    kerf_err err;

    if (rc >= 0)
        return rc;
    err = kerf_store_look(&store, f.store, &why);
    if (err != KERF_OK)
        return kerf_cmd_failed(err, &why);
    if (strcmp(f.what, "list") == 0)
        rc = list(store, &f);
    else
        rc = strcmp(f.what, "gc") == 0 ? collect(store, &f) : verify(store, &f);
    kerf_store_close(store);
    kerf_out_flush();
    return rc;
}
