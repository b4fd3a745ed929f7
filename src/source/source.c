#include "source/source.h"

#include "base/clock.h"
#include "base/rng.h"
#include "base/text.h"
#include "source/fit.h"
#include "source/load.h"
#include "source/walk.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct kerf_source {
    char **spec;   /* owned */
    bool *is_file; /* owned; it was one at the start: not asked again */
    size_t spec_count;
    kerf_source_opts opts; /* spec and port point to our copies */
    kerf_load_ctx load;
    kerf_watch *watch; /* NULL: none */
    kerf_paths files;  /* of the folder at hand, or arrived */
    size_t at;         /* next spec */
    uint64_t passes;   /* done */
    uint64_t index;
    uint64_t last_ns;   /* when the last item was given; 0: none yet */
    uint64_t random_ns; /* ... the last random one */
    uint64_t seed;
    kerf_seen seen; /* with watch: files of the pass */
    bool watching;  /* the passes are over */
    int stop_fd;    /* readable: stopped */
    _Atomic bool stopped;
    bool warm; /* an image was decoded */
};

static bool
is_random(const char *spec)
{
    return strcmp(spec, "random") == 0 || strncmp(spec, "random:", 7) == 0;
}

/* Only .npy files, of which the first that can be read is not u8. */
static bool
is_raw_folder(const char *dir, bool *known)
{
    kerf_paths files = {0};
    bool raw =
        kerf_walk_add(&files, dir, false, NULL) == KERF_OK && files.count > 0;

    *known = !raw;
    for (size_t i = 0; i < files.count && raw; i++) {
        raw = kerf_path_ends(files.path[i], ".npy");
        if (raw && !*known)
            raw = kerf_load_is_raw(files.path[i], known);
    }
    *known = *known || !raw;
    kerf_paths_fini(&files);
    return raw;
}

bool
kerf_source_is_raw(const char *const *spec, size_t spec_count)
{
    for (size_t i = 0; i < spec_count; i++) {
        bool known = true;

        if (is_random(spec[i]))
            continue;
        if (kerf_fs_is_dir(spec[i]) ? !is_raw_folder(spec[i], &known)
                                    : !kerf_load_is_raw(spec[i], &known))
            return false;
    }
    return spec_count > 0;
}

/* Is every part of a.npy,b.npy there? */
static kerf_err
check_parts(const char *spec, kerf_detail *why)
{
    char text[KERF_PATH_MAX];
    char part[KERF_PATH_MAX];

    for (const char *at = spec;; at++) {
        size_t len = strcspn(at, ",");

        (void)snprintf(part, sizeof part, "%.*s", (int)len, at);
        if (!kerf_fs_exists(part)) {
            return kerf_fail(why, KERF_ENOENT,
                             "--input %s: no such file or folder",
                             kerf_text_safe(text, sizeof text,
                                            part[0] == '\0' ? spec : part));
        }
        at += len;
        if (*at == '\0')
            return KERF_OK;
    }
}

static kerf_err
check_spec(const char *spec, kerf_detail *why)
{
    char text[KERF_PATH_MAX];
    char *end = NULL;

    if (strcmp(spec, "random") == 0)
        return KERF_OK;
    if (strncmp(spec, "random:", 7) == 0) {
        (void)strtoull(spec + 7, &end, 10);
        if (spec[7] < '0' || spec[7] > '9' || *end != '\0')
            return kerf_fail(why, KERF_EINVAL,
                             "--input %s: expected random:SEED, a number",
                             kerf_text_safe(text, sizeof text, spec));
        return KERF_OK;
    }
    if (spec[0] == '\0' || strlen(spec) >= KERF_PATH_MAX)
        return kerf_fail(why, KERF_EINVAL, "--input: empty or too long");
    return kerf_fs_exists(spec) ? KERF_OK : check_parts(spec, why);
}

