#include "cli/out.h"
#include "cli/show.h"

#include "base/clock.h"
#include "base/text.h"
#include "cli/show_json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define STATS_KEPT 65536
#define NAME_COLUMNS_MIN 12
#define NAME_COLUMNS_MAX 32

kerf_err
kerf_show_init(kerf_show *show)
{
    show->mode = show->json    ? KERF_SHOW_JSON
                 : show->table ? KERF_SHOW_TABLE
                               : KERF_SHOW_LINES;
    show->name_columns = NAME_COLUMNS_MIN;
    show->started_ns = kerf_now_ns();
    kerf_term_init(&show->term, stdout);
    if (kerf_stats_init(&show->split_us, STATS_KEPT) != KERF_OK)
        return KERF_ENOMEM;
    return kerf_stats_init(&show->total_us, STATS_KEPT);
}

void
kerf_show_fini(kerf_show *show)
{
    kerf_stats_fini(&show->total_us);
    kerf_stats_fini(&show->split_us);
}

static size_t
count_of(const kerf_tensor *t)
{
    size_t size = kerf_dtype_size(t->dtype);

    return size == 0 ? 0 : t->bytes / size;
}

/* Values that lie in 0..1 and add up to 1. */
static bool
is_distribution(const kerf_tensor *t)
{
    double sum = 0.0;
    size_t n = count_of(t);

    for (size_t i = 0; i < n; i++) {
        double v = kerf_tensor_at(t, i);

        if (!(v >= 0.0 && v <= 1.0 + 1e-3))
            return false;
        sum += v;
    }
    return fabs(sum - 1.0) < 1e-2;
}

bool
kerf_show_wants_softmax(const kerf_card *card, const kerf_tensor *t)
{
    if (card != NULL && card->scores_given)
        return card->scores_are_logits;
    return !is_distribution(t);
}

/* NaN is below everything. */
static bool
is_better(double a, double b)
{
    return a > b || (isnan(b) && !isnan(a));
}

/* Puts (index, score) into the k best, ordered; false when it is none. */
static size_t
insert(kerf_top *top, size_t used, size_t most, kerf_top one)
{
    size_t at = used;

    while (at > 0 && is_better(one.score, top[at - 1].score))
        at--;
    if (at >= most)
        return used;
    used = used < most ? used + 1 : used;
    memmove(top + at + 1, top + at, (used - at - 1) * sizeof *top);
    top[at] = one;
    return used;
}

size_t
kerf_show_top(bool softmax, const kerf_tensor *scores, kerf_top *top,
              size_t most)
{
    size_t n = count_of(scores);
    size_t used = 0;
    double best;
    double sum = 0.0;

    for (size_t i = 0; i < n && most > 0; i++)
        used =
            insert(top, used, most,
                   (kerf_top){.index = i, .score = kerf_tensor_at(scores, i)});
    if (used == 0 || !softmax)
        return used;
    best = top[0].score;
    for (size_t i = 0; i < n; i++) {
        double x = kerf_tensor_at(scores, i);

        sum += isnan(x) ? 0.0 : exp(x - best);
    }
    for (size_t i = 0; i < used; i++)
        top[i].score = exp(top[i].score - best) / sum;
    return used;
}

char *
kerf_show_label(char *out, size_t cap, const kerf_card *card, size_t index)
{
    if (card != NULL && index < card->label_count)
        (void)kerf_text_safe(out, cap, card->label[index]);
    else
        (void)snprintf(out, cap, "%zu", index);
    return out;
}

bool
kerf_show_is_classes(const kerf_answer *a)
{
    size_t n;

    if (a->card == NULL || a->card->task != KERF_TASK_CLASSIFY ||
        a->out_count == 0)
        return false;
    n = count_of(&a->out[0]);
    /* A batch of one row; 1x1 maps behind it are fine. */
    return n > 0 && (a->out[0].shape.rank < 2 || a->out[0].shape.dims[0] == 1);
}

