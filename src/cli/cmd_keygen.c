/*
 * cmd_keygen.c - `kerf keygen`: a fleet's authority, and a key and certificate
 * for each of its clouds and edges.
 */
#include "cli/cmd.h"

#include "base/fs.h"
#include "base/hash.h"
#include "cli/json_line.h"
#include "cli/out.h"
#include "trust/fleet.h"
#include "trust/pem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DAYS_AUTHORITY 3650
#define DAYS_OTHERS 365
#define SOON_S INT64_C(2592000) /* 30 days */

static struct {
    const char *keys, *name, *from;
    int days, key;
    bool days_given, name_given, force, replace, earlier, all, json;
    kerf_fleet_ask ask;
    const char *word[KERF_LIST_MAX];
} args = {.keys = "keys"};

static const kerf_opt table[] = {
    {.name = "keys",
     .kind = KERF_OPT_TEXT,
     .to = &args.keys,
     .value = "DIR",
     .help = "the fleet's keys; keep it off the clouds and edges"},
    {.name = "name",
     .kind = KERF_OPT_TEXT,
     .to = &args.name,
     .given = &args.name_given,
     .value = "NAME",
     .no_default = true,
     .help = "of the authority or cloud that is made; default: kerf, cloud"},
    {.name = "days",
     .kind = KERF_OPT_INT,
     .to = &args.days,
     .given = &args.days_given,
     .min = 1,
     .max = 36500,
     .no_default = true,
     .help = "how long it is valid; default: 3650 an authority, 365 others"},
    {.name = "from",
     .kind = KERF_OPT_TEXT,
     .to = &args.from,
     .value = "DATE",
     .no_default = true,
     .help = "first day, as 2027-01-31, UTC; default: at once"},
    {.name = "key",
     .kind = KERF_OPT_CHOICE,
     .to = &args.key,
     .choices = "ed25519|p256",
     .help = "kind of key"},
    {.name = "force",
     .kind = KERF_OPT_FLAG,
     .to = &args.force,
     .help = "make anew what is there, or was revoked"},
    {.name = "replace",
     .kind = KERF_OPT_FLAG,
     .to = &args.replace,
     .help = "with renew: revoke the certificates before it"},
    {.name = "earlier",
     .kind = KERF_OPT_FLAG,
     .to = &args.earlier,
     .help = "with revoke: all of the name but the last"},
    {.name = "all",
     .kind = KERF_OPT_FLAG,
     .to = &args.all,
     .help = "with list: earlier certificates too, with serial numbers"},
    {.name = "json",
     .kind = KERF_OPT_FLAG,
     .to = &args.json,
     .help = "with list: one JSON object per line"},
};

static const kerf_command command = {
    .name = "keygen",
    .usage =
        "authority | cloud HOST... | edge NAME... | renew NAME... |\n"
        "                   revoke NAME|SERIAL... | retire | list  [flags]",
    .about =
        "Makes the keys of a fleet: an authority, then a folder for each cloud "
        "and each\nedge, to be copied there and given to --tls.",
    .opt = table,
    .opt_count = sizeof table / sizeof *table,
    .arg = args.word,
    .arg_least = 1,
    .arg_most = KERF_LIST_MAX,
    .arg_name = "what to do"};

static bool
read_day(const char *text, int64_t *out)
{
    struct tm tm = {0};
    const char *end = strptime(text, "%Y-%m-%d", &tm);

    if (end == NULL || *end != '\0')
        return false;
    *out = (int64_t)timegm(&tm);
    return *out > 0;
}

/* Doing. */

