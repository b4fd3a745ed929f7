/*
 * pir_programs.h - Paddle 3's programs for tests, put together op by op.
 */
#ifndef KERF_TESTS_PIR_PROGRAMS_H
#define KERF_TESTS_PIR_PROGRAMS_H

#include <cmocka.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PROGRAM_MAX 65536 /* bytes */

/* The program that a test puts together: ops, separated by commas. */
static char ops[PROGRAM_MAX];
static size_t ops_len;

/* Attributes; ' stands where JSON has ". */
#define A(name, type, value) \
    "{'N':'" name "','AT':{'#':'" type "','D':" value "}}"
#define STR(name, value) A(name, "0.a_str", "'" value "'")
#define BOOL(name, value) A(name, "0.a_bool", value)
#define INT(name, value) A(name, "0.a_i32", value)
#define LIST(name, items) A(name, "0.a_array", "[" items "]")
#define I32(value) "{'#':'0.a_i32','D':" #value "}"
#define I64(value) "{'#':'0.a_i64','D':" #value "}"
#define F64(value) "{'#':'0.a_f64','D':" #value "}"

static inline void put(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

static inline void
put(const char *fmt, ...)
{
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(ops + ops_len, sizeof ops - ops_len, fmt, args);
    va_end(args);
    assert_in_range(n, 0, sizeof ops - ops_len - 1);
    ops_len += (size_t)n;
}

/* "f32 -1,4" as {"#":"0.t_dtensor",..}; "NULL" as a result that is not there;
 * "[f32 4|f32 4]" as a list. */
static inline void
put_type(const char *type, size_t len)
{
    size_t word = strcspn(type, " ");

    if (*type == '[') {
        put("{'#':'0.t_vec','D':[");
        for (const char *at = type + 1; at < type + len - 1;) {
            size_t n = strcspn(at, "|]");

            put(at == type + 1 ? "" : ",");
            put_type(at, n);
            at += n + 1;
        }
        put("]}");
    } else if (word >= len) {
        put("{'#':'%.*s'}", (int)len, type);
    } else {
        put("{'#':'0.t_dtensor','D':[{'#':'0.t_%.*s'},[%.*s],'NCHW',[],0]}",
            (int)word, type, (int)(len - word - 1), type + word + 1);
    }
}

/* "3 f32 -1,4; 4 i64 2" */
static inline void
put_results(const char *out)
{
    while (*out != '\0') {
        size_t digits = strcspn(out, " ");
        size_t len = strcspn(out, ";");

        put("{'%%':%.*s,'TT':", (int)digits, out);
        put_type(out + digits + 1, len - digits - 1);
        put("}%s", out[len] == ';' ? "," : "");
        out += len + (out[len] == ';' ? 2 : 0);
    }
}

/* in: "1,2", the numbers of the operands. */
static inline void
op(const char *id, const char *attrs, const char *in, const char *out)
{
    put("%s{'#':'%s','A':[%s],'I':[", ops_len == 0 ? "" : ",", id, attrs);
    while (*in != '\0') {
        size_t len = strcspn(in, ",");

        put("{'%%':%.*s}%s", (int)len, in, in[len] == ',' ? "," : "");
        in += len + (in[len] == ',');
    }
    put("],'O':[");
    put_results(out);
    put("]}");
}

/* Value 1, the input: "x", f32 [-1, 4]. */
static inline void
data(void)
{
    op("1.data", STR("name", "x"), "", "1 f32 -1,4");
}

static inline void
param(int number, const char *name, const char *type, bool is_kept)
{
    put("%s{'#':'p','A':[0,1,1,'%s'],'OA':[%d,0,1],'O':{'%%':%d,'TT':",
        ops_len == 0 ? "" : ",", name, is_kept, number);
    put_type(type, strlen(type));
    put("}}");
}

static inline void
weight(int number, const char *name, const char *dims)
{
    char type[64];

    (void)snprintf(type, sizeof type, "f32 %s", dims);
    param(number, name, type, true);
}

/* "1.full": the value everywhere. */
static inline void
full(int number, const char *dtype, const char *dims, const char *value)
{
    char attrs[256], out[64];

    (void)snprintf(attrs, sizeof attrs,
                   "{'N':'shape','AT':{'#':'1.a_intarray','D':[%s]}},"
                   "{'N':'value','AT':{'#':'0.a_f64','D':%s}}",
                   dims, value);
    (void)snprintf(out, sizeof out, "%d %s %s", number, dtype, dims);
    op("1.full", attrs, "", out);
}

static inline void
ints(int number, const char *count, const char *items)
{
    char attrs[256], out[64];

    (void)snprintf(attrs, sizeof attrs,
                   "{'N':'value','AT':{'#':'0.a_array','D':[%s]}}", items);
    (void)snprintf(out, sizeof out, "%d i64 %s", number, count);
    op("1.full_int_array", attrs, "", out);
}

/* Output col, which is called out0 and so on. */
static inline void
fetch(int number, int col)
{
    char attrs[256], in[16];

    (void)snprintf(attrs, sizeof attrs,
                   "{'N':'name','AT':{'#':'0.a_str','D':'out%d'}},"
                   "{'N':'col','AT':{'#':'0.a_i32','D':%d}}",
                   col, col);
    (void)snprintf(in, sizeof in, "%d", number);
    op("1.fetch", attrs, in, "");
}

/* The whole program; the next starts afresh. */
static inline const char *
take_program(void)
{
    static char json[PROGRAM_MAX + 256];
    int n = snprintf(json, sizeof json,
                     "{'base_code':{'magic':'pir','trainable':true,"
                     "'version':4},'program':{'regions':[{'#':'region_0',"
                     "'blocks':[{'#':'block_0','args':[],'ops':[%.*s]}]}]}}",
                     (int)ops_len, ops);

    assert_in_range(n, 1, sizeof json - 1);
    for (char *at = strchr(json, '\''); at != NULL; at = strchr(at, '\''))
        *at = '"';
    ops_len = 0;
    return json;
}

#endif
