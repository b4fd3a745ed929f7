#include "cloud/registry.h"

#include "base/log.h"
#include "base/thread.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define QUIET_MS 200 /* after the last change in a folder */
#define WATCHES KERF_CLOUD_MAKER_DIRS
#define LEAVE_MS 1000 /* a disk that hangs is waited for, at the end */
#define AGAIN_S 1     /* after memory ran out, or an old one was lost */

/* What the loader found about one name. */
struct finding {
    struct finding *next;
    char name[KERF_NAME_MAX];
    kerf_served *served; /* counted; NULL: failed or removed */
    kerf_served *old;    /* counted; that it takes the place of */
    bool is_copy; /* old, signed anew, or found again; and nothing else */
    kerf_err err;
    kerf_detail why;
};

struct known { /* the loader's memory of what is there */
    char name[KERF_NAME_MAX];
    uint64_t stamp;
    int64_t newest_ns;
    bool serves;              /* one of it was found to be well */
    char id[KERF_SHA256_HEX]; /* of the newest that was; empty: none */
    /* The one before it is kept, and could not be loaded: */
    kerf_err lost;
    uint64_t lost_stamp;
};

struct kerf_registry {
    kerf_registry_opts opts;
    kerf_folder_watch *watch[WATCHES];
    kerf_loop *loop;
    kerf_post deliver;
    kerf_served *served[KERF_MODELS_MAX]; /* counted; the loop's */
    size_t count;

    struct known known[KERF_MODELS_MAX]; /* the loader's */
    size_t known_count;
    bool try_again; /* the loader's: memory ran out, or an old one is lost */
    atomic_bool on_disk; /* the loader reads or writes files of pairs */
    pthread_t loader;
    bool loader_runs;
    pthread_mutex_t lock;
    pthread_cond_t wanted;
    bool scan_wanted, stopping; /* under lock */
    struct finding *found;      /* under lock, newest first */
    bool telling;               /* under lock: the loop tells of some */
};

/* False: no memory for it. */
static bool
add_finding(kerf_registry *r, const char *name, kerf_served *served,
            kerf_served *before, kerf_err err, const kerf_detail *why)
{
    struct finding *f = calloc(1, sizeof *f);

    if (f == NULL) {
        kerf_served_unref(served);
        kerf_served_unref(before);
        return false;
    }
    (void)strncpy(f->name, name, sizeof f->name - 1);
    f->served = served;
    f->old = before;
    f->is_copy = served == NULL && before != NULL;
    f->err = err;
    f->why = *why;
    (void)pthread_mutex_lock(&r->lock);
    f->next = r->found;
    r->found = f;
    (void)pthread_mutex_unlock(&r->lock);
    return true;
}

static struct known *
find_known(kerf_registry *r, const char *name)
{
    for (size_t i = 0; i < r->known_count; i++) {
        if (strcmp(r->known[i].name, name) == 0)
            return &r->known[i];
    }
    return NULL;
}

static kerf_err
read_pair(kerf_registry *r, kerf_pair *pair, const char *dir, const char *name,
          kerf_detail *why)
{
    kerf_err err;

    atomic_store(&r->on_disk, true);
    err = kerf_pair_read(pair, dir, name, why);
    atomic_store(&r->on_disk, false);
    return err;
}

static void
keep(kerf_registry *r, const kerf_pair *pair, int64_t newest_ns)
{
    if (r->opts.keep == NULL)
        return;
    atomic_store(&r->on_disk, true);
    r->opts.keep(r->opts.ctx, pair, newest_ns);
    atomic_store(&r->on_disk, false);
}

/* A copy of a pair, in a folder that has its id as name. */
static kerf_err
load_copy(kerf_registry *r, const struct known *at, const char *dir,
          kerf_served **out, kerf_detail *detail)
{
    kerf_served *served = NULL;
    kerf_pair pair = {0};
    kerf_detail why = {{0}};
    int64_t newest_ns = 0;
    kerf_err err = read_pair(r, &pair, dir, at->name, &why);

    if (err == KERF_OK)
        err = kerf_served_new(&served, r->opts.engine, &pair, &r->opts.served,
                              &why);
    if (err == KERF_OK && strcmp(served->id, kerf_path_base(dir)) != 0) {
        kerf_served_unref(served);
        served = NULL;
        err = kerf_fail(&why, KERF_EMISMATCH, "the files in %s were changed",
                        dir);
    }
    kerf_pair_fini(&pair);
    if (err != KERF_OK) {
        *detail = why;
        return err;
    }
    (void)kerf_pair_stamp(dir, at->name, &newest_ns);
    served->newest_ns =
        newest_ns < at->newest_ns ? newest_ns : at->newest_ns - 1;
    *out = served;
    return KERF_OK;
}

