# curl, wrk, iperf3 and socat talk through the proxy.
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

# behind_by_socat OPTION.. PROGRAM: socat listens, gives what comes to the program, and gives back what that says. Sets `target`.
behind_by_socat() {
    socat -d -d "${@:1:$#-1}" TCP-LISTEN:0,bind=127.0.0.1 "SYSTEM:${*: -1}" 2>"$work/socat" &
    behind=$!
    target=$(said_in "$work/socat" '127\.0\.0\.1:[0-9]*') || fail "socat tells no address"
}

# One side ends, and the other answers then: tac says nothing before.
behind_by_socat -t 60 tac
start 127.0.0.1:0 "$target"
seq 1 300000 >"$work/sent"
timeout 60 socat -t 60 - "TCP:127.0.0.1:$port" <"$work/sent" >"$work/back" || fail "socat ended with $?"
tac "$work/sent" | cmp - "$work/back" || fail "the answer after the end is not whole"
stop
leave_behind

# Who receives does not read: the sender waits, and the proxy holds no more than it should. Then all of it arrives.
readonly OFFERED=$((400 << 20)) MAY_GROW_KB=$((16 << 10))
# resident: what the proxy holds, in KiB.
resident() {
    awk '/^VmRSS:/ { print $2 }' "/proc/$server/status"
}
# read_so_far: how much of the file the sender has read.
read_so_far() {
    awk '/^pos:/ { print $2 }' "/proc/$sender/fdinfo/0"
}
behind_by_socat -u "wc -c >$work/count"
start 127.0.0.1:0 "$target"
kill -STOP "$behind"
truncate --size "$OFFERED" "$work/zeros"
before=$(resident)
timeout --foreground 100 socat -u - "TCP:127.0.0.1:$port" <"$work/zeros" &
sender=$!
taken=0
for _ in {1..100}; do
    sleep 0.5
    last=$taken taken=$(read_so_far)
    [ "$taken" = 0 ] || [ "$taken" != "$last" ] || break
done
[ "$taken" -gt 0 ] && [ "$taken" = "$last" ] && [ "$taken" -lt "$OFFERED" ] ||
    fail "of $OFFERED bytes that nobody reads the proxy took $taken"
grown=$(($(resident) - before))
[ "$grown" -le "$MAY_GROW_KB" ] || fail "for a receiver that does not read the proxy grew by $grown KiB"
kill -CONT "$behind"
wait "$sender" || fail "the sender ended with $?"
wait "$behind" || fail "the receiver ended with $?"
behind=
[ "$(cat "$work/count")" = "$OFFERED" ] || fail "of $OFFERED bytes, $(cat "$work/count") arrived"
stop

code=0
timeout 15 "$SMOKE_PROGRAM" 127.0.0.1:0 >"$work/refused" 2>&1 || code=$?
[ "$code" = 1 ] && grep --quiet usage "$work/refused" || fail "without a target the proxy ended with $code"
