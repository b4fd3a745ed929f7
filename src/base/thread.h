/*
 * thread.h - what each of Kerf's threads does first. Threads: the calling one.
 */
#ifndef KERF_BASE_THREAD_H
#define KERF_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Gives the thread its name (15 characters, for top and debuggers) and the
 * scheduling class in which waking up does not interrupt what runs on the
 * core: on a core that is busy, sockets are served between inferences, not in
 * the midst of each, which saves most context switches. An idle core is taken
 * at once, as ever. */
void kerf_thread_begin(const char *name);

/* A thread of ours that sends: splice(2) to a socket that is closed has no flag
 * against SIGPIPE, and the program that we are a part of may not ignore it. */
void kerf_thread_block_pipe(void);

/* From now on waking up does interrupt (or does not any more) what runs on the
 * calling thread's core. *now: whether it does, the caller's to keep. */
void kerf_thread_interrupt(bool *now, bool want);

/* Those that the process may use, not those of the machine: a container or
 * taskset may grant fewer. At least 1. */
int kerf_thread_cores(void);

/* pthread_join(), for so long at most: false: it runs yet. */
bool kerf_thread_join(pthread_t thread, uint64_t within_ms);

#endif