static void
say_copy(kerf_fleet *f, kerf_side side, const char *name)
{
    const kerf_issued *k = kerf_index_find(kerf_fleet_index(f), name);
    char dir[KERF_PATH_MAX];
    char day[16];

    (void)printf("%s %s%s%s: valid until %s\n"
                 "  copy %s to it, readable for its user alone; there: kerf %s "
                 "--tls %s\n",
                 side == KERF_SIDE_CLOUD ? "Cloud" : "Edge", name,
                 k->hosts[0] != '\0' ? ", at " : "", k->hosts,
                 kerf_cert_day(day, k->until_s),
                 kerf_fleet_path(f, dir, side, name), kerf_side_name(side),
                 name);
    if (k->until_s == kerf_fleet_until(f) &&
        k->until_s < (int64_t)time(NULL) + (int64_t)args.ask.days * 86400)
        (void)printf("  (that is when the authority ends: kerf keygen renew "
                     "authority)\n");
}

static kerf_err
make_authority(kerf_detail *why)
{
    const char *name = args.name != NULL ? args.name : "kerf";
    kerf_err err = kerf_fleet_make(args.keys, name, &args.ask, why);

    if (err == KERF_OK) {
        (void)printf(
            "Authority %s is made: %s/authority\n"
            "  whoever has it can join the fleet as anything: copy it to no "
            "cloud and no edge\n"
            "  next: kerf keygen cloud HOST..., with the names and addresses "
            "by which edges\n"
            "  reach the cloud; kerf keygen edge NAME...\n",
            name, args.keys);
    }
    return err;
}

static kerf_err
make_cloud(kerf_fleet *f, size_t count, kerf_detail *why)
{
    const char *name = args.name != NULL ? args.name : "cloud";
    kerf_err err = kerf_fleet_issue(f, KERF_SIDE_CLOUD, name, args.word + 1,
                                    count, &args.ask, why);

    if (err == KERF_OK)
        say_copy(f, KERF_SIDE_CLOUD, name);
    return err;
}

static kerf_err
make_edges(kerf_fleet *f, size_t count, kerf_detail *why)
{
    kerf_err err = KERF_OK;

    for (size_t i = 1; err == KERF_OK && i <= count; i++) {
        err = kerf_fleet_issue(f, KERF_SIDE_EDGE, args.word[i], NULL, 0,
                               &args.ask, why);
        if (err == KERF_OK)
            say_copy(f, KERF_SIDE_EDGE, args.word[i]);
    }
    return err;
}

static kerf_err
renew_authority(kerf_fleet *f, kerf_detail *why)
{
    kerf_err err;

    if (!args.days_given)
        args.ask.days = DAYS_AUTHORITY;
    err = kerf_fleet_rotate(f, &args.ask, why);
    if (err == KERF_OK) {
        (void)printf(
            "A new authority is made, and the old one is still trusted.\n"
            "  1. copy ca.crt and crl.pem of each folder in %s to its cloud "
            "or edge\n"
            "  2. kerf keygen renew NAME... for all of them, and copy the "
            "folders\n"
            "  3. kerf keygen retire, and copy ca.crt and crl.pem once more\n"
            "  Running clouds and edges take what is copied, without a "
            "restart.\n",
            args.keys);
    }
    return err;
}

static void
say_earlier(const kerf_fleet *f, const char *name)
{
    int64_t until_s = kerf_fleet_earlier(f, name);
    char day[16];

    if (until_s == 0)
        return;
    (void)printf("  the one before stays valid until %s: if somebody may have "
                 "its key,\n"
                 "  kerf keygen revoke %s --earlier\n",
                 kerf_cert_day(day, until_s), name);
}

static void
say_list(const kerf_fleet *f, bool edges)
{
    size_t count = kerf_fleet_revoked(f);

    (void)printf("  copy crl.pem of each folder in %s/clouds%s to it: a "
                 "running one takes it, and ends\n"
                 "  sessions that are revoked\n",
                 args.keys, edges ? " and edges" : "");
    if (count > KERF_REVOKED_MAX - KERF_REVOKED_MAX / 4)
        (void)printf("  (%zu are revoked and have not expired, of %u that "
                     "clouds take: think of a new authority)\n",
                     count, KERF_REVOKED_MAX);
}

