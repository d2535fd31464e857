# curl asks the HTTP server.
. "$(dirname "$0")/support.sh"

start 127.0.0.1:0
url=http://$address

get "$url/" || fail "no answer"
# One connection, many requests; then many connections at once.
get "$url/?"{1..50} || fail "it does not keep a connection"
get --parallel --parallel-max 32 --header 'Connection: close' "$url/?"{1..100} || fail "parallel requests fail"
# Who sends nonsense suffers alone.
nonsense 'nonsense\r\n\r\n'
get "$url/" || fail "no answer after nonsense"
stop

refuses nowhere
