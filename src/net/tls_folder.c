/*
 * The folder is read, and what is in it is checked, on a thread of libuv's: its
 * disk may be slow, or of another machine. One job at a time; what it found is
 * taken on the loop. While it is away, the folder may be closed: then the job
 * ends for nobody.
 */
#include "net/tls_folder.h"

#include "base/fs.h"
#include "base/log.h"
#include "base/text.h"
#include "net/loop_uv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define QUIET_MS 300   /* of a folder into which somebody copies */
#define LATEST_MS 2000 /* a revocation waits for nobody who writes on */
#define AGAIN_MS 60000 /* to what was not taken: it may become valid */
#define HOUR_MS 3600000
#define SOON_S 2592000 /* 30 days: tell that it ends */
#define TELL_S INT64_C(86400)

#define ALL_PARTS \
    (KERF_PART_AUTHORITY | KERF_PART_REVOKED | KERF_PART_KEY | KERF_PART_ACCESS)

/* One look at the folder. Of a thread of libuv's while it is away. */
struct job {
    uv_work_t work;
    kerf_tls_folder *folder; /* the loop's; NULL: closed meanwhile */
    kerf_tls *now;           /* counted */
    char dir[KERF_PATH_MAX];
    kerf_tls *next; /* or NULL */
    unsigned kept;
    kerf_err err;
    kerf_detail why;
};

struct kerf_tls_folder {
    kerf_loop *loop;
    struct job *job; /* away, or NULL */
    bool again;      /* something changed since it went */
    kerf_tls *now, *before;
    kerf_side side;
    char dir[KERF_PATH_MAX];
    kerf_folder_watch *watch;
    kerf_timer *timer;
    kerf_loop_fn *changed;
    void *ctx;
    char said[sizeof(kerf_detail)]; /* why it was not taken; "": it was */
    int64_t said_s;                 /* when */
    int64_t told_s;                 /* when, that it ends soon */
};

/* The first time: all of it. */
static kerf_err
load(kerf_tls_folder *f, kerf_detail *why)
{
    kerf_creds *creds = NULL;
    kerf_err err = kerf_creds_load(&creds, f->dir, f->side, why);

    if (err == KERF_OK)
        err = kerf_tls_new(&f->now, creds, why);
    kerf_creds_unref(creds);
    return err;
}

/* Later: what is good. */
static kerf_err
reload(const struct job *job, unsigned keep, kerf_tls **out, unsigned *kept,
       kerf_detail *why)
{
    kerf_creds *creds = NULL;
    kerf_err err = kerf_creds_reload(&creds, kerf_tls_creds(job->now), job->dir,
                                     keep, kept, why);

    if (err == KERF_OK)
        err = kerf_tls_new(out, creds, why);
    kerf_creds_unref(creds);
    return err;
}

static void
run_job(uv_work_t *work)
{
    struct job *job = work->data;

    job->err = reload(job, 0, &job->next, &job->kept, &job->why);
    if (job->err != KERF_OK && job->err != KERF_ENOENT) {
        kerf_detail other = {{0}}; /* a key that TLS refuses? */
        unsigned others = 0;

        job->kept = ALL_PARTS;
        if (reload(job, KERF_PART_KEY, &job->next, &others, &other) == KERF_OK)
            job->kept = others | KERF_PART_KEY;
    }
}

/* Once a day. */
static void
tell_end(kerf_tls_folder *f)
{
    const kerf_creds *creds = kerf_tls_creds(f->now);
    int64_t now_s = (int64_t)time(NULL);
    char day[16];

    if (kerf_creds_until(creds) > now_s + SOON_S || now_s < f->told_s + TELL_S)
        return;
    f->told_s = now_s;
    kerf_log(KERF_LOG_WARN, "tls.ends_soon",
             "name=%s until=%s: kerf keygen renew %s, and copy it here",
             kerf_creds_name(creds),
             kerf_cert_day(day, kerf_creds_until(creds)),
             kerf_creds_name(creds));
}

/* At once, and each hour. */
static void
tell_not_taken(kerf_tls_folder *f, unsigned kept, const char *why)
{
    int64_t now_s = (int64_t)time(NULL);
    char shown[sizeof(kerf_detail) * 2];

    if (strcmp(f->said, why) == 0 && now_s < f->said_s + HOUR_MS / 1000)
        return;
    (void)snprintf(f->said, sizeof f->said, "%s", why);
    f->said_s = now_s;
    kerf_log(KERF_LOG_ERROR, "tls.not_taken",
             "not taken, or not good:%s%s%s%s; what was in use stays so: %s",
             (kept & KERF_PART_AUTHORITY) != 0 ? " authority" : "",
             (kept & KERF_PART_REVOKED) != 0 ? " revoked" : "",
             (kept & KERF_PART_KEY) != 0 ? " key" : "",
             (kept & KERF_PART_ACCESS) != 0 ? " access" : "",
             kerf_text_safe(shown, sizeof shown, why));
}

