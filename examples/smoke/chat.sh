# Members that the websockets library of Python makes talk in the chat.
. "$(dirname "$0")/support.sh"

# Debian's, whatever other Python is in the way.
python=/usr/bin/python3

start 127.0.0.1:0 1
timeout 60 "$python" "$(dirname "$0")/chat.py" "$port" >"$work/talk" 2>&1 || fail "$(cat "$work/talk")"
nonsense 'nonsense\r\n\r\n'

# All members are told when the server stops.
timeout 60 "$python" "$(dirname "$0")/chat.py" "$port" "$work/stays" >"$work/talk" 2>&1 &
talk=$!
for _ in {1..100}; do
    [ ! -e "$work/stays" ] || break
    sleep 0.1
done
stop INT
wait "$talk" || fail "$(cat "$work/talk")"

refuses nowhere
refuses 127.0.0.1:0 never