static kerf_err
renew(kerf_fleet *f, size_t count, kerf_detail *why)
{
    kerf_err err = KERF_OK;

    for (size_t i = 1; err == KERF_OK && i <= count; i++) {
        if (strcmp(args.word[i], "authority") == 0) {
            err = renew_authority(f, why);
            continue;
        }
        err = kerf_fleet_renew(f, args.word[i], &args.ask, why);
        if (err != KERF_OK)
            break;
        say_copy(f, kerf_index_find(kerf_fleet_index(f), args.word[i])->side,
                 args.word[i]);
        say_earlier(f, args.word[i]);
    }
    if (err == KERF_OK && args.replace)
        say_list(f, true);
    return err;
}

static kerf_err
revoke(kerf_fleet *f, size_t count, kerf_detail *why)
{
    bool cloud = false;
    kerf_err err = KERF_OK;

    for (size_t i = 1; err == KERF_OK && i <= count; i++) {
        const kerf_issued *k;

        err = kerf_fleet_revoke(f, args.word[i], args.earlier, why);
        if (err != KERF_OK)
            break;
        k = kerf_index_find(kerf_fleet_index(f), args.word[i]);
        cloud |= k == NULL || k->side == KERF_SIDE_CLOUD; /* a serial's? */
        (void)printf("%s%s is revoked\n", args.word[i],
                     args.earlier ? ": all but the last" : "");
    }
    if (err == KERF_OK)
        say_list(f, cloud);
    return err;
}

static kerf_err
retire(kerf_fleet *f, kerf_detail *why)
{
    kerf_err err = kerf_fleet_retire(f, args.force, why);

    if (err == KERF_OK) {
        (void)printf("The old authority is retired: copy ca.crt and crl.pem of "
                     "each folder in %s to its\n"
                     "  cloud or edge\n",
                     args.keys);
    }
    return err;
}

/* Of an old authority, where a new one is in use. */
static const char *
state_of(const kerf_index *index, const kerf_issued *k, int64_t now_s)
{
    if (k->revoked_s != 0)
        return "revoked";
    if (k->until_s <= now_s)
        return "expired";
    if (k->issuer < index->oldest)
        return "retired";
    if (k->from_s > now_s)
        return "not yet";
    if (k->issuer < index->newest || k->until_s < now_s + SOON_S)
        return "renew it";
    return "valid";
}

static kerf_err
list(kerf_fleet *f)
{
    const kerf_index *index = kerf_fleet_index(f);
    int64_t now_s = (int64_t)time(NULL);
    char day[16];

    if (!args.json)
        (void)printf("%-10s %-9s %-24s %-10s  %s\n", "state", "side", "name",
                     "until", args.all ? "serial, at" : "at");
    for (size_t i = 0; i < index->count; i++) {
        const kerf_issued *k = &index->issued[i];
        char serial[KERF_CERT_SERIAL];

        if (!args.all && kerf_index_find(index, k->name) != k)
            continue; /* there is a newer one */
        (void)kerf_cert_day(day, k->until_s);
        kerf_hex(serial, k->serial, sizeof k->serial);
        if (args.json) {
            kerf_json_line(
                json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "event", "key",
                          "side", kerf_side_name(k->side), "name", k->name,
                          "state", state_of(index, k, now_s), "until", day,
                          "hosts", k->hosts, "serial", serial));
        } else {
            (void)printf("%-10s %-9s %-24s %-10s  %s%s%s\n",
                         state_of(index, k, now_s), kerf_side_name(k->side),
                         k->name, day, args.all ? serial : "",
                         args.all ? " " : "", k->hosts);
        }
    }
    (void)kerf_cert_day(day, kerf_fleet_until(f));
    if (args.json) {
        kerf_json_line(json_pack("{s:s, s:s, s:b}", "event", "authority",
                                 "until", day, "old_one_trusted",
                                 index->oldest < index->newest));
    } else {
        (void)printf("The authority is valid until %s%s\n", day,
                     index->oldest < index->newest
                         ? "; the one before is still trusted"
                         : "");
    }
    return KERF_OK;
}

