/*
 * The picture of a list of cuts: gnuplot reads its script from a file that has
 * no name and writes to one that we have opened. Nothing goes through a shell,
 * and no path is in the script.
 */
#include "base/fs.h"
#include "base/text.h"
#include "cli/cut_list.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Text inside '...' of gnuplot. */
static void
put_text(FILE *to, const char *text)
{
    char safe[512];

    (void)fputc('\'', to);
    for (const char *c = kerf_text_safe(safe, sizeof safe, text); *c != '\0';
         c++) {
        if (*c == '\'') /* twice: once */
            (void)fputc('\'', to);
        (void)fputc(*c, to);
    }
    (void)fputc('\'', to);
}

static void
put_data(FILE *to, const kerf_cut_list *list)
{
    (void)fputs("$cuts << EOD\n", to);
    for (size_t i = 0; i < list->cuts.count; i++) {
        const kerf_cut *cut = &list->cuts.cut[i];
        bool shown = cut->refused == NULL && cut->bytes_known;

        /* A logarithm has no 0. */
        if (!shown)
            (void)fprintf(to, "%zu NaN", i);
        else
            (void)fprintf(
                to, "%zu %llu", i,
                (unsigned long long)(cut->bytes < 1 ? 1 : cut->bytes));
        (void)fprintf(to, " %llu %d %d\n",
                      (unsigned long long)cut->cost_head.params,
                      shown && list->mark[i].is_below,
                      shown && list->mark[i].is_smallest);
    }
    (void)fputs("EOD\n", to);
}

/* The least and the greatest size, and the input's, with room. */
static void
put_range(FILE *to, const kerf_cut_list *list)
{
    uint64_t whole = list->model->input_bytes;
    uint64_t least = whole > 0 ? whole : UINT64_MAX;
    uint64_t most = whole;
    double low = 1.0;
    double high = 10.0;

    for (size_t i = 0; i < list->cuts.count; i++) {
        const kerf_cut *cut = &list->cuts.cut[i];

        if (cut->refused != NULL || !cut->bytes_known)
            continue;
        least = cut->bytes < least ? cut->bytes : least;
        most = cut->bytes > most ? cut->bytes : most;
    }
    while (low * 10.0 <= (double)least)
        low *= 10.0;
    while (high < (double)most)
        high *= 10.0;
    (void)fprintf(to, "set yrange [%g:%g]\n", low, high);
    (void)fputs("set ytics (", to);
    for (int i = 0; low <= high; i++) {
        char text[16];

        (void)fprintf(to, "%s'%s' %g", i > 0 ? ", " : "",
                      kerf_cut_bytes_text(text, (uint64_t)low), low);
        low *= 10.0;
    }
    (void)fputs(")\n", to);
}

/* The right axis: parameters, at round numbers. */
static void
put_params(FILE *to, uint64_t all)
{
    double step = 1.0;
    double at = 0.0;
    char text[16];

    while (step * 10.0 <= (double)all)
        step *= 10.0;
    if ((double)all / step < 2.0)
        step /= 5.0;
    else if ((double)all / step < 5.0)
        step /= 2.0;
    (void)fprintf(to, "set y2range [0:%g]\n",
                  all > 0 ? (double)all * 1.05 : 1.0);
    (void)fputs("set y2tics (", to);
    for (; at <= (double)all * 1.05 && step >= 1.0; at += step)
        (void)fprintf(to, "%s'%s' %g", at > 0.0 ? ", " : "",
                      kerf_cut_count_text(text, (uint64_t)(at + 0.5)), at);
    (void)fputs(")\n", to);
}

static void
put_script(FILE *to, const kerf_cut_list *list)
{
    const kerf_cut_model *m = list->model;
    const kerf_cut *any = &list->cuts.cut[0];
    char text[16];
    char label[64];

    put_data(to, list);
    (void)fputs("set terminal svg size 960,480 dynamic enhanced "
                "font 'DejaVu Sans,Helvetica,Arial,sans-serif,13' "
                "background '#ffffff'\n"
                "set encoding utf8\n"
                "set border 11 lc rgb '#777777'\n"
                "set tics nomirror tc rgb '#333333'\n"
                "set grid ytics lc rgb '#e4e4e4' lw 1\n"
                "set logscale y\n"
                "set mytics 10\n"
                "set key outside below center horizontal samplen 2 "
                "tc rgb '#333333'\n"
                "set xlabel 'cut' tc rgb '#333333'\n"
                "set ylabel 'bytes that cross' tc rgb '#333333'\n"
                "set y2label 'parameters in the head' tc rgb '#333333'\n",
                to);
    (void)fprintf(to, "set xrange [-0.5:%.1f]\n",
                  (double)list->cuts.count - 0.5);
    put_range(to, list);
    put_params(to, any->cost_head.params + any->cost_tail.params);
    (void)fputs("set title ", to);
    put_text(to, m->file.name);
    (void)fputs(" noenhanced tc rgb '#111111'\n", to);
    (void)fputs("plot $cuts using 1:3 axes x1y2 with fillsteps lc rgb "
                "'#d9e4f1' title 'parameters in the head', ",
                to);
    if (m->input_bytes > 0) {
        (void)snprintf(label, sizeof label, "the input itself, %s%s",
                       kerf_cut_bytes_text(text, m->input_bytes),
                       m->image_port != KERF_PORTS_MAX ? " (u8)" : "");
        (void)fprintf(to, "%llu with lines dt 2 lw 1.5 lc rgb '#c0392b' title ",
                      (unsigned long long)m->input_bytes);
        put_text(to, label);
        (void)fputs(", ", to);
    }
    (void)fputs("$cuts using 1:2 with steps lw 1.2 lc rgb '#34495e' title "
                "'bytes that cross', "
                "$cuts using 1:($4 == 1 ? $2 : NaN) with points pt 7 ps 0.45 "
                "lc rgb '#27ae60' title 'less than the input', "
                "$cuts using 1:($5 == 1 ? $2 : NaN) with points pt 6 ps 0.9 "
                "lw 1.5 lc rgb '#e67e22' title 'the least so far'\n",
                to);
}

