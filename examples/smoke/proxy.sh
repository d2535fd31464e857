# curl, wrk and iperf3 talk through the proxy.
. "$(dirname "$0")/support.sh"

behind=
tidy_all() {
    [ -z "$behind" ] || kill -KILL "$behind" 2>/dev/null || true
    tidy
}
trap tidy_all EXIT

# said_in FILE PATTERN: what the process behind says first that matches, once it does.
said_in() {
    local _
    for _ in {1..100}; do
        grep --only-matching --max-count 1 "$2" "$1" 2>/dev/null | head -n 1 && return
        kill -0 "$behind" 2>/dev/null || return 1
        sleep 0.1
    done
    return 1
}

# What stands behind the proxy ends.
leave_behind() {
    kill -TERM "$behind" 2>/dev/null || true
    wait "$behind" 2>/dev/null || true
    behind=
}

# The HTTP server of the examples.
"$(dirname "$SMOKE_PROGRAM")/http" 127.0.0.1:0 >"$work/http" 2>&1 &
behind=$!
target=$(said_in "$work/http" '127\.0\.0\.1:[0-9]*') || fail "http tells no address"
start 127.0.0.1:0 "$target"
get "http://$address/?"{1..50} || fail "the proxy does not pass requests on"
get --parallel --parallel-max 32 --header 'Connection: close' "http://$address/?"{1..100} ||
    fail "parallel requests fail"
timeout 30 wrk --threads 1 --connections 32 --duration 1s "http://$address/" >"$work/wrk" 2>&1 || fail "$(cat "$work/wrk")"
! grep --quiet --extended-regexp 'Socket errors|Non-2xx' "$work/wrk" || fail "$(cat "$work/wrk")"
stop
leave_behind

# A second of as much as goes, one way and then back, over two connections each. The port is not one that a socket may
# have been given in passing: below the range of those.
for target in {5210..5299}; do
    timeout 60 iperf3 --server --bind 127.0.0.1 --port "$target" --forceflush >"$work/far" 2>&1 &
    behind=$!
    said_in "$work/far" 'Server listening' >"$work/listens" && break
    wait "$behind" || true
    behind=
done
[ -n "$behind" ] || fail "iperf3 finds no port: $(cat "$work/far")"
start 127.0.0.1:0 "127.0.0.1:$target"
for direction in --version4 --reverse; do
    timeout 30 iperf3 --client 127.0.0.1 --port "$port" --time 1 "$direction" >"$work/iperf" 2>&1 ||
        fail "iperf3 fails: $(cat "$work/iperf")"
done
grep --quiet receiver "$work/iperf" || fail "iperf3 received nothing: $(cat "$work/iperf")"
stop
leave_behind

code=0
timeout 15 "$SMOKE_PROGRAM" 127.0.0.1:0 >"$work/refused" 2>&1 || code=$?
[ "$code" = 1 ] && grep --quiet usage "$work/refused" || fail "without a target the proxy ended with $code"