static const struct action {
    const char *name;
    bool takes; /* words */
} actions[] = {{"authority", false}, {"cloud", true},  {"edge", true},
               {"renew", true},      {"revoke", true}, {"retire", false},
               {"list", false}};
#define ACTION_COUNT (sizeof actions / sizeof *actions)

/* Returns -1: go on. */
static int
check(size_t count)
{
    const char *name = args.word[0];
    const struct action *a = NULL;

    for (size_t i = 0; i < ACTION_COUNT; i++) {
        if (strcmp(actions[i].name, name) == 0)
            a = &actions[i];
    }
    if (a == NULL) {
        return kerf_usage_error("keygen",
                                "%s: expected authority, cloud, edge, renew, "
                                "revoke, retire or list",
                                name);
    }
    if (a->takes && count == 0) {
        return kerf_usage_error(
            "keygen",
            strcmp(name, "cloud") == 0
                ? "%s: give the names and addresses by which edges reach it"
                : "%s: give a name",
            name);
    }
    if (!a->takes && count > 0)
        return kerf_usage_error("keygen", "%s takes no %s", name, args.word[1]);
    if (args.name_given && strcmp(name, "cloud") != 0 &&
        strcmp(name, "authority") != 0)
        return kerf_usage_error("keygen",
                                "--name goes with authority and cloud");
    if (args.json && strcmp(name, "list") != 0)
        return kerf_usage_error("keygen", "--json goes with list");
    if (args.all && strcmp(name, "list") != 0)
        return kerf_usage_error("keygen", "--all goes with list");
    if (args.earlier && strcmp(name, "revoke") != 0)
        return kerf_usage_error("keygen", "--earlier goes with revoke");
    if (args.replace && strcmp(name, "renew") != 0)
        return kerf_usage_error("keygen", "--replace goes with renew");
    if (args.from != NULL && !read_day(args.from, &args.ask.from_s))
        return kerf_usage_error(
            "keygen", "--from %s: expected a day, as 2027-01-31", args.from);
    args.ask.days = args.days_given                  ? args.days
                    : strcmp(name, "authority") == 0 ? DAYS_AUTHORITY
                                                     : DAYS_OTHERS;
    args.ask.key = (kerf_key_kind)args.key;
    args.ask.force = args.force;
    args.ask.replace = args.replace;
    return -1;
}

static kerf_err
act(const char *name, size_t count, kerf_detail *why)
{
    kerf_fleet *f = NULL;
    kerf_err err;

    if (strcmp(name, "authority") == 0)
        return make_authority(why);
    err = kerf_fleet_open(&f, args.keys, why);
    if (err != KERF_OK)
        return err;
    if (strcmp(name, "cloud") == 0)
        err = make_cloud(f, count, why);
    else if (strcmp(name, "edge") == 0)
        err = make_edges(f, count, why);
    else if (strcmp(name, "renew") == 0)
        err = renew(f, count, why);
    else if (strcmp(name, "revoke") == 0)
        err = revoke(f, count, why);
    else if (strcmp(name, "retire") == 0)
        err = retire(f, why);
    else
        err = list(f);
    kerf_fleet_close(f);
    return err;
}

int
kerf_cmd_keygen(int argc, char **argv)
{
    kerf_detail why = {{0}};
    int status = kerf_opts_parse(&command, argc, argv);
    size_t count = 0;
    kerf_err err;

    if (status >= 0)
        return status;
    while (count + 1 < KERF_LIST_MAX && args.word[count + 1] != NULL)
        count++;
    status = check(count);
    if (status >= 0)
        return status;
    err = act(args.word[0], count, &why);
    kerf_out_flush();
    return err == KERF_OK ? 0 : kerf_cmd_failed(err, &why);
}