static kerf_err
copy_opts(kerf_source *s, const kerf_source_opts *opts)
{
    kerf_port *port = calloc(opts->port_count + 1, sizeof *port);

    s->spec = calloc(opts->spec_count + 1, sizeof *s->spec);
    s->is_file = calloc(opts->spec_count + 1, sizeof *s->is_file);
    s->opts = *opts;
    s->opts.port = port;
    s->opts.spec = NULL;
    if (port == NULL || s->spec == NULL || s->is_file == NULL)
        return KERF_ENOMEM;
    memcpy(port, opts->port, opts->port_count * sizeof *port);
    for (size_t i = 0; i < opts->spec_count; i++) {
        s->is_file[i] =
            kerf_fs_stamp(opts->spec[i]) != 0 && !kerf_fs_is_dir(opts->spec[i]);
        s->spec[i] = strdup(opts->spec[i]);
        if (s->spec[i] == NULL)
            return KERF_ENOMEM;
        s->spec_count++;
    }
    s->load = (kerf_load_ctx){.port = port,
                              .port_count = opts->port_count,
                              .card = opts->card,
                              .image_port = opts->image_port};
    return KERF_OK;
}

/* Watching starts before the folders are listed, so that nothing falls
 * between. */
static kerf_err
start_watch(kerf_source *s, kerf_detail *why)
{
    size_t folders = 0;
    kerf_err err = kerf_watch_new(&s->watch, why);

    for (size_t i = 0; i < s->spec_count && err == KERF_OK; i++) {
        if (is_random(s->spec[i]) || !kerf_fs_is_dir(s->spec[i]))
            continue;
        err = kerf_watch_add(s->watch, s->spec[i], why);
        folders++;
    }
    if (err == KERF_OK && folders == 0)
        err = kerf_fail(why, KERF_EINVAL,
                        "--watch needs a folder among the inputs");
    return err;
}

kerf_err
kerf_source_check(const char *const *spec, size_t spec_count, kerf_detail *why)
{
    kerf_err err = KERF_OK;

    if (spec_count == 0)
        return kerf_fail(why, KERF_EINVAL,
                         "no input: --input FILE, FOLDER or random");
    for (size_t i = 0; i < spec_count && err == KERF_OK; i++)
        err = check_spec(spec[i], why);
    return err;
}

