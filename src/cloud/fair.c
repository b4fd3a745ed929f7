#include "cloud/fair.h"

#include "base/waiting.h"

#include <stdatomic.h>
#include <stdlib.h>

#define NS_MOST ((uint64_t)1 << 40) /* of a price: sums do not overflow */

struct kerf_fair {
    kerf_waiting waiting; /* its lock is for all of this */
    size_t limit;
    _Atomic size_t count; /* changed under the lock */
    _Atomic unsigned news;
    kerf_price *prices;      /* of all that wait: one per model, few */
    kerf_line *first, *last; /* the ring; first: whose turn it is */
};

kerf_err
kerf_fair_new(kerf_fair **out, size_t limit)
{
    kerf_fair *f;

    if (limit == 0)
        return KERF_EINVAL;
    f = calloc(1, sizeof *f);
    if (f == NULL)
        return KERF_ENOMEM;
    f->limit = limit;
    kerf_waiting_init(&f->waiting);
    *out = f;
    return KERF_OK;
}

void
kerf_fair_free(kerf_fair *f)
{
    if (f == NULL)
        return;
    kerf_waiting_fini(&f->waiting);
    free(f);
}

/* The ring. All that follows is under the lock. */

static void
enter_ring(kerf_fair *f, kerf_line *line)
{
    line->before = f->last;
    line->behind = NULL;
    if (f->last != NULL)
        f->last->behind = line;
    else
        f->first = line;
    f->last = line;
}

static void
leave_ring(kerf_fair *f, kerf_line *line)
{
    if (line->before != NULL)
        line->before->behind = line->behind;
    else
        f->first = line->behind;
    if (line->behind != NULL)
        line->behind->before = line->before;
    else
        f->last = line->before;
}

static void
end_turn(kerf_fair *f, kerf_line *line)
{
    if (f->last != line) {
        leave_ring(f, line);
        enter_ring(f, line);
    }
}

/* Prices. */

static int64_t
price_of(const kerf_price *price)
{
    uint64_t ns = atomic_load_explicit(&price->ns, memory_order_relaxed);

    return ns == 0 ? 1 : (int64_t)(ns < NS_MOST ? ns : NS_MOST);
}

static void
count_in(kerf_fair *f, kerf_price *price)
{
    if (price->waiting++ > 0)
        return;
    price->prev = NULL;
    price->next = f->prices;
    if (price->next != NULL)
        price->next->prev = price;
    f->prices = price;
}

static void
count_out(kerf_fair *f, kerf_price *price)
{
    if (--price->waiting > 0)
        return;
    if (price->prev != NULL)
        price->prev->next = price->next;
    else
        f->prices = price->next;
    if (price->next != NULL)
        price->next->prev = price->prev;
}

static int64_t
quantum(const kerf_fair *f)
{
    int64_t most = 1;

    for (const kerf_price *p = f->prices; p != NULL; p = p->next) {
        int64_t ns = price_of(p);

        most = ns > most ? ns : most;
    }
    return most;
}

/* Lines. */

static void
add_job(kerf_fair *f, kerf_job *job)
{
    kerf_line *line = job->line;

    job->prev = line->last;
    job->next = NULL;
    if (line->last != NULL)
        line->last->next = job;
    else
        line->first = job;
    line->last = job;
    if (line->count++ == 0)
        enter_ring(f, line);
    f->count++;
    count_in(f, job->price);
}

/* Takes it out of its line, which pays. */
static void
remove_job(kerf_fair *f, kerf_job *job, int64_t ns)
{
    kerf_line *line = job->line;

    if (job->prev != NULL)
        job->prev->next = job->next;
    else
        line->first = job->next;
    if (job->next != NULL)
        job->next->prev = job->prev;
    else
        line->last = job->prev;
    line->deficit_ns -= ns;
    f->count--;
    count_out(f, job->price);
    if (--line->count == 0) { /* nothing is saved up while away */
        leave_ring(f, line);
        line->deficit_ns = 0;
    }
}

/* Takes the job out of its line, whose turn it is: with a quantum, it can pay.
 * Whether its turn is over: not enough is left for the next. */
static bool
pay(kerf_fair *f, kerf_job *job)
{
    kerf_line *line = job->line;
    int64_t ns = price_of(job->price);

    if (line->deficit_ns < ns)
        line->deficit_ns += quantum(f);
    remove_job(f, job, ns);
    return line->count > 0 && line->deficit_ns < price_of(line->first->price);
}

