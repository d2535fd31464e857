#!/usr/bin/env bash
# Runs every example: those that end by themselves, then the servers, with both drivers. Bounded in time.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${CARGO_TARGET_DIR:-target}/release
work=$(mktemp -d)
server=

tidy() {
    [ -z "$server" ] || kill -KILL "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap tidy EXIT

# fail MESSAGE LOG
fail() {
    printf 'smoke: %s; it said:\n' "$1" >&2
    cat "$2" >&2
    exit 1
}

# The address that the server prints once it listens.
url_in() {
    local _
    for _ in {1..100}; do
        grep --only-matching --max-count 1 'http://127\.0\.0\.1:[0-9]*' "$1" | head -n 1 && return
        kill -0 "$server" 2>/dev/null || return 1
        sleep 0.1
    done
    return 1
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

# said PATTERN LOG: waits for the line that a server prints once it serves, and prints what matches.
said() {
    local _
    for _ in {1..100}; do
        grep --no-messages --only-matching --max-count 1 "$1" "$2" && return
        kill -0 "$server" 2>/dev/null || return 1
        sleep 0.1
    done
    return 1
}

# echo_server NAME DRIVER ARGUMENT PATTERN SOCAT: socat sends lines to what matches PATTERN, and gets the same back.
echo_server() {
    local name=$1 driver=$2 log=$work/$1-$2.log address round code=0
    MULTIKERNEL_DRIVER=$driver "$bin/$name" "$3" >"$log" 2>&1 &
    server=$!
    address=$(said "$4" "$log") || fail "$name ($driver) tells no address" "$log"
    for round in {1..5}; do
        printf 'hello %s from %s\n' "$name" "$round"
    done >"$work/sent"
    # -t: how long it waits for answers once it has sent all.
    timeout 15 socat -t 2 - "$5:$address" <"$work/sent" >"$work/back" 2>>"$log" ||
        fail "$name ($driver): socat ended with $?" "$log"
    cmp "$work/sent" "$work/back" >>"$log" || fail "$name ($driver) sends back something else" "$log"
    kill -TERM "$server"
    ended 15 || code=$?
    [ "$code" = 0 ] || fail "$name ($driver) ended with $code after SIGTERM" "$log"
    printf 'smoke: %s with %s\n' "$name" "$driver"
}

echo_servers() {
    local path=$work/echo.sock
    echo_server udp_echo "$1" 127.0.0.1:0 '127\.0\.0\.1:[0-9]*' UDP
    echo_server unix_echo "$1" "$path" "$path" UNIX-CONNECT
    [ ! -e "$path" ] || fail "unix_echo ($1) leaves its socket behind" "$work/unix_echo-$1.log"
}

# A bad address is one plain line and exit code 1.
refuse() {
    local log=$work/http-refuse.log code=0
    timeout 15 "$bin/http" nowhere >"$log" 2>&1 || code=$?
    [ "$code" = 1 ] || fail "http with a bad address ended with $code" "$log"
    [ "$(wc -l <"$log")" = 1 ] || fail "http says more than one line about a bad address" "$log"
}

cargo build --release --package multikernel-examples --bins
for source in examples/src/bin/*.rs; do
    name=$(basename "$source" .rs)
    case $name in http | udp_echo | unix_echo) continue ;; esac
    timeout 30 "$bin/$name" >"$work/$name.log" 2>&1 || fail "$name failed ($?)" "$work/$name.log"
    printf 'smoke: %s\n' "$name"
done
serve uring
serve epoll
echo_servers uring
echo_servers epoll
refuse
