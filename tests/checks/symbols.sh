#!/bin/sh
# symbols.sh DIR - every symbol that the archives under DIR define for others
# begins with kerf_, so that libkerf can be linked into any program.
set -u
count=0
bad=0
for archive in $(find "$1" -name 'libkerf_*.a' | sort); do
    count=$((count + 1))
    wrong=$(nm -g --defined-only "$archive" 2>/dev/null |
        awk 'NF == 3 && $3 !~ /^kerf_/ && $3 !~ /^__(asan|odr|gcov)/ { print $3 }')
    for name in $wrong; do
        echo "$(basename "$archive"): $name does not begin with kerf_" >&2
        bad=$((bad + 1))
    done
done
echo "$count archives, $bad wrong names"
[ "$bad" -eq 0 ] && [ "$count" -gt 0 ]
