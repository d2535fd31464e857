#!/usr/bin/env bash
# Runs the examples, each with both drivers and bounded in time. One that has a file in smoke/ is driven by it; the others
# end by themselves. `smoke.sh NAME..` runs only those named.
set -euo pipefail
cd "$(dirname "$0")/.."

# How many seconds a program may take with one driver: if it ends by itself, and if it is driven.
readonly BY_ITSELF=30 DRIVEN=120

bin=$(realpath --canonicalize-missing "${CARGO_TARGET_DIR:-target}")/release
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# A file or a folder each.
programs() {
    local source
    for source in examples/src/bin/*; do
        basename "$source" .rs
    done
}

# run NAME DRIVER
run() {
    local name=$1 driver=$2 code=0
    local -x MULTIKERNEL_DRIVER=$driver SMOKE_PROGRAM=$bin/$name
    if [ -e "examples/smoke/$name.sh" ]; then
        timeout --kill-after 10 "$DRIVEN" bash "examples/smoke/$name.sh" </dev/null >"$log" 2>&1 || code=$?
    else
        timeout --kill-after 10 "$BY_ITSELF" "$SMOKE_PROGRAM" </dev/null >"$log" 2>&1 || code=$?
    fi
    if [ "$code" != 0 ]; then
        printf 'smoke: %s with %s: exit code %d (124: it took too long); it said:\n' "$name" "$driver" "$code" >&2
        cat "$log" >&2
        exit 1
    fi
    printf 'smoke: %s with %s\n' "$name" "$driver"
}

names=("$@")
[ $# -gt 0 ] || mapfile -t names < <(programs)
# With what was there before a program was ported.
cargo build --release --package multikernel-examples --bins --examples
for name in "${names[@]}"; do
    for driver in uring epoll; do
        run "$name" "$driver"
    done
done
