#include "cli/save.h"

#include "base/fs.h"
#include "base/text.h"
#include "source/npy.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

kerf_err
kerf_save_start(const kerf_save *s, kerf_detail *why)
{
    if (s->save != NULL) {
        kerf_err err = kerf_fs_mkdirs(s->save, why);

        if (err != KERF_OK)
            return kerf_fail_in(why, err, "--save");
    }
    if (s->against != NULL && !kerf_fs_is_dir(s->against))
        return kerf_fail(why, KERF_ENOENT, "--against %s: no such folder",
                         s->against);
    return KERF_OK;
}

static kerf_err
make_path(char out[KERF_PATH_MAX], const char *dir, uint64_t index, size_t i,
          kerf_detail *why)
{
    char name[64];

    (void)snprintf(name, sizeof name, "%06llu.%zu.npy",
                   (unsigned long long)index, i);
    if (kerf_path_join(out, dir, name) != KERF_OK)
        return kerf_fail(why, KERF_ETOOBIG, "%s: path too long", dir);
    return KERF_OK;
}

kerf_err
kerf_save_outputs(const char *dir, uint64_t index, const kerf_tensor *out,
                  size_t count, kerf_detail *why)
{
    char path[KERF_PATH_MAX];
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < count && err == KERF_OK; i++) {
        err = make_path(path, dir, index, i, why);
        if (err == KERF_OK)
            err = kerf_npy_write(path, &out[i], why);
    }
    return err;
}

static size_t
count_of(const kerf_tensor *t)
{
    size_t size = kerf_dtype_size(t->dtype);

    return size == 0 ? 0 : t->bytes / size;
}

/* NaN beside NaN and equal infinities are no difference. */
static double
max_difference(const kerf_tensor *a, const kerf_tensor *b)
{
    double most = 0.0;

    for (size_t i = 0; i < count_of(a); i++) {
        double x = kerf_tensor_at(a, i);
        double y = kerf_tensor_at(b, i);
        double d = fabs(x - y);

        if (x == y || (isnan(x) && isnan(y)))
            continue;
        if (isnan(d))
            return INFINITY;
        most = d > most ? d : most;
    }
    return most;
}

static void
say_difference(kerf_save *s, const kerf_detail *why)
{
    if (!s->differs)
        (void)kerf_say_error(why);
    s->differs = true;
}

static void
compare_output(kerf_save *s, const kerf_answer *a, size_t i)
{
    char path[KERF_PATH_MAX];
    char has[KERF_SHAPE_TEXT], had[KERF_SHAPE_TEXT];
    kerf_tensor other = {0};
    kerf_detail why;
    double d;

    if (make_path(path, s->against, a->index, i, &why) != KERF_OK ||
        kerf_npy_read(&other, path, &why) != KERF_OK) {
        say_difference(s, &why);
        return;
    }
    if (!kerf_shape_equal(&a->out[i].shape, &other.shape)) {
        (void)kerf_fail(&why, KERF_EMISMATCH, "%s is %s, here it is %s", path,
                        kerf_shape_text(had, &other.shape),
                        kerf_shape_text(has, &a->out[i].shape));
        say_difference(s, &why);
        kerf_tensor_free(&other);
        return;
    }
    d = max_difference(&a->out[i], &other);
    s->max_diff = d > s->max_diff ? d : s->max_diff;
    if (i == 0 && kerf_show_is_classes(a)) {
        char mine[64], theirs[64];

        s->classed++;
        s->equal +=
            strcmp(kerf_show_argmax(mine, sizeof mine, &a->out[0]),
                   kerf_show_argmax(theirs, sizeof theirs, &other)) == 0;
    }
    kerf_tensor_free(&other);
}

kerf_err
kerf_save_answer(kerf_save *s, const kerf_answer *a, kerf_detail *why)
{
    kerf_err err = KERF_OK;

    if (s->save != NULL)
        err = kerf_save_outputs(s->save, a->index, a->out, a->out_count, why);
    if (err != KERF_OK || s->against == NULL)
        return err;
    s->compared++;
    for (size_t i = 0; i < a->out_count; i++)
        compare_output(s, a, i);
    return KERF_OK;
}

bool
kerf_save_finish(const kerf_save *s, bool json)
{
    bool good = !s->differs && s->equal == s->classed && s->compared > 0;

    if (s->against == NULL)
        return true;
    if (json)
        (void)printf("{\"event\":\"against\",\"compared\":%llu,"
                     "\"labels\":%llu,\"equal\":%llu,\"max_abs_diff\":%.9g,"
                     "\"good\":%s}\n",
                     (unsigned long long)s->compared,
                     (unsigned long long)s->classed,
                     (unsigned long long)s->equal,
                     isfinite(s->max_diff) ? s->max_diff : 1e308,
                     good ? "true" : "false");
    else if (s->classed > 0)
        (void)printf("equal labels: %llu of %llu, max abs difference %.2g\n",
                     (unsigned long long)s->equal,
                     (unsigned long long)s->classed, s->max_diff);
    else
        (void)printf("compared: %llu, max abs difference %.2g\n",
                     (unsigned long long)s->compared, s->max_diff);
    return good;
}
