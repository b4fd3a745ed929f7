#!/bin/sh
# demo.sh - the main job on one machine: `kerf cloud` and `kerf edge` as two
# processes on loopback, 20 pictures of digits, then the same pictures through
# the whole model in one process. Called by `./dev demo`, from the repository's
# root, with KERF=path of the binary.
set -eu

KERF=${KERF:?set KERF to the kerf binary}
DIGITS=models/digits
work=$(mktemp -d "${TMPDIR:-/tmp}/kerf-demo.XXXXXX")
cloud_pid=

clean_up() {
    [ -z "$cloud_pid" ] || kill "$cloud_pid" 2>/dev/null || :
    [ -z "$cloud_pid" ] || wait "$cloud_pid" 2>/dev/null || :
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

say() { printf '\n==> %s\n' "$*"; }

# Two pictures of each digit, none of which the model was trained on.
set --
for digit in 0 1 2 3 4 5 6 7 8 9; do
    n=0
    for file in "$DIGITS"/images/"${digit}"_*.png; do
        [ "$n" -eq 2 ] && break
        set -- "$@" --input "$file"
        n=$((n + 1))
    done
done

say "kerf cloud: serves the tail and ships the head of $DIGITS"
mkfifo "$work/says"
"$KERF" cloud --cloud_host 127.0.0.1 --cloud_port 0 --models "$DIGITS" --json --quiet \
    >"$work/says" 2>"$work/cloud.log" &
cloud_pid=$!
port=
model=
why="the cloud did not start"
while [ -z "$port" ] && read -r line; do
    case $line in
    *'"event":"model"'*'"ok":true'*)
        model=ready
        ;;
    *'"event":"model"'*)
        why=${line##*\"why\":\"}
        why="the cloud does not serve the model: ${why%\"\}}"
        break
        ;;
    *'"event":"listening"'*)
        if [ -z "$model" ]; then
            why="the cloud found no model in $DIGITS"
            break
        fi
        port=${line##*\"port\":}
        port=${port%%[!0-9]*}
        ;;
    esac
done <"$work/says"
if [ -z "$port" ]; then
    cat "$work/cloud.log" >&2
    echo "demo: error: $why" >&2
    exit 1
fi
echo "listening on 127.0.0.1:$port (process $cloud_pid)"

say "kerf edge: receives the head, runs it on 20 pictures, sends the tensors"
"$KERF" edge --cloud_host 127.0.0.1 --cloud_port "$port" --store "$work/store" \
    --once --window 1 --table --truth name --save "$work/split" "$@"

say "kerf run: the same pictures through the whole model on this side"
"$KERF" run "$DIGITS/digits.pdmodel" --quiet --truth name --against "$work/split" "$@"

say "next: ./dev test, or README.md for two machines"
