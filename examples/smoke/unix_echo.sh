# socat sends lines to the Unix echo server.
. "$(dirname "$0")/support.sh"

path=$work/echo.sock
"$SMOKE_PROGRAM" "$path" >"$log" 2>&1 &
server=$!
for _ in {1..100}; do
    ! grep --quiet --fixed-strings "$path" "$log" || break
    kill -0 "$server" 2>/dev/null || fail "the server is gone"
    sleep 0.1
done
printf 'hello %s\n' {1..5} >"$work/sent"
# -t: how long it waits for answers once it has sent all.
timeout 15 socat -t 2 - "UNIX-CONNECT:$path" <"$work/sent" >"$work/back" || fail "socat ended with $?"
cmp "$work/sent" "$work/back" || fail "it sends back something else"
stop
[ ! -e "$path" ] || fail "it leaves its socket behind"
