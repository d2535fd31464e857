#!/bin/sh
# The scenarios on real threads, over and over: under AddressSanitizer, leaks included, and under valgrind's memcheck.
#
#     channels/tests/sanitizers.sh                 # both
#     channels/tests/sanitizers.sh asan            # or one of them: asan, valgrind
#
# MULTIKERNEL_SANITIZER_SECONDS says how long each of the two goes on: 10 unless it is set, and at least one pass. A pass
# has a part of the steps that the test has without; MULTIKERNEL_FEWER sets what they are divided by.
set -eu
cd "$(dirname "$0")/.."

seconds=${MULTIKERNEL_SANITIZER_SECONDS:-10}
target=x86_64-unknown-linux-gnu

# Runs the scenarios until the time is up, by the command for one pass.
passes() {
    name=$1
    shift
    "$@" --no-run
    begin=$(date +%s) passes=0
    while [ "$passes" -eq 0 ] || [ $(($(date +%s) - begin)) -lt "$seconds" ]; do
        "$@" -- --quiet
        passes=$((passes + 1))
    done
    echo "$name: $passes passes in $(($(date +%s) - begin)) s, nothing found"
}

asan() {
    # An unstable option of the compiler; with an explicit target, build scripts and macros do without it.
    RUSTC_BOOTSTRAP=1 RUSTFLAGS="${RUSTFLAGS:-} -Zsanitizer=address" MULTIKERNEL_FEWER="${MULTIKERNEL_FEWER:-10}" \
        CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-../target}/asan" \
        passes AddressSanitizer cargo test --package multikernel-channels --target "$target" --test threads --test epoch
}

# It runs one thread at a time, so it finds what is wrong in one order of steps, not what is wrong with the orders.
# What it calls "possibly lost" are the thread-local blocks of the test harness.
memcheck() {
    command -v valgrind >/dev/null || {
        echo "valgrind is missing: apt-get install valgrind" >&2
        exit 1
    }
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="valgrind --quiet --fair-sched=yes --error-exitcode=99 \
        --leak-check=full --show-leak-kinds=definite,indirect --errors-for-leak-kinds=definite,indirect" \
        MULTIKERNEL_FEWER="${MULTIKERNEL_FEWER:-200}" \
        passes valgrind cargo test --package multikernel-channels --target "$target" --test threads --test epoch
}

case "${1:-both}" in
both)
    asan
    memcheck
    ;;
asan) asan ;;
valgrind) memcheck ;;
*)
    echo "$0: asan, valgrind, or nothing for both" >&2
    exit 2
    ;;
esac
