# What the files beside this one share; each begins with `. "$(dirname "$0")/support.sh"`. smoke.sh says in the environment
# which program to run (SMOKE_PROGRAM) and with which driver (MULTIKERNEL_DRIVER).
set -euo pipefail

work=$(mktemp -d)
server=
log=$work/server.log

tidy() {
    [ -z "$server" ] || kill -KILL "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap tidy EXIT

# fail MESSAGE: says what went wrong, and what the server said.
fail() {
    printf '%s\n' "$1"
    [ ! -e "$log" ] || sed 's/^/    /' "$log"
    exit 1
}

# start ARGUMENT..: starts the program, waits until it listens, and sets `address` and `port`.
start() {
    : >"$log"
    "$SMOKE_PROGRAM" "$@" >"$log" 2>&1 &
    server=$!
    local _
    for _ in {1..100}; do
        address=$(grep --only-matching --max-count 1 '127\.0\.0\.1:[0-9]*' "$log" | head -n 1) && break
        kill -0 "$server" 2>/dev/null || fail "the server is gone"
        sleep 0.1
    done
    [ -n "$address" ] || fail "the server tells no address"
    port=${address##*:}
}

# stop [SIGNAL]: asks the server to end, and sees it end well.
stop() {
    kill "-${1:-TERM}" "$server"
    ended
}

# Waits for the server, and sees that it ended well.
ended() {
    local id=$server code=0
    timeout 15 tail --pid="$server" --follow /dev/null || fail "the server does not end"
    server=
    wait "$id" || code=$?
    [ "$code" = 0 ] || fail "the server ended with $code"
}

# get ARGUMENT..: curl, which must succeed. What it got is in $work/got.
get() {
    curl --silent --show-error --fail --max-time 10 "$@" >"$work/got" 2>&1 || {
        tail -n 5 "$work/got"
        return 1
    }
}

# nonsense TEXT: sends it on a connection of its own, which the server must close, be it with a reset.
nonsense() {
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    printf '%b' "$1" >&3
    timeout 10 cat <&3 >/dev/null 2>&1 || [ $? != 124 ] || fail "the server holds on to nonsense"
    exec 3>&-
}

# refuses ARGUMENT..: what is wrong with the arguments is one plain line, and exit code 1.
refuses() {
    local code=0
    timeout 15 "$SMOKE_PROGRAM" "$@" >"$work/refused" 2>&1 || code=$?
    [ "$code" = 1 ] || fail "with bad arguments the program ended with $code"
    [ "$(wc -l <"$work/refused")" = 1 ] || fail "about bad arguments the program says: $(cat "$work/refused")"
}

# until_seen TEXT FILE: waits until the file says it.
until_seen() {
    local _
    for _ in {1..100}; do
        grep --quiet --fixed-strings "$1" "$2" && return
        sleep 0.1
    done
    fail "no $1 in: $(cat "$2")"
}