char *
kerf_show_argmax(char *out, size_t cap, const kerf_tensor *t)
{
    size_t n = count_of(t);
    size_t rows = t->shape.rank > 1 && t->shape.dims[0] > 0
                      ? (size_t)t->shape.dims[0]
                      : 1;
    size_t used = 0;

    (void)snprintf(out, cap, "[]");
    for (size_t r = 0; r < rows && n > 0 && used + 24 < cap; r++) {
        size_t first = r * (n / rows);
        size_t best = 0;
        int len;

        for (size_t i = 1; i < n / rows; i++) {
            if (is_better(kerf_tensor_at(t, first + i),
                          kerf_tensor_at(t, first + best)))
                best = i;
        }
        len = isnan(kerf_tensor_at(t, first + best))
                  ? snprintf(out + used, cap - used, "%snan]",
                             r == 0 ? "[" : ", ")
                  : snprintf(out + used, cap - used, "%s%zu]",
                             r == 0 ? "[" : ", ", best);
        used += len < 1 ? 0 : (size_t)len - 1; /* over the bracket */
    }
    return out;
}

/* The right label by --truth, "" when there is none. */
static void
find_truth(const kerf_show *show, const char *input, char *out, size_t cap)
{
    const char *base = strrchr(input, '/');
    const char *start = base == NULL ? input : base + 1;
    size_t len = strcspn(start, "_.");

    if (show->truth == KERF_TRUTH_FOLDER && base != NULL) {
        start = base;
        while (start > input && start[-1] != '/')
            start--;
        len = (size_t)(base - start);
    } else if (show->truth == KERF_TRUTH_FOLDER) {
        len = 0;
    }
    (void)snprintf(out, cap, "%.*s", (int)len, start);
}

static bool
is_right(const kerf_card *card, size_t index, const char *truth)
{
    char number[24];

    if (card != NULL && index < card->label_count &&
        strcasecmp(card->label[index], truth) == 0)
        return true;
    /* "7" is the class of that number only when no label is called so. */
    for (size_t i = 0; card != NULL && i < card->label_count; i++) {
        if (strcasecmp(card->label[i], truth) == 0)
            return false;
    }
    (void)snprintf(number, sizeof number, "%zu", index);
    return strcmp(number, truth) == 0;
}

static bool
has_only_finite(const kerf_tensor *t)
{
    for (size_t i = 0; i < count_of(t); i++) {
        if (!isfinite(kerf_tensor_at(t, i)))
            return false;
    }
    return true;
}

/* One decision for all answers of a card: scores that happen to add up to 1
 * must not be shown unlike the others. */
static bool
decide_softmax(kerf_show *show, const kerf_answer *a)
{
    if (show->softmax_known && show->softmax_card == a->card)
        return show->softmax;
    show->softmax = kerf_show_wants_softmax(a->card, &a->out[0]);
    show->softmax_known = has_only_finite(&a->out[0]);
    show->softmax_card = a->card;
    return show->softmax;
}

/* Once, for networks that did not say beforehand how many classes they have. */
static void
check_labels(kerf_show *show, const kerf_answer *a)
{
    size_t n = count_of(&a->out[0]);

    if (show->labels_checked || a->card->label_count == 0)
        return;
    show->labels_checked = true;
    if (a->card->label_count != n) {
        (void)fprintf(stderr,
                      "kerf: warning: the card has %zu labels, but output 0 "
                      "has %zu classes\n",
                      a->card->label_count, n);
    }
}

static void
judge(kerf_show *show, const kerf_answer *a, kerf_judged *j)
{
    bool softmax;

    *j = (kerf_judged){0};
    if (!kerf_show_is_classes(a))
        return;
    check_labels(show, a);
    softmax = decide_softmax(show, a);
    j->top_count =
        kerf_show_top(softmax, &a->out[0], j->top, (size_t)show->top_k);
    if (show->truth == KERF_TRUTH_NONE || j->top_count == 0)
        return;
    find_truth(show, a->input, j->truth, sizeof j->truth);
    j->has_truth = j->truth[0] != '\0';
    j->right = j->has_truth && is_right(a->card, j->top[0].index, j->truth);
    show->judged += j->has_truth;
    show->right += j->right;
}

static void
print_name(kerf_show *show, const char *input)
{
    const char *base = strrchr(input, '/');
    const char *name = base == NULL ? input : base + 1;
    int has = (int)kerf_term_columns(name);

    if (has > show->name_columns)
        show->name_columns = has < NAME_COLUMNS_MAX ? has : NAME_COLUMNS_MAX;
    kerf_term_cell(&show->term, name, show->name_columns, false);
}

static void
print_mark(const kerf_show *show, const kerf_judged *j)
{
    char safe[256];
    const kerf_term *t = &show->term;

    if (!j->has_truth)
        return;
    if (j->right)
        (void)fprintf(t->out, "  %sright%s", kerf_term_green(t),
                      kerf_term_plain(t));
    else
        (void)fprintf(t->out, "  %swrong, is %s%s", kerf_term_red(t),
                      kerf_text_safe(safe, sizeof safe, j->truth),
                      kerf_term_plain(t));
}

