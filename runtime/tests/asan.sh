#!/bin/sh
# The task life cycle and the driver's in-flight table under AddressSanitizer, leaks included. About a minute and a half
# from a cold cache, half a minute from a warm one.
#
#     runtime/tests/asan.sh
#
# MULTIKERNEL_STRESS_SECONDS sets how long the stress test goes on.
set -eu
cd "$(dirname "$0")/.."

# The sanitizer is an unstable option of the compiler; with an explicit target, build scripts and macros do without it.
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="${RUSTFLAGS:-} -Zsanitizer=address"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-../target}/asan"
export MULTIKERNEL_STRESS_SECONDS="${MULTIKERNEL_STRESS_SECONDS:-10}"

# These tests end a ring under an operation, and see that its buffer is leaked rather than freed under the kernel's hands.
suppressions=$(mktemp)
trap 'rm -f "$suppressions"' EXIT
cat >"$suppressions" <<'END'
leak:tests_send::a_reactor_closes_with_a_send_at_work
leak:leaks_what_the_ring_
leak:tests_send::a_send_polled_where_its_core_has_ended_says_so
leak:tests_zero_copy::closing_gives_up_on_a_peer_
leak:tests_file::a_reactor_closes_with_a_read_at_work
leak:tests_file::a_read_polled_where_its_core_has_ended_says_so
leak:fs::tests::a_machine_ends_with_operations_at_work_and_files_open
END
export LSAN_OPTIONS="suppressions=$suppressions:print_suppressions=0"

test_them() {
    cargo test --package multikernel --target x86_64-unknown-linux-gnu "$@"
}

cargo test --package multikernel-channels --target x86_64-unknown-linux-gnu --lib --tests
test_them --lib
for driver in uring epoll; do
    MULTIKERNEL_DRIVER=$driver test_them --test tasks --test spawning --test stress --test channels --test files
done
