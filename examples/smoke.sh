#!/usr/bin/env bash
# Runs every example: those that end by themselves, then the servers, with both drivers. Bounded in time.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${CARGO_TARGET_DIR:-target}/release
work=$(mktemp -d)
server=
behind=()

tidy() {
    local id
    for id in $server "${behind[@]}"; do
        kill -KILL "$id" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap tidy EXIT

# fail MESSAGE LOG
fail() {
    printf 'smoke: %s; it said:\n' "$1" >&2
    cat "$2" >&2
    exit 1
}

# said_in LOG PATTERN PROCESS: what the process says first that matches, once it does.
said_in() {
    local _
    for _ in {1..100}; do
        grep --only-matching --max-count 1 "$2" "$1" 2>/dev/null | head -n 1 && return
        kill -0 "$3" 2>/dev/null || return 1
        sleep 0.1
    done
    return 1
}

# The address that the server prints once it listens.
url_in() {
    said_in "$1" 'http://127\.0\.0\.1:[0-9]*' "$server"
}

# ended SECONDS: waits for the server, and gives its exit code; 124 if it does not end.
ended() {
    timeout "$1" tail --pid="$server" --follow /dev/null || return
    local id=$server
    server=
    wait "$id"
}

get() {
    curl --silent --show-error --fail --max-time 10 "$@" >"$work/curl.log" 2>&1 || {
        tail -n 5 "$work/curl.log" >&2
        return 1
    }
}

serve() {
    local driver=$1 log=$work/http-$1.log url port code=0
    MULTIKERNEL_DRIVER=$driver "$bin/http" 127.0.0.1:0 >"$log" 2>&1 &
    server=$!
    url=$(url_in "$log") || fail "http ($driver) tells no address" "$log"
    port=${url##*:}

    get "$url/" || fail "http ($driver) does not answer" "$log"
    # One connection, many requests; then many connections at once.
    get "$url/?"{1..50} || fail "http ($driver) does not keep a connection" "$log"
    get --parallel --parallel-max 32 --header 'Connection: close' "$url/?"{1..100} ||
        fail "http ($driver) fails under parallel requests" "$log"
    # Who sends nonsense suffers alone.
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    printf 'nonsense\r\n\r\n' >&3
    timeout 10 cat <&3 >/dev/null || fail "http ($driver) holds on to nonsense" "$log"
    exec 3>&-
    get "$url/" || fail "http ($driver) does not answer after nonsense" "$log"

    kill -TERM "$server"
    ended 15 || code=$?
    [ "$code" = 0 ] || fail "http ($driver) ended with $code after SIGTERM" "$log"
    printf 'smoke: http with %s\n' "$driver"
}

# leave_behind: what stands behind the proxy ends.
leave_behind() {
    local id
    for id in "${behind[@]}"; do
        kill -TERM "$id" 2>/dev/null || true
        wait "$id" 2>/dev/null || true
    done
    behind=()
}

# start_proxy DRIVER TARGET LOG: prints nothing; the port is in $port.
start_proxy() {
    MULTIKERNEL_DRIVER=$1 "$bin/proxy" 127.0.0.1:0 "$2" >"$3" 2>&1 &
    server=$!
    port=$(said_in "$3" 'proxy on 127\.0\.0\.1:[0-9]*' "$server") || fail "proxy ($1) tells no address" "$3"
    port=${port##*:}
}

stop_proxy() {
    local code=0
    kill -TERM "$server"
    ended 15 || code=$?
    [ "$code" = 0 ] || fail "proxy ($1) ended with $code after SIGTERM" "$2"
}

# The HTTP server behind the proxy, driven by curl and wrk.
proxy_http() {
    local driver=$1 log=$work/proxy-http-$1.log http=$work/behind-$1.log url port
    MULTIKERNEL_DRIVER=$driver "$bin/http" 127.0.0.1:0 >"$http" 2>&1 &
    behind=($!)
    url=$(said_in "$http" 'http://127\.0\.0\.1:[0-9]*' "${behind[0]}") || fail "http tells no address" "$http"
    start_proxy "$driver" "${url#http://}" "$log"
    get "http://127.0.0.1:$port/?"{1..50} || fail "proxy ($driver) does not pass requests on" "$log"
    get --parallel --parallel-max 32 --header 'Connection: close' "http://127.0.0.1:$port/?"{1..100} ||
        fail "proxy ($driver) fails under parallel requests" "$log"
    timeout 30 wrk --threads 1 --connections 32 --duration 1s "http://127.0.0.1:$port/" >"$work/wrk.log" 2>&1 ||
        fail "wrk fails through the proxy ($driver)" "$work/wrk.log"
    if grep --quiet -E 'Socket errors|Non-2xx' "$work/wrk.log"; then
        fail "wrk meets errors through the proxy ($driver)" "$work/wrk.log"
    fi
    stop_proxy "$driver" "$log"
    leave_behind
    printf 'smoke: proxy of HTTP with %s\n' "$driver"
}

# iperf3 behind the proxy: a second of as much as goes, one way and then back, over two connections each.
proxy_bulk() {
    local driver=$1 log=$work/proxy-bulk-$1.log far=$work/iperf-server-$1.log port flag target
    # Not one that a socket may have been given in passing: below the range of those.
    for target in {5210..5299}; do
        timeout 60 iperf3 --server --bind 127.0.0.1 --port "$target" --forceflush >"$far" 2>&1 &
        behind=($!)
        said_in "$far" 'Server listening' "${behind[0]}" >"$work/iperf-listens" && break
        wait "${behind[0]}" || true
        behind=()
    done
    [ "${#behind[@]}" = 1 ] || fail "iperf3 finds no port" "$far"
    start_proxy "$driver" "127.0.0.1:$target" "$log"
    for flag in --version4 --reverse; do
        timeout 30 iperf3 --client 127.0.0.1 --port "$port" --time 1 "$flag" >"$work/iperf.log" 2>&1 ||
            fail "iperf3 fails through the proxy ($driver)" "$work/iperf.log"
    done
    grep --quiet receiver "$work/iperf.log" || fail "iperf3 received nothing ($driver)" "$work/iperf.log"
    stop_proxy "$driver" "$log"
    leave_behind
    printf 'smoke: proxy of iperf3 with %s\n' "$driver"
}

# A bad address is one plain line and exit code 1.
refuse() {
    local log=$work/http-refuse.log code=0
    timeout 15 "$bin/http" nowhere >"$log" 2>&1 || code=$?
    [ "$code" = 1 ] || fail "http with a bad address ended with $code" "$log"
    [ "$(wc -l <"$log")" = 1 ] || fail "http says more than one line about a bad address" "$log"
    code=0
    timeout 15 "$bin/proxy" 127.0.0.1:0 >"$log" 2>&1 || code=$?
    [ "$code" = 1 ] && grep --quiet usage "$log" || fail "proxy without a target ended with $code" "$log"
}

cargo build --release --package multikernel-examples --bins
for source in examples/src/bin/*.rs; do
    name=$(basename "$source" .rs)
    # These do not end by themselves.
    case $name in http | proxy) continue ;; esac
    timeout 30 "$bin/$name" >"$work/$name.log" 2>&1 || fail "$name failed ($?)" "$work/$name.log"
    printf 'smoke: %s\n' "$name"
done
for driver in uring epoll; do
    serve "$driver"
    proxy_http "$driver"
    proxy_bulk "$driver"
done
refuse