/* "cat 98.70 %" */
static void
print_top(const kerf_show *show, const kerf_answer *a, const kerf_top *top,
          int columns, bool bold)
{
    char label[256];
    const kerf_term *t = &show->term;

    (void)fprintf(t->out, "%s", bold ? kerf_term_bold(t) : kerf_term_dim(t));
    kerf_term_cell(t, kerf_show_label(label, sizeof label, a->card, top->index),
                   columns, false);
    (void)fprintf(t->out, " %6.2f %%%s", top->score * 100.0,
                  kerf_term_plain(t));
}

/* Columns for labels: the longest, or the headline, within reason. */
static int
label_columns(const kerf_card *card)
{
    size_t most = sizeof "label" - 1;

    for (size_t i = 0; card != NULL && i < card->label_count; i++) {
        size_t has = kerf_term_columns(card->label[i]);

        most = has > most ? has : most;
    }
    return most > 24 ? 24 : (int)most;
}

static void
print_output(const kerf_show *show, const kerf_answer *a, size_t i)
{
    const kerf_tensor *t = &a->out[i];
    char shape[KERF_SHAPE_TEXT];
    char name[KERF_NAME_MAX * 4] = "";
    kerf_values v;
    FILE *to = show->term.out;

    kerf_values_of(&v, t);
    if (a->port != NULL)
        (void)kerf_text_safe(name, sizeof name, a->port[i].name);
    (void)fprintf(to, "    output %zu %-16s %s %-20s", i, name,
                  kerf_dtype_name(t->dtype), kerf_shape_text(shape, &t->shape));
    if (v.good > 0)
        (void)fprintf(to, " min %10.4g  max %10.4g  mean %10.4g  std %10.4g",
                      v.min, v.max, v.mean, v.std);
    if (v.odd > 0)
        (void)fprintf(to, "  %zu not finite", v.odd);
    (void)fputc('\n', to);
}

static void
print_cost(const kerf_show *show, const kerf_answer *a)
{
    char ns[32];
    char bytes[32];
    const kerf_term *t = &show->term;

    (void)fprintf(t->out, "  %9s",
                  kerf_text_ns(ns, sizeof ns, kerf_stages_total(&a->stages)));
    if (a->bytes_sent > 0)
        (void)fprintf(t->out, "  %10s sent",
                      kerf_text_bytes(bytes, sizeof bytes, a->bytes_sent));
    if (a->codec != NULL)
        (void)fprintf(t->out, " (%s, %.1fx)", a->codec,
                      (double)a->tensor_bytes / (double)a->coded_bytes);
    if (a->late)
        (void)fputs("  late", t->out);
}

/* The usual way goes without saying. */
static void
print_via(const kerf_show *show, const kerf_answer *a)
{
    if (a->via != NULL && strcmp(a->via, "cloud") != 0)
        (void)fprintf(show->term.out, "  via %s", a->via);
}

static void
show_lines(kerf_show *show, const kerf_answer *a, const kerf_judged *j)
{
    char number[24];
    const kerf_term *t = &show->term;
    int columns = label_columns(a->card);

    (void)snprintf(number, sizeof number, "Tensor %llu",
                   (unsigned long long)a->index + 1);
    (void)fprintf(t->out, "%-11s ", number);
    print_name(show, a->input);
    if (j->top_count > 0) {
        char argmax[64];

        (void)fprintf(t->out, "  Result:%-6s ",
                      kerf_show_argmax(argmax, sizeof argmax, &a->out[0]));
        for (size_t i = 0; i < j->top_count; i++) {
            (void)fprintf(t->out, i == 0 ? "" : "  ");
            print_top(show, a, &j->top[i], columns, i == 0);
        }
        print_cost(show, a);
        print_via(show, a);
        print_mark(show, j);
        (void)fputc('\n', t->out);
        return;
    }
    print_cost(show, a);
    print_via(show, a);
    (void)fputc('\n', t->out);
    for (size_t i = 0; i < a->out_count; i++)
        print_output(show, a, i);
}

/* A stage that this kind of run has: something was measured in it. */
static bool
is_used(const kerf_show *show, int stage)
{
    return show->bytes_sent > 0 || stage <= KERF_STAGE_HEAD;
}