/* gnuplot with these three; its exit status, or -1 and errno. */
static int
run_gnuplot(int script, int picture, int words)
{
    char name[] = "gnuplot";
    char from_stdin[] = "-";
    char *argv[] = {name, from_stdin, NULL};
    posix_spawn_file_actions_t actions;
    pid_t child = 0;
    int status = 0;
    int code = posix_spawn_file_actions_init(&actions);

    if (code != 0) {
        errno = code;
        return -1;
    }
    code = posix_spawn_file_actions_adddup2(&actions, script, STDIN_FILENO);
    if (code == 0)
        code =
            posix_spawn_file_actions_adddup2(&actions, picture, STDOUT_FILENO);
    if (code == 0)
        code = posix_spawn_file_actions_adddup2(&actions, words, STDERR_FILENO);
    if (code == 0)
        code = posix_spawnp(&child, name, &actions, NULL, argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    while (code == 0 && waitpid(child, &status, 0) < 0)
        code = errno == EINTR ? 0 : errno;
    if (code != 0) {
        errno = code;
        return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* The first line that gnuplot said. */
static void
read_words(FILE *words, char *out, size_t cap)
{
    char line[256] = "";

    rewind(words);
    while (fgets(line, sizeof line, words) != NULL &&
           line[strspn(line, " \n")] == '\0')
        ;
    line[strcspn(line, "\n")] = '\0';
    (void)kerf_text_safe(out, cap, line);
}

static kerf_err
draw(const kerf_cut_list *list, int picture, kerf_detail *why)
{
    FILE *script = tmpfile();
    FILE *words = tmpfile();
    char said[300] = "";
    struct stat st = {0};
    kerf_err err = KERF_OK;
    int status;

    if (script == NULL || words == NULL) {
        err = kerf_fail(why, kerf_err_from_errno(errno), "a temporary file: %s",
                        strerror(errno));
        goto out;
    }
    put_script(script, list);
    if (fflush(script) != 0 || lseek(fileno(script), 0, SEEK_SET) != 0) {
        err = kerf_fail(why, kerf_err_from_errno(errno), "a temporary file: %s",
                        strerror(errno));
        goto out;
    }
    status = run_gnuplot(fileno(script), picture, fileno(words));
    if (status < 0 && errno == ENOENT) {
        err = kerf_fail(why, KERF_ENOENT,
                        "--svg needs gnuplot: apt-get install gnuplot-nox");
    } else if (status < 0) {
        err = kerf_fail(why, KERF_EIO, "gnuplot: %s", strerror(errno));
    } else if (status != 0 || fstat(picture, &st) != 0 || st.st_size == 0) {
        read_words(words, said, sizeof said);
        err = kerf_fail(why, KERF_EIO, "gnuplot failed (%d): %s", status, said);
    }
out:
    if (script != NULL)
        (void)fclose(script);
    if (words != NULL)
        (void)fclose(words);
    return err;
}

kerf_err
kerf_cut_plot(const kerf_cut_list *list, const char *path, kerf_detail *why)
{
    char temp[KERF_PATH_MAX];
    bool any = false;
    kerf_err err;
    int fd;
    int n = snprintf(temp, sizeof temp, "%s.XXXXXX.tmp", path);

    for (size_t i = 0; i < list->cuts.count && !any; i++)
        any = list->cuts.cut[i].bytes_known;
    if (!any) {
        return kerf_fail(why, KERF_EINVAL,
                         "--svg: no cut has a size that is known%s%s",
                         list->model->note.text[0] == '\0' ? "" : ": ",
                         list->model->note.text);
    }
    if (n < 0 || (size_t)n >= sizeof temp)
        return kerf_fail(why, KERF_ETOOBIG, "--svg: path too long");
    fd = mkostemps(temp, 4, O_CLOEXEC);
    if (fd < 0)
        return kerf_fail(why, kerf_err_from_errno(errno), "%s: %s", path,
                         strerror(errno));
    err = draw(list, fd, why);
    if (err == KERF_OK && fchmod(fd, 0644) != 0)
        err = kerf_fail(why, KERF_EIO, "%s: %s", path, strerror(errno));
    if (close(fd) != 0 && err == KERF_OK)
        err = kerf_fail(why, kerf_err_from_errno(errno), "%s: %s", path,
                        strerror(errno));
    if (err == KERF_OK && rename(temp, path) != 0)
        err = kerf_fail(why, kerf_err_from_errno(errno), "%s: %s", path,
                        strerror(errno));
    if (err != KERF_OK)
        (void)unlink(temp);
    return err;
}
