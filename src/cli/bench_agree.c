#include "cli/bench_agree.h"

#include "base/text.h"
#include "cli/cut_cmd.h"
#include "cli/json_line.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const family_name[KERF_AGREE_FAMILIES] = {
    "float", "q", "qc", "qs", "jpeg", "webp"};

static double
per_picture(const kerf_agree *a, double sum)
{
    return sum / (double)a->pictures;
}

static void
show_json(const kerf_agree *a)
{
    for (size_t i = 0; i < a->count; i++) {
        const kerf_agree_way *w = &a->way[i];

        kerf_json_line(json_pack(
            "{s:s, s:s, s:I, s:f, s:f, s:o}", "event", "way", "way", w->name,
            "pictures", (json_int_t)a->pictures, "bytes",
            per_picture(a, w->bytes), a->is_boxes ? "f1" : "agreement",
            per_picture(a, w->same), "accuracy",
            a->has_labels ? json_real(per_picture(a, w->right)) : json_null()));
    }
    for (int f = KERF_AGREE_Q; f < KERF_AGREE_FAMILIES && !a->is_boxes; f++) {
        if (f != KERF_AGREE_WEBP || a->has_webp)
            kerf_json_line(json_pack("{s:s, s:s, s:f}", "event", "smallest",
                                     "of", family_name[f], "bytes",
                                     a->smallest[f]));
    }
}

static void
show_smallest(const kerf_agree *a)
{
    if (a->is_boxes)
        return;
    (void)printf(
        "smallest with the same answer, median: q %.0f, qc %.0f, qs %.0f, "
        "jpeg %.0f",
        a->smallest[KERF_AGREE_Q], a->smallest[KERF_AGREE_QC],
        a->smallest[KERF_AGREE_QS], a->smallest[KERF_AGREE_JPEG]);
    if (a->has_webp)
        (void)printf(", webp %.0f", a->smallest[KERF_AGREE_WEBP]);
    (void)puts(" bytes");
}

static void
show_table(const kerf_agree *a)
{
    (void)printf("%zu pictures; f32 %.0f bytes, u8 pixels %.0f", a->pictures,
                 a->raw_bytes, a->picture_bytes);
    if (a->has_labels)
        (void)printf("; the whole is right in %.1f %%",
                     100 * per_picture(a, a->right));
    (void)printf("\n%-11s %9s %6s %9s%s\n", "", "bytes", "/f32",
                 a->is_boxes ? "F1" : "same top",
                 a->has_labels ? "  right" : "");
    for (size_t i = 0; i < a->count; i++) {
        const kerf_agree_way *w = &a->way[i];
        double bytes = per_picture(a, w->bytes);
        double same = per_picture(a, w->same);

        (void)printf("%-11s %9.0f %6.3f", w->name, bytes, bytes / a->raw_bytes);
        if (a->is_boxes)
            (void)printf(" %9.3f", same);
        else
            (void)printf(" %7.1f %%", 100 * same);
        if (a->has_labels)
            (void)printf(" %5.1f %%", 100 * per_picture(a, w->right));
        (void)putchar('\n');
    }
    show_smallest(a);
    if (!a->has_webp)
        (void)puts("no WebP: apt-get install gstreamer1.0-plugins-bad");
}

static kerf_err
measure(const kerf_agree_flags *f, kerf_cut_model *m, kerf_engine **engine,
        kerf_agree *to, kerf_detail *why)
{
    kerf_cut_flags *cut_flags = calloc(1, sizeof *cut_flags);
    kerf_cut cut = {0};
    kerf_err err;

    if (cut_flags == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory for flags");
    cut_flags->arg[0] = f->model;
    cut_flags->at = f->at;
    cut_flags->rules = f->rules;
    cut_flags->engine = f->engine;
    err = kerf_cut_cmd_open(cut_flags, false, m, why);
    if (err == KERF_OK)
        err = kerf_cut_cmd_type(cut_flags, m, engine, why);
    if (err == KERF_OK)
        err = kerf_cut_cmd_find(cut_flags, m, &cut, why);
    if (err == KERF_OK) {
        const kerf_agree_opts o = {.engine = *engine,
                                   .model = m,
                                   .cut = &cut,
                                   .input = f->input.item,
                                   .input_count = f->input.count,
                                   .labels = f->truth,
                                   .is_boxes = f->boxes};

        err = kerf_agree_run(to, &o, why);
    }
    kerf_cut_fini(&cut);
    free(cut_flags);
    return err;
}

static kerf_err
show(const kerf_agree_flags *f, const kerf_cut_model *m, const kerf_agree *a,
     kerf_detail *why)
{
    char title[512];
    char name[200];
    char at[200];

    if (f->json)
        show_json(a);
    else
        show_table(a);
    if (f->plot == NULL)
        return KERF_OK;
    (void)snprintf(title, sizeof title, "%s, cut after %s",
                   kerf_text_safe(name, sizeof name, m->file.name),
                   kerf_text_safe(at, sizeof at, f->at));
    return kerf_agree_plot(a, title, f->plot, why);
}

int
kerf_bench_agree(const kerf_agree_flags *f)
{
    kerf_cut_model *m = calloc(1, sizeof *m); /* tens of KB */
    kerf_agree *a = calloc(1, sizeof *a);
    kerf_engine *engine = NULL;
    kerf_detail why = {{0}};
    kerf_err err = m == NULL || a == NULL
                       ? kerf_fail(&why, KERF_ENOMEM, "no memory")
                       : measure(f, m, &engine, a, &why);

    if (err == KERF_OK)
        err = show(f, m, a, &why);
    if (m != NULL)
        kerf_cut_close(m);
    kerf_engine_close(engine);
    free(m);
    free(a);
    return err == KERF_OK ? 0 : kerf_cmd_failed(err, &why);
}