/* NULL: it cannot be loaded now. */
static kerf_served *
load_old(kerf_registry *r, struct known *at, const char *dir)
{
    kerf_served *served = NULL;
    kerf_detail why = {{0}};
    kerf_err was = at->lost;
    int64_t newest_ns = 0;

    at->lost_stamp = kerf_pair_stamp(dir, at->name, &newest_ns);
    at->lost = load_copy(r, at, dir, &served, &why);
    r->try_again |= at->lost != KERF_OK;
    if (at->lost != KERF_OK && at->lost != was) {
        kerf_log(KERF_LOG_WARN, "cloud.old_lost", "model=%s why=%s do=%s",
                 at->name, KERF_Q(why.text),
                 KERF_Q("put the old pair back into its folder in pairs of "
                        "--rollout-dir, or kerf rollout 100%"));
    }
    return served;
}

/* The pair that came before, in an earlier run of the cloud; NULL: none. id as
 * in kerf_registry_opts. */
static kerf_served *
load_before(kerf_registry *r, struct known *at, const char *id)
{
    char dir[KERF_PATH_MAX];

    if (at->serves || r->opts.before == NULL ||
        !r->opts.before(r->opts.ctx, at->name, id, dir))
        return NULL;
    return load_old(r, at, dir);
}

/* Whether it may be otherwise soon, though the files are the same. */
static bool
is_passing(kerf_err err)
{
    return err == KERF_ENOMEM || err == KERF_EIO;
}

/* It may be there again, or memory. */
static void
look_for_lost(kerf_registry *r, struct known *at)
{
    static const kerf_detail none;
    char dir[KERF_PATH_MAX];
    int64_t newest_ns = 0;
    kerf_served *old;

    if (at->lost == KERF_OK)
        return;
    if (!r->opts.before(r->opts.ctx, at->name,
                        at->id[0] != '\0' ? at->id : NULL, dir)) {
        at->lost = KERF_OK; /* nobody needs it any more */
        return;
    }
    r->try_again = true;
    if (!is_passing(at->lost) &&
        kerf_pair_stamp(dir, at->name, &newest_ns) == at->lost_stamp)
        return;
    old = load_old(r, at, dir);
    if (old == NULL)
        return;
    if (!add_finding(r, at->name, at->serves ? NULL : old,
                     at->serves ? old : NULL, KERF_OK, &none))
        at->lost = KERF_ENOMEM;
    else
        at->serves = true;
}

/* The copy of the old one may have been signed anew. */
static void
look_at_copy(kerf_registry *r, const char *name)
{
    static const kerf_detail none;
    const struct known *at = find_known(r, name);
    char dir[KERF_PATH_MAX];
    kerf_signed had, has;
    kerf_statement says;
    kerf_detail why = {{0}};
    kerf_served *old = NULL;

    if (at == NULL || r->opts.kept == NULL ||
        !r->opts.kept(r->opts.ctx, name, dir, &had) ||
        kerf_pair_sig_read(&has, &says, dir, name, NULL) != KERF_OK ||
        kerf_signed_equal(&had, &has))
        return;
    if (load_copy(r, at, dir, &old, &why) != KERF_OK)
        kerf_log(KERF_LOG_WARN, "cloud.copy_not_read", "model=%s why=%s", name,
                 KERF_Q(why.text));
    else if (!kerf_signed_equal(&old->manifest.sig, &had))
        (void)add_finding(r, name, NULL, old, KERF_OK, &none);
    else
        kerf_served_unref(old); /* it is of other files */
}

/* Reads or makes a pair, compiles, proves and reports it. False: memory ran
 * out, which may be otherwise soon. */
