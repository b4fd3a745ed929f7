/*
 * fail_alloc.c - linked into the build with the address sanitizer (--wrap):
 * $KERF_FAIL_ALLOC=N lets the Nth allocation of Kerf's own code fail, as when
 * memory is short; 0: none. At the end their number is written to
 * $KERF_ALLOC_COUNT. With $KERF_ALLOC_TRACE the one that fails shows on stderr
 * who asked (addr2line -e kerf tells the lines). What libraries allocate is not
 * touched.
 */
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The names are the linker's. NOLINTBEGIN(bugprone-reserved-identifier) */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t most);
FILE *__real_open_memstream(char **data, size_t *len);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t most);
FILE *__wrap_open_memstream(char **data, size_t *len);

static atomic_ulong calls;
static unsigned long failing; /* 0: none */

__attribute__((constructor)) static void
start(void)
{
    const char *n = getenv("KERF_FAIL_ALLOC");

    failing = n != NULL ? strtoul(n, NULL, 10) : 0;
}

__attribute__((destructor)) static void
end(void)
{
    const char *path = getenv("KERF_ALLOC_COUNT");
    int fd = path != NULL
                 ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)
                 : -1;

    if (fd < 0)
        return;
    (void)dprintf(fd, "%lu\n", atomic_load(&calls));
    (void)close(fd);
}

static bool
fails(void)
{
    if (atomic_fetch_add(&calls, 1) + 1 != failing)
        return false;
    if (getenv("KERF_ALLOC_TRACE") != NULL) {
        void *at[24];

        backtrace_symbols_fd(at, backtrace(at, 24), STDERR_FILENO);
    }
    errno = ENOMEM;
    return true;
}

void *
__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *
__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

void *
__wrap_reallocarray(void *old, size_t count, size_t size)
{
    return fails() ? NULL : __real_reallocarray(old, count, size);
}

void *
__wrap_aligned_alloc(size_t align, size_t size)
{
    return fails() ? NULL : __real_aligned_alloc(align, size);
}

char *
__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

char *
__wrap_strndup(const char *text, size_t most)
{
    return fails() ? NULL : __real_strndup(text, most);
}

FILE *
__wrap_open_memstream(char **data, size_t *len)
{
    return fails() ? NULL : __real_open_memstream(data, len);
}
/* NOLINTEND(bugprone-reserved-identifier) */
