# curl and wrk ask the file server.
. "$(dirname "$0")/support.sh"

# sum FILE
sum() { sha256sum "$1" | cut -d' ' -f1; }

# expect CODE URL OPTION..
expect() {
    local code=$1 url=$2 got
    shift 2
    got=$(curl --silent --max-time 10 --output /dev/null --write-out '%{http_code}' "$@" "$url") || true
    [ "$got" = "$code" ] || fail "$url $*: $got instead of $code"
}

# load ARGUMENT..: wrk, which must get answers, and no wrong one.
load() {
    timeout 30 wrk --threads 1 "$@" >"$work/wrk" 2>&1 || fail "wrk failed: $(cat "$work/wrk")"
    grep --quiet --extended-regexp '^ +[1-9][0-9]* requests' "$work/wrk" || fail "no answers: $(cat "$work/wrk")"
    ! grep --quiet --extended-regexp 'Non-2xx|Socket errors' "$work/wrk" || fail "under load: $(cat "$work/wrk")"
}

folder=$work/files
mkdir -p "$folder/below"
head -c 5000000 /dev/urandom >"$folder/large"
printf 'hello, all\n' >"$folder/below/small one"
: >"$folder/empty"
ln -s /etc/passwd "$folder/out"
ln -s large "$folder/in"
start "$folder" 127.0.0.1:0
url=http://$address

# Whole, in parts, by a link, several on one connection.
get "$url/large" || fail "no answer"
[ "$(sum "$work/got")" = "$(sum "$folder/large")" ] || fail "it sent something else"
: >"$work/parts"
for range in 0-0 1-999999 1000000-3999999 4000000-; do
    get --range "$range" "$url/in" || fail "no $range"
    cat "$work/got" >>"$work/parts"
done
[ "$(sum "$work/parts")" = "$(sum "$folder/large")" ] || fail "it sent other parts"
get --range -7 "$url/large" || fail "no end"
cmp --silent "$work/got" <(tail -c 7 "$folder/large") || fail "another end"
get "$url/below/small%20one?x=1" || fail "it decodes no path"
cmp --silent "$work/got" "$folder/below/small one" || fail "it sent another small one"
expect 206 "$url/large" --range 5-9
expect 416 "$url/large" --range 5000000-
expect 416 "$url/empty" --range 0-
expect 200 "$url/empty"
expect 200 "$url/large" --range 1-2,4-5
expect 200 "$url/large" --head
curl --silent --max-time 10 --head "$url/large" | tr -d '\r' | grep --quiet --line-regexp 'Content-Length: 5000000' ||
    fail "it does not say how long a file is"
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
get "$url/large" "$url/below/small%20one" "$url/empty" "$url/large" || fail "it does not keep a connection"

# Under load no answer is wrong; some connections break off in the middle.
load --connections 32 --duration 2s "$url/below/small%20one"
load --connections 4 --duration 1s "$url/large"
get "$url/large" || fail "no answer after that"
# All is given back: nothing in the folder is open.
for _ in {1..50}; do
    open=$(find "/proc/$server/fd" -lname "$folder/*" | wc -l)
    [ "$open" != 0 ] || break
    sleep 0.1
done
[ "$open" = 0 ] || fail "it holds $open files open"
stop
