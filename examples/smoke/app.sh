# curl and wrk use the web application.
. "$(dirname "$0")/support.sh"

start 127.0.0.1:0 8
url=http://$address
json='Content-Type: application/json'

# status CODE ARGUMENT..: what curl gets.
status() {
    local code=$1 got
    shift
    got=$(curl --silent --max-time 10 --output "$work/body" --write-out '%{http_code}' "$@") || fail "curl $* failed"
    [ "$got" = "$code" ] || fail "curl $*: $got instead of $code: $(cat "$work/body")"
}

# body TEXT: what it got last.
body() {
    [ "$(cat "$work/body")" = "$1" ] || fail "$(cat "$work/body") instead of $1"
}

status 200 "$url/"
for text in 'buy milk' 'milk the cow' 'sleep'; do
    status 201 --header "$json" --data "{\"text\": \"$text\"}" "$url/notes"
done
body '{"id":3,"text":"sleep"}'
status 200 "$url/notes/2"
body '{"id":2,"text":"milk the cow"}'
status 200 "$url/notes?contains=milk"
body '[{"id":1,"text":"buy milk"},{"id":2,"text":"milk the cow"}]'
status 200 "$url/notes?contains=milk&limit=1"
body '[{"id":1,"text":"buy milk"}]'
status 204 --request DELETE "$url/notes/1"
status 404 --request DELETE "$url/notes/1"
status 404 "$url/notes/1"
status 200 --http2-prior-knowledge "$url/notes"
body '[{"id":2,"text":"milk the cow"},{"id":3,"text":"sleep"}]'

# Bad requests are told so.
status 400 "$url/notes/x"
status 400 "$url/notes?limit=x"
status 400 --header "$json" --data '{"text": ' "$url/notes"
status 422 --header "$json" --data '{"words": "x"}' "$url/notes"
status 415 --data '{"text": "x"}' "$url/notes"
status 405 --request PUT "$url/notes"
status 404 "$url/nowhere"
head --bytes 5000 /dev/zero | tr '\0' x | sed 's/.*/{"text": "&"}/' >"$work/long"
status 413 --header "$json" --data "@$work/long" "$url/notes"
nonsense 'nonsense\r\n\r\n'

# The layers: a handler that takes too long is given up, and requests beyond the limit are refused.
status 504 "$url/sleep?milliseconds=60000"
curl --silent --max-time 10 --parallel --parallel-immediate --parallel-max 12 --write-out '%{http_code}\n' \
    --output /dev/null "$url/sleep?milliseconds=1900&number=[1-12]" >"$work/codes" 2>/dev/null || fail "naps fail"
[ "$(sort "$work/codes" | uniq --count | xargs)" = "8 200 4 503" ] || fail "of 12 naps at once: $(xargs <"$work/codes")"
stop

# Many at once.
start 127.0.0.1:0
url=http://$address
timeout 60 wrk --threads 2 --connections 64 --duration 2s --timeout 20s "$url/notes" >"$work/wrk" 2>&1 || fail "$(cat "$work/wrk")"
grep --quiet 'Requests/sec' "$work/wrk" || fail "$(cat "$work/wrk")"
! grep --quiet --extended-regexp 'Socket errors|Non-2xx' "$work/wrk" || fail "$(cat "$work/wrk")"

# What is under way when the server is asked to stop is finished.
curl --verbose --max-time 10 "$url/sleep?milliseconds=1900" >"$work/nap" 2>&1 &
nap=$!
until_seen '> GET' "$work/nap"
sleep 0.3
stop
wait "$nap" || fail "a request under way was cut off: $(cat "$work/nap")"
grep --quiet morning "$work/nap" || fail "$(cat "$work/nap")"

refuses nowhere
refuses 127.0.0.1:0 many