static bool
load_one(kerf_registry *r, struct known *at)
{
    static const kerf_detail none;
    kerf_served *before = NULL;
    const kerf_cloud_maker *maker = r->opts.maker;
    kerf_served *served = NULL;
    kerf_pair pair = {0};
    kerf_detail why = {{0}};
    kerf_err err = maker != NULL
                       ? maker->make(maker->ctx, r->opts.engine, &pair, &why)
                       : read_pair(r, &pair, r->opts.dir, at->name, &why);

    if (err == KERF_OK)
        keep(r, &pair, at->newest_ns);
    if (err == KERF_OK)
        err = kerf_served_new(&served, r->opts.engine, &pair, &r->opts.served,
                              &why);
    if (err == KERF_OK) {
        served->stamp = at->stamp;
        served->newest_ns = at->newest_ns;
        memcpy(at->id, served->id, sizeof at->id);
    } else if (why.text[0] == '\0') {
        (void)kerf_fail(&why, err, "%s", kerf_err_text(err));
    }
    kerf_pair_fini(&pair);
    before = load_before(r, at, served != NULL ? served->id : NULL);
    at->serves |= served != NULL || before != NULL;
    if (err != KERF_OK && before != NULL) { /* it goes on */
        if (!add_finding(r, at->name, before, NULL, KERF_OK, &none))
            return false;
        before = NULL;
    }
    return add_finding(r, at->name, served, before, err, &why) &&
           err != KERF_ENOMEM;
}

/* The copy of the old one. */
static void
look_at_kept(kerf_registry *r, const char *name)
{
    struct known *at = find_known(r, name);

    if (at != NULL)
        look_for_lost(r, at);
    look_at_copy(r, name);
}

static uint64_t
stamp_of(kerf_registry *r, const char *name, int64_t *newest_ns)
{
    const kerf_cloud_maker *maker = r->opts.maker;

    return maker != NULL ? maker->stamp(maker->ctx, newest_ns)
                         : kerf_pair_stamp(r->opts.dir, name, newest_ns);
}

/* Looks at one name; loads it when it is new or has changed. */
static void
look_at(kerf_registry *r, const char *name)
{
    struct known *k = find_known(r, name);
    int64_t newest_ns = 0;
    uint64_t stamp = stamp_of(r, name, &newest_ns);

    if (k != NULL && k->stamp == stamp)
        return;
    if (k == NULL) {
        k = &r->known[r->known_count++]; /* names are KERF_MODELS_MAX */
        *k = (struct known){0};
        (void)strncpy(k->name, name, sizeof k->name - 1);
    }
    k->stamp = stamp;
    k->newest_ns = newest_ns;
    if (!load_one(r, k)) {
        k->stamp = 0; /* as if it had changed */
        r->try_again = true;
    }
}

static void
forget_removed(kerf_registry *r, const kerf_names *names)
{
    static const kerf_detail none;

    for (size_t i = 0; i < r->known_count;) {
        bool there = false;

        for (size_t n = 0; n < names->count && !there; n++)
            there = strcmp(names->name[n], r->known[i].name) == 0;
        if (there) {
            i++;
            continue;
        }
        if (!add_finding(r, r->known[i].name, NULL, NULL, KERF_OK, &none)) {
            r->try_again = true;
            i++;
            continue;
        }
        r->known[i] = r->known[--r->known_count];
    }
}

static bool
is_stopping(kerf_registry *r)
{
    bool stopping;

    (void)pthread_mutex_lock(&r->lock);
    stopping = r->stopping;
    (void)pthread_mutex_unlock(&r->lock);
    return stopping;
}

static kerf_err
scan(kerf_registry *r, kerf_detail *why)
{
    kerf_names names = {0};
    kerf_err err;

    r->try_again = false;
    if (r->opts.maker != NULL) {
        look_at(r, r->opts.maker->name);
        look_at_kept(r, r->opts.maker->name);
        return KERF_OK;
    }
    err = kerf_pair_names(r->opts.dir, &names, why);
    r->try_again = err == KERF_ENOMEM;
    if (err != KERF_OK)
        return err;
    forget_removed(r, &names);
    for (size_t i = 0; i < names.count && !is_stopping(r); i++) {
        look_at(r, names.name[i]);
        look_at_kept(r, names.name[i]);
    }
    kerf_names_free(&names);
    return KERF_OK;
}