static void
take(kerf_tls_folder *f, kerf_tls *next)
{
    if (kerf_creds_same(kerf_tls_creds(f->now), kerf_tls_creds(next))) {
        kerf_tls_unref(next);
        return;
    }
    f->before = f->now;
    f->now = next;
    kerf_log(KERF_LOG_INFO, "tls.taken", "name=%s dir=%s",
             kerf_creds_name(kerf_tls_creds(next)), f->dir);
    f->changed(f->ctx);
    kerf_tls_unref(f->before);
    f->before = NULL;
}

static void look(kerf_tls_folder *f);

static void
on_job_done(uv_work_t *work, int status)
{
    struct job *job = work->data;
    kerf_tls_folder *f = job->folder;

    if (f != NULL && status == 0) {
        f->job = NULL;
        if (job->err == KERF_OK && job->kept == 0)
            f->said[0] = '\0';
        else
            tell_not_taken(f, job->err == KERF_ENOENT ? ALL_PARTS : job->kept,
                           job->why.text[0] != '\0' ? job->why.text
                                                    : kerf_err_text(job->err));
        kerf_timer_start(f->timer, f->said[0] != '\0' ? AGAIN_MS : HOUR_MS, 0);
        if (job->next != NULL)
            take(f, job->next);
        job->next = NULL;
        if (f->again)
            look(f);
    }
    kerf_tls_unref(job->next);
    kerf_tls_unref(job->now);
    free(job);
}

static void
look(kerf_tls_folder *f)
{
    struct job *job;

    f->again = f->job != NULL;
    if (f->again)
        return;
    kerf_timer_start(f->timer, AGAIN_MS, 0); /* unless it ends before */
    job = calloc(1, sizeof *job);
    if (job == NULL)
        return;
    job->work.data = job;
    job->folder = f;
    job->now = kerf_tls_ref(f->now);
    (void)snprintf(job->dir, sizeof job->dir, "%s", f->dir);
    if (uv_queue_work(kerf_loop_uv(f->loop), &job->work, run_job,
                      on_job_done) != 0) {
        kerf_tls_unref(job->now);
        free(job);
        return;
    }
    f->job = job;
}

static void
on_change(void *ctx)
{
    look(ctx);
}

static void
on_timer(void *ctx)
{
    kerf_tls_folder *f = ctx;

    look(f);
    tell_end(f);
    f->changed(f->ctx);
}

static bool
counts(void *ctx, const char *name)
{
    (void)ctx;
    return kerf_creds_counts(name);
}

kerf_err
kerf_tls_folder_open(kerf_tls_folder **out, kerf_loop *loop, const char *dir,
                     kerf_side side, kerf_loop_fn *changed, void *ctx,
                     kerf_detail *why)
{
    kerf_tls_folder *f = calloc(1, sizeof *f);
    kerf_err err = f != NULL ? KERF_OK : KERF_ENOMEM;

    if (f == NULL)
        return err;
    f->loop = loop;
    f->side = side;
    f->changed = changed;
    f->ctx = ctx;
    if (strlen(dir) >= sizeof f->dir - 16)
        err =
            kerf_fail(why, KERF_ETOOBIG, "--tls %.60s...: path too long", dir);
    (void)snprintf(f->dir, sizeof f->dir, "%s", dir);
    if (err == KERF_OK)
        err = kerf_timer_new(&f->timer, loop, on_timer, f);
    if (err == KERF_OK) {
        /* Watch first: a change while it is read must not be missed. */
        kerf_detail unwatched = {{0}};
        kerf_err watched =
            kerf_folder_watch_new(&f->watch, loop, dir, QUIET_MS, LATEST_MS,
                                  counts, on_change, f, &unwatched);

        err = load(f, why);
        if (err == KERF_OK && watched != KERF_OK)
            err = kerf_fail(why, watched, "%s", unwatched.text);
    }
    if (err != KERF_OK) {
        kerf_tls_folder_close(f);
        return err;
    }
    kerf_timer_start(f->timer, HOUR_MS, 0);
    tell_end(f);
    *out = f;
    return KERF_OK;
}

void
kerf_tls_folder_close(kerf_tls_folder *f)
{
    if (f == NULL)
        return;
    if (f->job != NULL) {
        f->job->folder = NULL;
        (void)uv_cancel((uv_req_t *)&f->job->work); /* if it has not begun */
    }
    kerf_folder_watch_free(f->watch);
    kerf_timer_free(f->timer);
    kerf_tls_unref(f->now);
    free(f);
}

kerf_tls *
kerf_tls_folder_now(const kerf_tls_folder *folder)
{
    return folder != NULL ? folder->now : NULL;
}

const kerf_creds *
kerf_tls_folder_before(const kerf_tls_folder *folder)
{
    return folder != NULL && folder->before != NULL
               ? kerf_tls_creds(folder->before)
               : NULL;
}

const kerf_creds *
kerf_tls_folder_creds(const kerf_tls_folder *folder)
{
    return folder != NULL ? kerf_tls_creds(folder->now) : NULL;
}
