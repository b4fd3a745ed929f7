#!/bin/sh
# headers.sh ROOT [INCLUDE_DIR...] - compiles each header alone: all of them in
# C, the public ones also in C++. CC, CXX and KERF_OPENVINO come by environment.
set -u
root=$1
shift
for dir in "$@"; do
    set -- "$@" -isystem "$dir"
    shift
done
: "${CC:=cc}" "${CXX:=c++}" "${KERF_OPENVINO:=1}"
failed=0
count=0

alone() { # alone WHAT HEADER COMMAND...
    alone_what=$1
    alone_header=$2
    shift 2
    count=$((count + 1))
    if ! "$@" -fsyntax-only -Wall -Wextra -Wpedantic -Wundef -Werror \
        -I"$root/include" -include "$alone_header"; then
        echo "$alone_header: does not compile alone in $alone_what" >&2
        failed=$((failed + 1))
    fi
}

for header in "$root"/include/kerf/*.h; do
    alone C "$header" "$CC" -std=c17 -x c /dev/null
    alone C++ "$header" "$CXX" -std=c++17 -x c++ /dev/null
done
for header in $(find "$root/src" -name '*.h' | sort); do
    case $header in
    */engine/openvino*) [ "$KERF_OPENVINO" = 1 ] || continue ;;
    esac
    alone C "$header" "$CC" -std=c17 -D_GNU_SOURCE -I"$root/src" "$@" \
        -x c /dev/null
done
echo "$count compilations, $failed failed"
[ "$failed" -eq 0 ] && [ "$count" -gt 0 ]