/* Under lock: the loop does not know yet what the last scan found. The next one
 * waits: it asks which pair came before another one, and what may be removed.
 */
static bool
is_untold(const kerf_registry *r)
{
    return r->found != NULL || r->telling;
}

/* Under lock: until there is something to look at. */
static void
wait_for_wish(kerf_registry *r)
{
    struct timespec until;

    if (!r->try_again || is_untold(r)) {
        (void)pthread_cond_wait(&r->wanted, &r->lock);
        return;
    }
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += AGAIN_S;
    if (pthread_cond_timedwait(&r->wanted, &r->lock, &until) == ETIMEDOUT)
        r->scan_wanted = true;
}

static void *
run_loader(void *ctx)
{
    kerf_registry *r = ctx;

    kerf_thread_begin("kerf-loader");
    (void)pthread_mutex_lock(&r->lock);
    while (!r->stopping) {
        if (!r->scan_wanted || is_untold(r)) {
            wait_for_wish(r);
            continue;
        }
        r->scan_wanted = false;
        (void)pthread_mutex_unlock(&r->lock);
        kerf_detail why = {{0}};
        if (scan(r, &why) != KERF_OK)
            kerf_log(KERF_LOG_WARN, "cloud.scan_failed", "why=%s",
                     KERF_Q(why.text));
        (void)pthread_mutex_lock(&r->lock);
        if (r->found != NULL) /* else it would be in the midst of the next */
            kerf_loop_post(r->loop, &r->deliver);
    }
    (void)pthread_mutex_unlock(&r->lock);
    return NULL;
}

static void
ask_scan(void *ctx)
{
    kerf_registry *r = ctx;

    (void)pthread_mutex_lock(&r->lock);
    r->scan_wanted = true;
    (void)pthread_mutex_unlock(&r->lock);
    (void)pthread_cond_signal(&r->wanted);
}

void
kerf_registry_look(kerf_registry *r)
{
    ask_scan(r);
}

static size_t
find_served(const kerf_registry *r, const char *name)
{
    for (size_t i = 0; i < r->count; i++) {
        if (strcmp(r->served[i]->manifest.name, name) == 0)
            return i;
    }
    return KERF_MODELS_MAX;
}

static void
apply(kerf_registry *r, struct finding *f)
{
    size_t at = find_served(r, f->name);
    kerf_served *old = at < r->count ? r->served[at] : NULL;

    if (f->err != KERF_OK || f->is_copy || (f->served == NULL && old == NULL))
        return;
    if (f->served == NULL)
        r->served[at] = r->served[--r->count];
    else if (old != NULL)
        r->served[at] = f->served;
    else
        r->served[r->count++] = f->served; /* as many names as known at most */
    if (old != NULL) { /* else that of an earlier run, or none */
        kerf_served_unref(f->old);
        f->old = old;
    }
}

static void
tell(kerf_registry *r, struct finding *f)
{
    bool has_old = find_served(r, f->name) < r->count;

    if (f->err != KERF_OK && has_old)
        (void)kerf_fail_in(&f->why, f->err,
                           "the one before it still is, this one cannot be");
    if (f->err != KERF_OK)
        r->opts.failed(r->opts.ctx, f->name, f->err, f->why.text);
    else if (f->is_copy)
        r->opts.signed_again(r->opts.ctx, f->old);
    else if (f->served != NULL || f->old != NULL)
        r->opts.changed(r->opts.ctx, f->served, f->old);
}

static void
offer(kerf_registry *r, const struct finding *f)
{
    if (f->err == KERF_OK && (f->served != NULL || f->old != NULL))
        r->opts.offer(r->opts.ctx, f->served);
}

static void
deliver(void *ctx)
{
    kerf_registry *r = ctx;
    struct finding *list;
    struct finding *in_order = NULL;

    (void)pthread_mutex_lock(&r->lock);
    list = r->found;
    r->found = NULL;
    r->telling = true;
    (void)pthread_mutex_unlock(&r->lock);
    while (list != NULL) {
        struct finding *next = list->next;

        list->next = in_order;
        in_order = list;
        list = next;
    }
    /* All first: which one to run depends on all that is there, and on what is
     * known of each. */
    for (struct finding *f = in_order; f != NULL; f = f->next)
        apply(r, f);
    for (struct finding *f = in_order; f != NULL; f = f->next)
        tell(r, f);
    while (in_order != NULL) {
        struct finding *next = in_order->next;

        offer(r, in_order);
        kerf_served_unref(in_order->old);
        free(in_order);
        in_order = next;
    }
    (void)pthread_mutex_lock(&r->lock);
    r->telling = false;
    (void)pthread_mutex_unlock(&r->lock);
    (void)pthread_cond_signal(&r->wanted);
}

