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

