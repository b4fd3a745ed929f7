#!/bin/sh
# threads.sh PROGRAM... - none of the programs starts a thread, nor does a
# library on its behalf: there is nothing in them to race with.
set -u
bad=0
starters='pthread_create|thrd_create|uv_thread_create(_ex)?|uv_queue_work|gst_init(_check)?'
for program in "$@"; do
    # Every program needs some symbol, so none means that it was not read.
    if ! needs=$(nm -u "$program") || [ -z "$needs" ]; then
        echo "$program: cannot read its symbols" >&2
        bad=$((bad + 1))
    fi
    # A symbol may have a version behind it: pthread_create@GLIBC_2.34.
    for name in $(echo "$needs" | grep -oEw "$starters"); do
        echo "$(basename "$program") needs $name: mark it THREADS in tests/unit/CMakeLists.txt" >&2
        bad=$((bad + 1))
    done
done
echo "$# programs, $bad complaints"
[ "$bad" -eq 0 ] && [ "$#" -gt 0 ]