/* The table leaves the codec's stages to the summary: raw has none. */
static bool
is_column(const kerf_show *show, int stage)
{
    return is_used(show, stage) && stage != KERF_STAGE_ENCODE &&
           stage != KERF_STAGE_DECODE;
}

static void
show_header(kerf_show *show, int label_width, bool classes)
{
    static const char *const short_name[KERF_STAGE_COUNT] = {
        "read",  "decode", "head", "encode", "uplink",
        "queue", "decode", "tail", "downlnk"};
    const kerf_term *t = &show->term;

    (void)fprintf(t->out, "%s%5s  ", kerf_term_bold(t), "#");
    kerf_term_cell(t, "input", show->name_columns, false);
    if (classes) {
        (void)fputs("  ", t->out);
        kerf_term_cell(t, "label", label_width, false);
        (void)fprintf(t->out, " %8s", "score");
    }
    if (show->bytes_sent > 0)
        (void)fprintf(t->out, " %10s", "sent");
    for (int i = 0; i < KERF_STAGE_COUNT; i++) {
        if (is_column(show, i))
            (void)fprintf(t->out, " %7s", short_name[i]);
    }
    (void)fprintf(t->out, " %8s%s\n", "total us", kerf_term_plain(t));
    show->has_header = true;
}

static void
show_row(kerf_show *show, const kerf_answer *a, const kerf_judged *j)
{
    const kerf_term *t = &show->term;
    int columns = label_columns(a->card);
    char bytes[32];

    if (!show->has_header)
        show_header(show, columns, j->top_count > 0);
    (void)fprintf(t->out, "%5llu  ", (unsigned long long)a->index + 1);
    print_name(show, a->input);
    if (j->top_count > 0) {
        (void)fputs("  ", t->out);
        print_top(show, a, &j->top[0], columns, true);
    }
    if (show->bytes_sent > 0)
        (void)fprintf(t->out, " %10s",
                      kerf_text_bytes(bytes, sizeof bytes, a->bytes_sent));
    for (int i = 0; i < KERF_STAGE_COUNT; i++) {
        if (is_column(show, i))
            (void)fprintf(t->out, " %7.0f", (double)a->stages.ns[i] / 1e3);
    }
    (void)fprintf(t->out, " %8.0f",
                  (double)kerf_stages_total(&a->stages) / 1e3);
    print_via(show, a);
    print_mark(show, j);
    if (a->late)
        (void)fputs("  late", t->out);
    (void)fputc('\n', t->out);
}

static void
count_answer(kerf_show *show, const kerf_answer *a)
{
    bool waited = a->via != NULL && strcmp(a->via, "queued") == 0;

    show->answered++;
    show->local += a->via != NULL && strcmp(a->via, "local") == 0;
    show->late += waited;
    show->bytes_sent += a->bytes_sent;
    show->tensor_bytes += a->tensor_bytes;
    show->coded_bytes += a->coded_bytes;
    show->last_ns = kerf_now_ns();
    if (show->answered == 1)
        show->first_ns = show->last_ns;
    if (waited) /* its times are only those after the disk */
        return;
    kerf_stats_add(&show->total_us,
                   (double)kerf_stages_total(&a->stages) / 1e3);
    kerf_stats_add(&show->split_us,
                   (double)(kerf_stages_total(&a->stages) -
                            a->stages.ns[KERF_STAGE_CAPTURE] -
                            a->stages.ns[KERF_STAGE_PREPROCESS]) /
                       1e3);
    for (int i = 0; i < KERF_STAGE_COUNT; i++)
        show->stage_sum[i] += (double)a->stages.ns[i];
}

void
kerf_show_answer(kerf_show *show, const kerf_answer *a)
{
    static kerf_judged judged; /* large, and an answer must not want memory */
    kerf_judged *j = &judged;
    char safe[2048];

    if (a->err != KERF_OK) {
        show->failed++;
        if (show->mode == KERF_SHOW_JSON) {
            kerf_show_json_error("error", a->index, a->input, a->why,
                                 a->earlier);
        } else {
            (void)fprintf(show->term.out, "Tensor %-4llu ",
                          (unsigned long long)a->index + 1);
            print_name(show, a->input);
            (void)fprintf(show->term.out, "  %sno answer: %s%s\n",
                          kerf_term_red(&show->term),
                          kerf_text_safe(safe, sizeof safe, a->why),
                          kerf_term_plain(&show->term));
        }
        return;
    }
    count_answer(show, a);
    if (show->quiet && show->truth == KERF_TRUTH_NONE)
        return;
    *j = (kerf_judged){0};
    judge(show, a, j);
    if (show->quiet)
        ; /* counted */
    else if (show->mode == KERF_SHOW_JSON)
        kerf_show_json_answer(a, j);
    else if (show->mode == KERF_SHOW_TABLE)
        show_row(show, a, j);
    else
        show_lines(show, a, j);
    kerf_out_flush();
}

