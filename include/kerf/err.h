/*
 * err.h - error codes and the text that goes with them.
 *
 * A call that can fail returns a kerf_err; 0 is success. Calls that touch
 * files, models, peers or settings also take a kerf_detail: one line that says
 * which file, layer or field, and what to do.
 * Threads: kerf_detail belongs to one caller at a time; the rest is pure.
 */
#ifndef KERF_ERR_H
#define KERF_ERR_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define KERF_NODISCARD __attribute__((warn_unused_result))
#define KERF_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define KERF_API __attribute__((visibility("default")))
#else
#define KERF_NODISCARD
#define KERF_PRINTF(fmt, args)
#define KERF_API
#endif

/* Numbers travel on the wire and in exit reports: append, never renumber. */
#define KERF_ERR_MAP(X)                       \
    X(OK, 0, "success")                       \
    X(ENOMEM, 1, "out of memory")             \
    X(EINVAL, 2, "invalid argument")          \
    X(ECORRUPT, 3, "corrupt data")            \
    X(ETOOBIG, 4, "larger than the limit")    \
    X(ENOTSUP, 5, "not supported")            \
    X(EIO, 6, "input or output failed")       \
    X(ENOENT, 7, "not found")                 \
    X(EMISMATCH, 8, "does not match")         \
    X(EVERSION, 9, "version not supported")   \
    X(EPROTO, 10, "protocol violation")       \
    X(EBUSY, 11, "busy, try again later")     \
    X(EDEADLINE, 12, "deadline passed")       \
    X(ECLOSED, 13, "connection closed")       \
    X(EENGINE, 14, "inference engine failed") \
    X(ENOSPC, 15, "no space left")            \
    X(EINTR, 16, "interrupted")               \
    X(EAGAIN, 17, "not ready yet")            \
    X(EADDRINUSE, 18, "address in use")       \
    X(EDENIED, 19, "not permitted")

typedef enum kerf_err {
#define KERF_ERR_ENUM(name, number, text) KERF_##name = (number),
    KERF_ERR_MAP(KERF_ERR_ENUM)
#undef KERF_ERR_ENUM
} kerf_err;

/* "ECORRUPT"; "EUNKNOWN" for a number that this build does not know. */
KERF_API const char *kerf_err_name(kerf_err err);

/* "corrupt data"; "unknown error" for a number that this build does not know.
 */
KERF_API const char *kerf_err_text(kerf_err err);

/* One line for a person, always 0-terminated, cut when too long. */
typedef struct kerf_detail {
    char text[512];
} kerf_detail;

/* Writes the line and returns err, so that a failing check is one statement:
 *     return kerf_fail(why, KERF_EINVAL, "--size %s: expected HxW", arg);
 * why may be NULL. */
KERF_API kerf_err kerf_fail(kerf_detail *why, kerf_err err, const char *fmt,
                            ...) KERF_PRINTF(3, 4);

/* Puts "prefix: " before the line that is there already. Returns err. */
KERF_API kerf_err kerf_fail_in(kerf_detail *why, kerf_err err, const char *fmt,
                               ...) KERF_PRINTF(3, 4);
#ifdef __clang_analyzer__ /* sees no other file: they return err */
/* NOLINTBEGIN(readability-identifier-naming) */
#define kerf_fail(why, err, ...) ((void)(kerf_fail)(why, err, __VA_ARGS__), err)
#define kerf_fail_in(why, err, ...) \
    ((void)(kerf_fail_in)(why, err, __VA_ARGS__), err)
/* NOLINTEND(readability-identifier-naming) */
#endif

#ifdef __cplusplus
}
#endif
#endif
