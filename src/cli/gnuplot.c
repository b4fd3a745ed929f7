/*
 * gnuplot reads its script from a file that has no name and writes to one that
 * we have opened. Nothing goes through a shell, and no path is in the script.
 */
#include "cli/gnuplot.h"

#include "base/fs.h"
#include "base/text.h"

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

void
kerf_gnuplot_text(FILE *to, const char *text)
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
draw(kerf_gnuplot_put *put, const void *ctx, int picture, kerf_detail *why)
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
    put(script, ctx);
    if (fflush(script) != 0 || lseek(fileno(script), 0, SEEK_SET) != 0) {
        err = kerf_fail(why, kerf_err_from_errno(errno), "a temporary file: %s",
                        strerror(errno));
        goto out;
    }
    status = run_gnuplot(fileno(script), picture, fileno(words));
    if (status < 0 && errno == ENOENT) {
        err = kerf_fail(why, KERF_ENOENT,
                        "pictures need gnuplot: apt-get install gnuplot-nox");
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
kerf_gnuplot(const char *path, kerf_gnuplot_put *put, const void *ctx,
             kerf_detail *why)
{
    char temp[KERF_PATH_MAX];
    kerf_err err;
    int fd;
    int n = snprintf(temp, sizeof temp, "%s.XXXXXX.tmp", path);

    if (n < 0 || (size_t)n >= sizeof temp)
        return kerf_fail(why, KERF_ETOOBIG, "%.64s...: the path is too long",
                         path);
    fd = mkostemps(temp, 4, O_CLOEXEC);
    if (fd < 0)
        return kerf_fail(why, kerf_err_from_errno(errno), "%s: %s", path,
                         strerror(errno));
    err = draw(put, ctx, fd, why);
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