static bool
counts(void *ctx, const char *name)
{
    const kerf_cloud_maker *maker = ((kerf_registry *)ctx)->opts.maker;

    return maker != NULL ? maker->counts(maker->ctx, name)
                         : kerf_pair_has_name(name);
}

static kerf_err
watch(kerf_registry *r, kerf_detail *why)
{
    const kerf_cloud_maker *maker = r->opts.maker;
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < WATCHES && err == KERF_OK; i++) {
        const char *dir = maker != NULL ? maker->dir[i]
                          : i == 0      ? r->opts.dir
                                        : NULL;

        if (dir != NULL)
            err = kerf_folder_watch_new(&r->watch[i], r->loop, dir, QUIET_MS, 0,
                                        counts, ask_scan, r, why);
    }
    return err;
}

/* What the first scan says of the only pair. */
static kerf_err
check_only(const kerf_registry *r, kerf_detail *why)
{
    if (r->found == NULL)
        return KERF_ENOMEM;
    if (r->found->err != KERF_OK && why != NULL)
        *why = r->found->why;
    return r->found->err;
}

/* What is there now, and the thread that follows it. */
static kerf_err
follow(kerf_registry *r, kerf_detail *why)
{
    kerf_err err;

    /* Watch first: a change during the scan must not be missed. */
    err = watch(r, why);
    if (err == KERF_OK)
        err = scan(r, why);
    if (err == KERF_OK && r->opts.maker != NULL)
        err = check_only(r, why);
    if (err == KERF_OK && pthread_create(&r->loader, NULL, run_loader, r) != 0)
        err = kerf_fail(why, KERF_ENOMEM, "cannot start a thread");
    r->loader_runs = err == KERF_OK;
    return err;
}

kerf_err
kerf_registry_new(kerf_registry **out, kerf_loop *loop,
                  const kerf_registry_opts *opts, kerf_detail *why)
{
    kerf_registry *r = calloc(1, sizeof *r);
    kerf_err err;

    if (r == NULL)
        return KERF_ENOMEM;
    r->opts = *opts;
    r->loop = loop;
    r->deliver = (kerf_post){.fn = deliver, .ctx = r};
    (void)pthread_mutex_init(&r->lock, NULL);
    (void)pthread_cond_init(&r->wanted, NULL);
    err = follow(r, why);
    if (err != KERF_OK) {
        kerf_registry_free(r);
        return err;
    }
    *out = r;
    return KERF_OK;
}

void
kerf_registry_start(kerf_registry *r)
{
    deliver(r);
}

bool
kerf_registry_stop(kerf_registry *r)
{
    if (r == NULL || !r->loader_runs)
        return true;
    (void)pthread_mutex_lock(&r->lock);
    r->stopping = true;
    (void)pthread_mutex_unlock(&r->lock);
    (void)pthread_cond_signal(&r->wanted);
    while (!kerf_thread_join(r->loader, LEAVE_MS)) {
        if (atomic_load(&r->on_disk)) /* else it compiles, which ends */
            return false;
    }
    r->loader_runs = false;
    return true;
}

void
kerf_registry_free(kerf_registry *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < WATCHES; i++)
        kerf_folder_watch_free(r->watch[i]);
    while (r->found != NULL) {
        struct finding *next = r->found->next;

        kerf_served_unref(r->found->served);
        kerf_served_unref(r->found->old);
        free(r->found);
        r->found = next;
    }
    for (size_t i = 0; i < r->count; i++)
        kerf_served_unref(r->served[i]);
    (void)pthread_cond_destroy(&r->wanted);
    (void)pthread_mutex_destroy(&r->lock);
    free(r);
}

size_t
kerf_registry_count(const kerf_registry *r)
{
    return r->count;
}

kerf_served *
kerf_registry_at(const kerf_registry *r, size_t i)
{
    return r->served[i];
}
