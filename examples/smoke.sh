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

# sum FILE
sum() { sha256sum "$1" | cut -d' ' -f1; }

# status URL OPTION..: the code of the answer.
status() {
    local url=$1
    shift
    curl --silent --max-time 10 --output /dev/null --write-out '%{http_code}' "$@" "$url"
}

# expect CODE URL OPTION..
expect() {
    local code=$1 got
    shift
    got=$(status "$@")
    [ "$got" = "$code" ] || fail "files: $* gave $got instead of $code" "$work/curl.log"
}

files() {
    local driver=$1 log=$work/files-$1.log url code=0 folder=$work/files
    mkdir -p "$folder/below"
    head -c 5000000 /dev/urandom >"$folder/large"
    printf 'hello, all\n' >"$folder/below/small one"
    : >"$folder/empty"
    ln -sf /etc/passwd "$folder/out"
    ln -sf large "$folder/in"
    MULTIKERNEL_DRIVER=$driver "$bin/files" "$folder" 127.0.0.1:0 >"$log" 2>&1 &
    server=$!
    url=$(url_in "$log") || fail "files ($driver) tells no address" "$log"

    # Whole, in parts, by a link, several on one connection, many at once.
    get --output "$work/got" "$url/large" || fail "files ($driver) does not answer" "$log"
    [ "$(sum "$work/got")" = "$(sum "$folder/large")" ] || fail "files ($driver) sent something else" "$log"
    : >"$work/parts"
    local range
    for range in 0-0 1-999999 1000000-3999999 4000000-; do
        get --output "$work/got" --range "$range" "$url/in" || fail "files ($driver) has no $range" "$log"
        cat "$work/got" >>"$work/parts"
    done
    [ "$(sum "$work/parts")" = "$(sum "$folder/large")" ] || fail "files ($driver) sent other parts" "$log"
    get --output "$work/got" --range -7 "$url/large" || fail "files ($driver) has no end" "$log"
    cmp --silent "$work/got" <(tail -c 7 "$folder/large") || fail "files ($driver) has another end" "$log"
    get --output "$work/got" "$url/below/small%20one?x=1" || fail "files ($driver) decodes no path" "$log"
    cmp --silent "$work/got" "$folder/below/small one" || fail "files ($driver) sent another small one" "$log"
    expect 206 "$url/large" --range 5-9
    expect 416 "$url/large" --range 5000000-
    expect 416 "$url/empty" --range 0-
    expect 200 "$url/empty"
    expect 200 "$url/large" --range 1-2,4-5
    expect 200 "$url/large" --head
    curl --silent --max-time 10 --head "$url/large" | tr -d '\r' | grep --quiet --line-regexp 'Content-Length: 5000000' ||
        fail "files ($driver) does not say how long a file is" "$log"
    expect 404 "$url/nothing"
    expect 404 "$url/below"
    expect 404 "$url/"
    expect 404 "$url/out"
    expect 404 "$url/../large" --path-as-is
    expect 404 "$url/below/../../../../etc/passwd" --path-as-is
    expect 404 "$url/%2e%2e/%2e%2e/etc/passwd" --path-as-is
    expect 404 "$url/%2fetc%2fpasswd" --path-as-is
    expect 404 "$url/large%00" --path-as-is
    expect 405 "$url/large" --request DELETE
    expect 413 "$url/large" --data x --request GET
    get "$url/large" "$url/below/small%20one" "$url/empty" "$url/large" ||
        fail "files ($driver) does not keep a connection" "$log"
    # Under load no answer is wrong; some connections break off in the middle.
    wrk --threads 1 --connections 32 --duration 2s "$url/below/small%20one" >"$work/wrk.log" 2>&1 ||
        fail "wrk failed" "$work/wrk.log"
    grep --quiet --extended-regexp '^ +[1-9][0-9]* requests' "$work/wrk.log" || fail "wrk got no answers" "$work/wrk.log"
    ! grep --quiet 'Non-2xx\|Socket errors' "$work/wrk.log" || fail "files ($driver) under load" "$work/wrk.log"
    wrk --threads 1 --connections 4 --duration 1s "$url/large" >"$work/wrk.log" 2>&1 || fail "wrk failed" "$work/wrk.log"
    ! grep --quiet 'Non-2xx\|Socket errors' "$work/wrk.log" || fail "files ($driver) under load" "$work/wrk.log"
    get --output "$work/got" "$url/large" || fail "files ($driver) does not answer after that" "$log"
    # All is given back: what is open on the folder is nothing.
    local _ open
    for _ in {1..50}; do
        open=$(find "/proc/$server/fd" -lname "$folder/*" | wc -l)
        [ "$open" != 0 ] || break
        sleep 0.1
    done
    [ "$open" = 0 ] || fail "files ($driver) holds $open files open" "$log"

    kill -TERM "$server"
    ended 15 || code=$?
    [ "$code" = 0 ] || fail "files ($driver) ended with $code after SIGTERM" "$log"
    printf 'smoke: files with %s\n' "$driver"
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
    case $name in http | files) continue ;; esac
    timeout 30 "$bin/$name" >"$work/$name.log" 2>&1 || fail "$name failed ($?)" "$work/$name.log"
    printf 'smoke: %s\n' "$name"
done
for driver in uring epoll; do
    serve "$driver"
    files "$driver"
done
refuse
