# The runner runs commands to their end, and SIGTERM ends it, its commands, what they have started, and those who do not listen.
. "$(dirname "$0")/support.sh"

timeout 30 "$SMOKE_PROGRAM" >"$log" 2>&1 || fail "it fails by itself"

"$SMOKE_PROGRAM" 'echo pid $$; exec sleep 300' 'sleep 300 & echo pid $!; wait' \
    "trap '' TERM; echo pid \$\$; while true; do sleep 1; done" >"$log" 2>&1 &
server=$!
for _ in {1..100}; do
    [ "$(grep --count pid "$log")" != 3 ] || break
    sleep 0.1
done
pids=$(sed -n 's/.* pid //p' "$log")
[ "$(wc -w <<<"$pids")" = 3 ] || fail "it does not start its commands"

kill -TERM "$server"
timeout 15 tail --pid="$server" --follow /dev/null || fail "it does not end"
code=0
wait "$server" || code=$?
server=
[ "$code" = 143 ] || fail "it ended with $code after SIGTERM"
# Whoever inherits them may take its time to reap them.
for pid in $pids; do
    for _ in {1..50}; do
        grep --quiet '^State:[[:space:]]*[^ZX]' "/proc/$pid/status" 2>/dev/null || continue 2
        sleep 0.1
    done
    fail "it left process $pid"
done
