# socat sends datagrams to the UDP echo server.
. "$(dirname "$0")/support.sh"

start 127.0.0.1:0
printf 'hello %s\n' {1..5} >"$work/sent"
# -t: how long it waits for answers once it has sent all.
timeout 15 socat -t 2 - "UDP:$address" <"$work/sent" >"$work/back" || fail "socat ended with $?"
cmp "$work/sent" "$work/back" || fail "it sends back something else"
stop
refuses nowhere