kerf_err
kerf_source_new(kerf_source **out, const kerf_source_opts *opts,
                kerf_detail *why)
{
    kerf_source *s;
    kerf_err err = kerf_source_check(opts->spec, opts->spec_count, why);

    if (err != KERF_OK)
        return err;
    s = calloc(1, sizeof *s);
    if (s == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory");
    s->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (s->stop_fd < 0)
        err = kerf_fail(why, KERF_EIO, "eventfd: %s", strerror(errno));
    if (err == KERF_OK)
        err = copy_opts(s, opts);
    if (err == KERF_OK && opts->watch)
        err = start_watch(s, why);
    if (err != KERF_OK) {
        kerf_source_free(s);
        return err;
    }
    *out = s;
    return KERF_OK;
}

kerf_err
kerf_source_refit(kerf_source *s, const kerf_source_opts *opts,
                  kerf_detail *why)
{
    kerf_port *port = calloc(opts->port_count + 1, sizeof *port);

    if (port == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory");
    memcpy(port, opts->port, opts->port_count * sizeof *port);
    free((void *)(uintptr_t)s->opts.port);
    s->opts.port = s->load.port = port;
    s->opts.port_count = s->load.port_count = opts->port_count;
    s->opts.card = s->load.card = opts->card;
    s->opts.image_port = s->load.image_port = opts->image_port;
    return KERF_OK;
}

void
kerf_source_free(kerf_source *s)
{
    if (s == NULL)
        return;
    kerf_load_fini(&s->load);
    kerf_watch_free(s->watch);
    kerf_paths_fini(&s->files);
    kerf_seen_fini(&s->seen);
    for (size_t i = 0; i < s->spec_count; i++)
        free(s->spec[i]);
    free(s->spec);
    free(s->is_file);
    free((void *)(uintptr_t)s->opts.port);
    if (s->stop_fd >= 0)
        (void)close(s->stop_fd);
    free(s);
}

void
kerf_source_stop(kerf_source *s)
{
    uint64_t one = 1;

    atomic_store(&s->stopped, true);
    /* Fails only when the counter is full: stopped already. */
    if (write(s->stop_fd, &one, sizeof one) < 0)
        return;
}

static void
tell_waits(kerf_source *s)
{
    if (s->opts.waits != NULL)
        s->opts.waits(s->opts.ctx);
}

/* Waits until due_ns (0: not at all) or, with watch, for an arrival. */
static kerf_err
wait_until(kerf_source *s, uint64_t due_ns, bool arrivals, kerf_detail *why)
{
    struct pollfd fds[2] = {{.fd = s->stop_fd, .events = POLLIN}};
    nfds_t count = 1;

    if (arrivals)
        fds[count++] =
            (struct pollfd){.fd = kerf_watch_fd(s->watch), .events = POLLIN};
    if (atomic_load(&s->stopped))
        return KERF_ECLOSED;
    if (due_ns == 0 && !arrivals)
        return KERF_OK;
    tell_waits(s);
    for (;;) {
        uint64_t now = kerf_now_ns();
        uint64_t left = due_ns > now ? due_ns - now : 0;
        struct timespec wait = {.tv_sec = (time_t)(left / 1000000000),
                                .tv_nsec = (long)(left % 1000000000)};
        int n = ppoll(fds, count, arrivals ? NULL : &wait, NULL);

        if (n < 0 && errno != EINTR)
            return kerf_fail(why, KERF_EIO, "poll: %s", strerror(errno));
        if (n > 0 && fds[0].revents != 0)
            return KERF_ECLOSED;
        if (n > 0 || (n == 0 && left == 0))
            return KERF_OK;
    }
}

/* Waits for the item's turn by rate. */
static kerf_err
pace(kerf_source *s, bool random, kerf_detail *why)
{
    uint64_t due = 0;
    uint64_t now;
    kerf_err err;

    if (s->opts.rate_hz > 0 && s->last_ns != 0)
        due = s->last_ns + (uint64_t)(1e9 / s->opts.rate_hz);
    else if (s->opts.rate_hz <= 0 && random && s->random_ns != 0)
        due = s->random_ns + (uint64_t)s->opts.random_period_ms * 1000000;
    err = wait_until(s, due, false, why);
    now = kerf_now_ns();
    /* A late taker does not make a burst, a timely one does not drift. */
    s->last_ns = due != 0 && now - due < 1000000 ? due : now;
    if (random)
        s->random_ns = s->last_ns;
    return err;
}

static kerf_err
give_random(kerf_source *s, const char *spec, kerf_tensor *dest,
            kerf_item *item, kerf_detail *why)
{
    uint64_t start;
    uint64_t state;
    kerf_err err = pace(s, true, why);

    if (err != KERF_OK)
        return err;
    start = kerf_now_ns();
    state = (spec[6] == ':' ? strtoull(spec + 7, NULL, 10) : 0) + s->seed++;
    (void)snprintf(item->name, sizeof item->name, "random:%llu",
                   (unsigned long long)state);
    kerf_load_random(&s->load, dest, state);
    item->capture_ns = kerf_now_ns() - start;
    return KERF_OK;
}

/* Each request: not by way of printf(). */
static void
copy_text(char *out, size_t cap, const char *text)
{
    size_t len = strnlen(text, cap - 1);

    memcpy(out, text, len);
    out[len] = '\0';
}

static kerf_err
give_file(kerf_source *s, const char *path, kerf_tensor *dest, kerf_item *item,
          kerf_detail *why)
{
    char text[KERF_PATH_MAX];
    kerf_err err = pace(s, false, why);

    if (err != KERF_OK)
        return err;
    if (!kerf_load_is_kept(&s->load, path))
        tell_waits(s);
    copy_text(item->path, sizeof item->path, path);
    copy_text(item->name, sizeof item->name, kerf_path_base(path));
    if (!s->warm && s->opts.card != NULL && !kerf_path_ends(path, ".npy")) {
        kerf_item trial = {0}; /* starts the decoder, outside the times */

        s->warm = kerf_load_file(&s->load, path, dest, &trial) == KERF_OK;
    }
    item->err = kerf_load_file(&s->load, path, dest, item);
    if (item->err != KERF_OK) {
        (void)kerf_text_safe(text, sizeof text, item->why.text);
        (void)snprintf(item->why.text, sizeof item->why.text, "%s", text);
    }
    return KERF_OK;
}

/* Waits for files that arrive; they are in s->files then. */
static kerf_err
await_arrivals(kerf_source *s, kerf_item *item, bool *lost, kerf_detail *why)
{
    kerf_err err = wait_until(s, 0, true, why);

    if (err == KERF_OK)
        err = kerf_watch_read(s->watch, &s->files, lost, why);
    if (err == KERF_OK && *lost)
        item->err = kerf_fail(&item->why, KERF_ETOOBIG,
                              "more files arrived at once than the kernel "
                              "keeps: some were missed");
    return err;
}

/* Steps to the next spec. *random: it is a random one (returned), else its
 * files are in s->files. KERF_ECLOSED: all passes are over. */
static kerf_err
step(kerf_source *s, const char **random, kerf_detail *why)
{
    const char *spec;

    if (s->at == s->spec_count) {
        s->at = 0;
        s->passes++;
        if (s->passes < s->opts.repeat || s->opts.repeat == 0)
            kerf_seen_fini(&s->seen);
    }
    if (s->opts.repeat != 0 && s->passes >= s->opts.repeat)
        return KERF_ECLOSED;
    spec = s->spec[s->at++];
    if (is_random(spec)) {
        *random = spec;
        return KERF_OK;
    }
    if (s->is_file[s->at - 1] || !kerf_fs_is_dir(spec))
        return kerf_paths_add(&s->files, spec);
    return kerf_walk_add(&s->files, spec, s->opts.watch, why);
}

/* Consumes path. KERF_EAGAIN: it was given already. */
static kerf_err
take_path(kerf_source *s, char *path, kerf_tensor *dest, kerf_item *item,
          kerf_detail *why)
{
    kerf_err err = KERF_OK;

    if (s->watching && kerf_seen_has(&s->seen, path))
        err = KERF_EAGAIN; /* arrived while its folder was listed */
    else if (s->watch != NULL && !s->watching)
        err = kerf_seen_add(&s->seen, path);
    if (err == KERF_OK)
        err = give_file(s, path, dest, item, why);
    free(path);
    return err;
}

static kerf_err
find_next(kerf_source *s, kerf_tensor *dest, kerf_item *item, kerf_detail *why)
{
    uint64_t empty_passes = s->passes;
    bool lost = false;

    for (;;) {
        const char *random = NULL;
        char *path = kerf_paths_take(&s->files);
        kerf_err err;

        if (path != NULL) {
            err = take_path(s, path, dest, item, why);
            if (err == KERF_EAGAIN)
                continue;
            return err;
        }
        if (s->watching) {
            err = await_arrivals(s, item, &lost, why);
            if (err != KERF_OK || lost)
                return err;
            continue;
        }
        err = step(s, &random, why);
        if (err == KERF_ECLOSED && s->watch != NULL) {
            s->watching = true;
            continue;
        }
        if (err != KERF_OK)
            return err;
        if (random != NULL)
            return give_random(s, random, dest, item, why);
        if (s->passes > empty_passes + 1 && s->files.count == 0)
            return kerf_fail(why, KERF_ENOENT,
                             "the inputs hold no image and no .npy file");
    }
}

/* Not all of it: its texts are some KB. */
static void
begin_item(kerf_item *item, uint64_t index)
{
    item->index = index;
    item->err = KERF_OK;
    item->why.text[0] = item->name[0] = item->path[0] = '\0';
    item->is_image = false;
    item->width = item->height = 0;
    item->capture_ns = item->preprocess_ns = 0;
}

kerf_err
kerf_source_next(kerf_source *s, kerf_tensor *dest, kerf_item *item,
                 kerf_detail *why)
{
    kerf_err err;

    begin_item(item, s->index);
    err = wait_until(s, 0, false, why); /* stopped? */
    if (err == KERF_OK)
        err = find_next(s, dest, item, why);
    if (err == KERF_ECLOSED && s->index == 0 && s->passes > 0 &&
        s->watch == NULL)
        return kerf_fail(why, KERF_ENOENT,
                         "the inputs hold no image and no .npy file");
    if (err == KERF_OK)
        s->index++;
    return err;
}
