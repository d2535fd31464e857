# redis-cli and redis-benchmark talk to the key-value server.
. "$(dirname "$0")/support.sh"
here=$(dirname "$0")

# cli ARGUMENT..: one command.
cli() {
    timeout 20 redis-cli -h 127.0.0.1 -p "$port" --no-raw "$@"
}

# expect REPLY ARGUMENT..
expect() {
    local reply=$1 got
    shift
    got=$(cli "$@") || fail "redis-cli $* failed: $got"
    [ "$got" = "$reply" ] || fail "redis-cli $*: $got instead of $reply"
}

start 127.0.0.1:0

# What Redis 7.0.15 replied to the same commands.
cli <"$here/kv.commands" >"$work/replies" || fail "redis-cli failed"
diff "$here/kv.replies" "$work/replies" >"$work/diff" || fail "replies differ from Redis: $(cat "$work/diff")"

# What is due goes, asked for or not.
expect OK SET brief x PX 50
expect OK SET briefly x PX 50
expect OK SET stays x
for _ in {1..100}; do
    [ "$(cli EXISTS brief)" = "(integer) 0" ] && break
    sleep 0.1
done
expect "(nil)" GET brief
expect '"x"' GET stays

# Listeners by name and by pattern, and one that stops to listen.
timeout 60 redis-cli -p "$port" SUBSCRIBE news other >"$work/by-name" 2>&1 &
timeout 60 redis-cli -p "$port" PSUBSCRIBE 'n?ws' >"$work/by-pattern" 2>&1 &
until_seen other "$work/by-name"
until_seen psubscribe "$work/by-pattern"
expect "(integer) 2" PUBLISH news hello
expect "(integer) 1" PUBLISH other there
until_seen hello "$work/by-name"
until_seen there "$work/by-name"
until_seen pmessage "$work/by-pattern"
kill %2 && wait %2 2>/dev/null || true
for _ in {1..100}; do
    [ "$(cli PUBLISH other again)" = "(integer) 1" ] && [ "$(cli PUBLISH news again)" = "(integer) 1" ] && break
    sleep 0.1
done
expect "(integer) 1" PUBLISH news last

# Who sends nonsense is told so, and suffers alone.
nonsense '*1\r\n$nonsense\r\n'
expect PONG PING

# Many at once, alone and in pipelines. redis-benchmark stops at the first error reply.
for pipeline in 1 16; do
    timeout 100 redis-benchmark -p "$port" -q -n 20000 -c 20 -P "$pipeline" -r 1000 \
        -t ping,set,get,incr,lpush,rpush,lpop,rpop,lrange_100,mset >"$work/benchmark" 2>&1 ||
        fail "redis-benchmark -P $pipeline: $(cat "$work/benchmark")"
    ! grep --quiet --ignore-case --extended-regexp 'err|warn' "$work/benchmark" || fail "$(cat "$work/benchmark")"
done

stop
refuses nowhere
