#include "cli/save.h"

#include "base/fs.h"
#include "base/text.h"
#include "source/npy.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define FILES_MAX ((size_t)1 << 26)

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
make_path(char out[KERF_PATH_MAX], const char *dir, const char *prefix,
          uint64_t index, size_t i, kerf_detail *why)
{
    char name[64];

    (void)snprintf(name, sizeof name, "%s%06llu.%zu.npy", prefix,
                   (unsigned long long)index, i);
    if (kerf_path_join(out, dir, name) != KERF_OK)
        return kerf_fail(why, KERF_ETOOBIG, "%s: path too long", dir);
    return KERF_OK;
}

kerf_err
kerf_save_outputs(const char *dir, const char *prefix, uint64_t index,
                  const kerf_tensor *out, size_t count, kerf_detail *why)
{
    char path[KERF_PATH_MAX];
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < count && err == KERF_OK; i++) {
        err = make_path(path, dir, prefix, index, i, why);
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

/* What of an output's values decides how far they may be apart. */
static double
range_of(const kerf_tensor *t)
{
    double least = INFINITY;
    double most = -INFINITY;

    for (size_t i = 0; i < count_of(t); i++) {
        double x = kerf_tensor_at(t, i);

        if (!isfinite(x))
            continue;
        least = x < least ? x : least;
        most = x > most ? x : most;
    }
    if (least > most)
        return 0.0;
    /* Values that are nearly all the same are rounded by their own size. */
    return fmax(most - least, fmax(fabs(least), fabs(most)) / 100.0);
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

/* Said for the first one only; false. */
static bool
say_difference(kerf_save *s, const kerf_detail *why)
{
    if (!s->said)
        (void)kerf_say_error(why);
    s->said = true;
    return false;
}

static kerf_err
check_kind(const kerf_tensor *mine, const kerf_tensor *other, const char *path,
           kerf_detail *why)
{
    char has[KERF_SHAPE_TEXT], had[KERF_SHAPE_TEXT];
    /* .npy has no bf16: it is saved as f32. */
    kerf_dtype dtype = mine->dtype == KERF_BF16 ? KERF_F32 : mine->dtype;

    if (dtype == other->dtype && kerf_shape_equal(&mine->shape, &other->shape))
        return KERF_OK;
    return kerf_fail(
        why, KERF_EMISMATCH, "%s is %s %s, here it is %s %s", path,
        kerf_dtype_name(other->dtype), kerf_shape_text(had, &other->shape),
        kerf_dtype_name(dtype), kerf_shape_text(has, &mine->shape));
}

/* Are the best classes of both the same? */
static bool
same_label(kerf_save *s, const kerf_tensor *mine, const kerf_tensor *other)
{
    char a[64], b[64];
    bool same = strcmp(kerf_show_argmax(a, sizeof a, mine),
                       kerf_show_argmax(b, sizeof b, other)) == 0;

    s->classed++;
    s->equal += same;
    return same;
}

/* False: it differs. */
static bool
compare_output(kerf_save *s, const kerf_answer *a, size_t i)
{
    const kerf_tensor *mine = &a->out[i];
    char path[KERF_PATH_MAX];
    kerf_tensor other = {0};
    kerf_detail why;
    bool same;
    double d;

    if (make_path(path, s->against, "", a->index, i, &why) != KERF_OK ||
        kerf_npy_read(&other, path, &why) != KERF_OK)
        return say_difference(s, &why);
    s->matched++;
    if (check_kind(mine, &other, path, &why) != KERF_OK) {
        kerf_tensor_free(&other);
        return say_difference(s, &why);
    }
    d = max_difference(mine, &other);
    s->max_diff = d > s->max_diff ? d : s->max_diff;
    same = d <= s->tolerance * range_of(&other);
    if (i == 0 && kerf_show_is_classes(a))
        same = same_label(s, mine, &other) && same;
    kerf_tensor_free(&other);
    return same;
}

kerf_err
kerf_save_answer(kerf_save *s, const kerf_answer *a, kerf_detail *why)
{
    kerf_err err = KERF_OK;
    bool same = true;

    if (s->save != NULL)
        err =
            kerf_save_outputs(s->save, "", a->index, a->out, a->out_count, why);
    if (err != KERF_OK || s->against == NULL)
        return err;
    s->compared++;
    for (size_t i = 0; i < a->out_count; i++)
        same = compare_output(s, a, i) && same;
    s->differ += !same;
    return KERF_OK;
}

/* 000012.0.npy, as make_path() names an output. */
static bool
is_output(const char *name)
{
    size_t item = strspn(name, "0123456789");
    size_t out = name[item] == '.' ? strspn(name + item + 1, "0123456789") : 0;

    return item >= 6 && out >= 1 && strcmp(name + item + 1 + out, ".npy") == 0;
}

static uint64_t
count_outputs(const char *dir)
{
    kerf_names names = {0};
    uint64_t count = 0;

    if (kerf_fs_list(dir, FILES_MAX, &names, NULL) != KERF_OK)
        return 0;
    for (size_t i = 0; i < names.count; i++)
        count += is_output(names.name[i]);
    kerf_names_free(&names);
    return count;
}

static void
print_json(const kerf_save *s, bool good)
{
    char most[32] = "null"; /* JSON has no other number for it */

    if (isfinite(s->max_diff) && s->matched > 0)
        (void)snprintf(most, sizeof most, "%.9g", s->max_diff);
    (void)printf("{\"event\":\"against\",\"compared\":%llu,"
                 "\"labels\":%llu,\"equal\":%llu,\"max_abs_diff\":%s,"
                 "\"differ\":%llu,\"extra\":%llu,\"good\":%s}\n",
                 (unsigned long long)s->compared,
                 (unsigned long long)s->classed, (unsigned long long)s->equal,
                 most, (unsigned long long)s->differ,
                 (unsigned long long)s->extra, good ? "true" : "false");
}

bool
kerf_save_finish(kerf_save *s, bool json)
{
    uint64_t there;
    bool good;

    if (s->against == NULL)
        return true;
    there = count_outputs(s->against);
    s->extra = there > s->matched ? there - s->matched : 0;
    good = s->differ == 0 && s->extra == 0 && s->compared > 0;
    if (json) {
        print_json(s, good);
        return good;
    }
    if (s->classed > 0)
        (void)printf("equal labels: %llu of %llu", (unsigned long long)s->equal,
                     (unsigned long long)s->classed);
    else
        (void)printf("compared: %llu", (unsigned long long)s->compared);
    (void)printf(", max abs difference %.2g", s->max_diff);
    if (s->differ > 0)
        (void)printf(", %llu of %llu inputs differ",
                     (unsigned long long)s->differ,
                     (unsigned long long)s->compared);
    if (s->extra > 0)
        (void)printf(", %llu saved outputs have no pair here",
                     (unsigned long long)s->extra);
    (void)putchar('\n');
    return good;
}
