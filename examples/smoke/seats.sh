# Clients reserve seats of the hall: all cores know the same, and any core may refuse.
. "$(dirname "$0")/support.sh"

# expect ANSWERS LINE..: one connection; a pattern for the answers, with | between them.
expect() {
    local answers=$1 got
    shift
    got=$(printf '%s\n' "$@" | timeout 15 socat -t 10 - "TCP:$address" | paste --serial --delimiters '|') ||
        fail "socat ended with $?"
    # shellcheck disable=SC2053
    [[ "$got" == $answers ]] || fail "to $*: $got instead of $answers"
}

start 127.0.0.1:0
expect '100|nobody' free 'who 5'
expect 'yes, as of v*|ada|99' 'reserve 5 ada' 'who 5' free
# Every core has it, also those that sleep.
expect 'core 0: ada, core 1: ada, core 2: ada' 'everywhere 5'
expect 'core [012] says no: somebody has it|core [012] says no: it is not theirs' 'reserve 5 bob' 'release 5 bob'
expect 'core [012] says no: there is no such seat' 'reserve 100 ada'

# One core refuses for all, and says which it is; nothing of it is left.
for core in 0 1 2; do
    expect "done|core $core says no: it is locked here|core 0: nobody, core 1: nobody, core 2: nobody" \
        "lock 7 $core" 'reserve 7 cyd' 'everywhere 7'
    expect 'done|yes, as of v*|yes, as of v*' "unlock 7 $core" 'reserve 7 cyd' 'release 7 cyd'
done

# Whoever has heard of a version sees no less on whatever core.
for number in {1..9}; do
    version=$(printf 'reserve 2%s guest%s\n' "$number" "$number" | timeout 15 socat -t 10 - "TCP:$address")
    version=${version##*v}
    for _ in 1 2 3; do
        expect "guest$number" "who 2$number $version"
    done
done
expect 'that is in the future' 'who 1 1000000'

# Who watches hears of the next change.
timeout 15 socat -t 10 - "TCP:$address" <<<watch >"$work/watched" &
for number in {1..100}; do
    [ ! -s "$work/watched" ] || break
    expect '*' 'reserve 9 eve' 'release 9 eve'
    sleep 0.02
done
until_seen 'changed as of v' "$work/watched"

# Nine at once want one seat: one gets it.
for number in {1..9}; do
    timeout 15 socat -t 10 - "TCP:$address" <<<"reserve 50 guest$number" >"$work/wish$number" &
    wishes+=($!)
done
for wish in "${wishes[@]}"; do
    wait "$wish"
done
[ "$(grep --count --no-messages yes "$work"/wish* | grep --count ':1$')" = 1 ] || fail "they got: $(cat "$work"/wish*)"

nonsense "$(printf 'x%.0s' {1..300})\n"
stop
refuses nowhere