static void *
take_next(void *ctx)
{
    kerf_fair *f = ctx;
    kerf_line *line = f->first;
    kerf_job *job;

    if (line == NULL)
        return NULL;
    job = line->first;
    if (pay(f, job))
        end_turn(f, line);
    if (f->count > 0)
        kerf_waiting_stir(&f->waiting);
    return job->of;
}

kerf_err
kerf_fair_push(kerf_fair *f, kerf_job *job)
{
    kerf_err err = KERF_OK;

    (void)pthread_mutex_lock(&f->waiting.lock);
    if (f->waiting.closed) {
        err = KERF_ECLOSED;
    } else if (f->count == f->limit) {
        err = KERF_EBUSY;
    } else {
        add_job(f, job);
        (void)atomic_fetch_add(&f->news, 1);
        kerf_waiting_stir(&f->waiting);
    }
    kerf_waiting_unlock(&f->waiting);
    return err;
}

void *
kerf_fair_pop(kerf_fair *f, kerf_awake *awake)
{
    return kerf_waiting_pop_awake(&f->waiting, take_next, f, awake);
}

void *
kerf_fair_try_pop(kerf_fair *f)
{
    return kerf_waiting_try_pop(&f->waiting, take_next, f);
}

/* The first of this kind in the line. An edge asks for one model, but for
 * moments: it is the first of all. */
static kerf_job *
find_alike(const kerf_line *line, const kerf_price *kind)
{
    kerf_job *job = line->first;

    while (job != NULL && job->price != kind)
        job = job->next;
    return job;
}

/* Each line, in turns, what its next turn would pay for. */
static size_t
take_alike(kerf_fair *f, const kerf_price *kind, void **out, size_t most)
{
    kerf_line *last = f->last;
    size_t count = 0;
    bool is_round_over = f->first == NULL;

    for (kerf_line *line = f->first, *next; !is_round_over && count < most;
         line = next) {
        kerf_job *job = find_alike(line, kind);

        next = line->behind;
        is_round_over = line == last;
        if (job == NULL)
            continue;
        out[count++] = job->of;
        if (pay(f, job))
            end_turn(f, line);
    }
    return count;
}

size_t
kerf_fair_pop_alike(kerf_fair *f, const kerf_price *kind, size_t leave,
                    void **out, size_t most)
{
    size_t count = 0;
    size_t may;

    if (atomic_load(&kind->waiting) == 0)
        return 0;
    (void)pthread_mutex_lock(&f->waiting.lock);
    may = f->count > leave ? f->count - leave : 0;
    may = may < kind->waiting ? may : kind->waiting;
    may = may < most ? may : most;
    while (count < may)
        count += take_alike(f, kind, out + count, may - count);
    kerf_waiting_unlock(&f->waiting);
    return count;
}

void
kerf_fair_look(const kerf_fair *f, const kerf_price *kind, size_t *alike,
               size_t *others)
{
    size_t all = atomic_load(&f->count);

    *alike = atomic_load(&kind->waiting);
    *others = all > *alike ? all - *alike : 0;
}

unsigned
kerf_fair_news(const kerf_fair *f)
{
    return atomic_load(&f->news);
}

void
kerf_fair_close(kerf_fair *f)
{
    (void)atomic_fetch_add(&f->news, 1);
    kerf_waiting_close(&f->waiting);
}

size_t
kerf_fair_count(kerf_fair *f)
{
    return atomic_load(&f->count);
}

bool
kerf_fair_is_next(kerf_fair *f, const kerf_line *line)
{
    bool is_next;

    (void)pthread_mutex_lock(&f->waiting.lock);
    is_next = f->first == line;
    kerf_waiting_unlock(&f->waiting);
    return is_next;
}

size_t
kerf_fair_line_count(kerf_fair *f, const kerf_line *line)
{
    size_t n;

    (void)pthread_mutex_lock(&f->waiting.lock);
    n = line->count;
    kerf_waiting_unlock(&f->waiting);
    return n;
}

uint64_t
kerf_fair_cost_ns(kerf_fair *f)
{
    uint64_t ns = 0;

    (void)pthread_mutex_lock(&f->waiting.lock);
    for (const kerf_price *p = f->prices; p != NULL; p = p->next)
        ns += p->waiting * (uint64_t)price_of(p);
    kerf_waiting_unlock(&f->waiting);
    return ns;
}