void
kerf_show_skipped(kerf_show *show, uint64_t index, const char *input,
                  const char *why)
{
    char safe[2048];

    show->skipped++;
    if (show->mode == KERF_SHOW_JSON)
        kerf_show_json_error("skipped", index, input, why, false);
    kerf_out_flush();
    (void)fprintf(stderr, "kerf: skipped: %s\n",
                  kerf_text_safe(safe, sizeof safe, why));
}

void
kerf_show_queued(kerf_show *show, uint64_t index, const char *input)
{
    show->queued++;
    if (show->quiet)
        return;
    if (show->mode == KERF_SHOW_JSON) {
        kerf_show_json_error("queued", index, input, NULL, false);
    } else {
        (void)fprintf(show->term.out, "Tensor %-4llu ",
                      (unsigned long long)index + 1);
        print_name(show, input);
        (void)fprintf(show->term.out, "  queued\n");
    }
    kerf_out_flush();
}

static void
print_stages(const kerf_show *show, double total)
{
    const kerf_term *t = &show->term;

    (void)fprintf(t->out, "where the time went, mean\n");
    for (int i = 0; i < KERF_STAGE_COUNT; i++) {
        double mean =
            show->stage_sum[i] / (double)(show->answered - show->late);
        double share = total > 0.0 ? show->stage_sum[i] / total : 0.0;
        char ns[32];

        if (!is_used(show, i))
            continue;
        (void)fprintf(t->out, "  %-11s %10s %5.1f %%  %s",
                      kerf_stage_name((kerf_stage)i),
                      kerf_text_ns(ns, sizeof ns, (unsigned long long)mean),
                      share * 100.0, kerf_term_dim(t));
        for (int k = 0; k < (int)(share * 30.0 + 0.5); k++)
            (void)fputc('#', t->out);
        (void)fprintf(t->out, "%s\n", kerf_term_plain(t));
    }
}

void
kerf_show_summary(kerf_show *show)
{
    uint64_t asked = show->answered + show->failed + show->skipped + show->left;
    const kerf_term *t = &show->term;
    double total = 0.0;
    char a[32], b[32], c[32];

    if (show->mode == KERF_SHOW_JSON) {
        kerf_show_json_summary(show);
        return;
    }
    for (int i = 0; i < KERF_STAGE_COUNT; i++)
        total += show->stage_sum[i];
    (void)fprintf(t->out, "\n%s%llu of %llu answered%s", kerf_term_bold(t),
                  (unsigned long long)show->answered, (unsigned long long)asked,
                  kerf_term_plain(t));
    if (show->judged > 0)
        (void)fprintf(t->out, ", %llu of %llu right",
                      (unsigned long long)show->right,
                      (unsigned long long)show->judged);
    if (show->local > 0)
        (void)fprintf(t->out, ", %llu here", (unsigned long long)show->local);
    if (show->late > 0)
        (void)fprintf(t->out, ", %llu by way of the queue",
                      (unsigned long long)show->late);
    if (show->left > 0)
        (void)fprintf(t->out, ", %llu left in the queue",
                      (unsigned long long)show->left);
    (void)fputc('\n', t->out);
    if (show->answered == show->late)
        return;
    (void)fprintf(
        t->out, "end to end p50 %s, p99 %s",
        kerf_text_ns(
            a, sizeof a,
            (unsigned long long)(kerf_stats_quantile(&show->total_us, 0.5) *
                                 1e3)),
        kerf_text_ns(
            b, sizeof b,
            (unsigned long long)(kerf_stats_quantile(&show->total_us, 0.99) *
                                 1e3)));
    if (show->bytes_sent > 0)
        (void)fprintf(t->out, ", %s sent",
                      kerf_text_bytes(c, sizeof c, show->bytes_sent));
    if (show->coded_bytes < show->tensor_bytes)
        (void)fprintf(t->out, " (tensors %.1fx smaller)",
                      (double)show->tensor_bytes / (double)show->coded_bytes);
    (void)fputc('\n', t->out);
    print_stages(show, total);
}
