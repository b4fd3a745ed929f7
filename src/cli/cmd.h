/*
 * cmd.h - the commands: one cmd_<name>.c each, and a row in main.c.
 * argv[0] is the command's name. Returns the exit status: 0 ok, 1 failed,
 * 2 usage.
 */
#ifndef KERF_CLI_CMD_H
#define KERF_CLI_CMD_H

int kerf_cmd_card(int argc, char **argv);
int kerf_cmd_run(int argc, char **argv);

#endif
