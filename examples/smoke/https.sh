# curl and h2load speak HTTP/1.1 and HTTP/2 over TLS, and trust nothing but the certificate that the server wrote.
. "$(dirname "$0")/support.sh"

start 127.0.0.1:0 "$work/certificate.pem"
url=https://localhost:$port
trust=(--cacert "$work/certificate.pem")

for version in 1.1 2; do
    flag=--http$version
    get "${trust[@]}" "$flag" "$url/" || fail "no answer over HTTP/$version"
    grep --quiet "hello over HTTP/$version" "$work/got" || fail "not HTTP/$version: $(cat "$work/got")"
    # One connection, many requests; then many connections at once.
    get "${trust[@]}" "$flag" "$url/?"{1..50} || fail "HTTP/$version does not keep a connection"
    get "${trust[@]}" "$flag" --parallel --parallel-max 16 "$url/?"{1..50} || fail "parallel HTTP/$version fails"
    # Much, both ways.
    head --bytes 3000000 /dev/urandom >"$work/large"
    get "${trust[@]}" "$flag" --data-binary "@$work/large" --output "$work/echo" "$url/echo" || fail "no echo over HTTP/$version"
    cmp "$work/large" "$work/echo" || fail "the echo over HTTP/$version differs"
done
# The client wins where it can do only one.
get "${trust[@]}" --no-alpn "$url/" || fail "no answer without ALPN"
grep --quiet "hello over HTTP/1.1" "$work/got" || fail "without ALPN it is not HTTP/1.1"

timeout 60 h2load --clients 8 --requests 4000 --max-concurrent-streams 20 "$url/" >"$work/h2load" 2>&1 || fail "$(cat "$work/h2load")"
grep --quiet '4000 succeeded, 0 failed, 0 errored' "$work/h2load" || fail "$(cat "$work/h2load")"
grep --quiet 'Application protocol: h2' "$work/h2load" || fail "h2load got no HTTP/2"

# Who does not trust the certificate, speaks no TLS, or closes within the handshake, suffers alone.
! get "$url/" >/dev/null || fail "curl trusts a certificate that signs itself"
nonsense 'GET / HTTP/1.1\r\n\r\n'
get "${trust[@]}" "$url/" || fail "no answer after nonsense"

# What is under way when the server is asked to stop is finished, over both.
uploads=()
for version in 1.1 2; do
    curl --silent --show-error --fail --max-time 30 "${trust[@]}" "--http$version" --limit-rate 2M --output "$work/echo-$version" \
        --data-binary "@$work/large" "$url/echo" >"$work/curl-$version" 2>&1 &
    uploads+=($!)
done
for version in 1.1 2; do
    for _ in {1..100}; do
        [ ! -s "$work/echo-$version" ] || break
        sleep 0.1
    done
done
stop
for upload in "${uploads[@]}"; do
    wait "$upload" || fail "a request under way was cut off: $(cat "$work"/curl-*)"
done
for version in 1.1 2; do
    cmp "$work/large" "$work/echo-$version" || fail "what was under way over HTTP/$version is not whole"
done

refuses nowhere
refuses 127.0.0.1:0 "$work/no/such/folder"
