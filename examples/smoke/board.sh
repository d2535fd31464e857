# Clients that send lines use the board, and the program on tokio that it was ported from: both say the same.
. "$(dirname "$0")/support.sh"

# say LINE..: one connection, one answer for each line, in $work/got.
say() {
    printf '%s\n' "$@" | timeout 15 socat -t 10 - "TCP:$address" >"$work/got" || fail "socat ended with $?"
}

# expect ANSWERS LINE..: answers with | between them.
expect() {
    local answers=$1 got
    shift
    say "$@"
    got=$(paste --serial --delimiters '|' "$work/got")
    [ "$got" = "$answers" ] || fail "to $*: $got instead of $answers"
}

ask_everything() {
    local number
    rm -f "$work/file" "$work/waited"
    start 127.0.0.1:0 "$work/file"
    expect 'nothing|set|tea|1' 'get drink' 'set drink tea' 'get drink' count
    expect 'set KEY TEXT, get KEY, wait KEY, count or save' what
    # From other connections, which are served elsewhere.
    for number in {1..20}; do
        expect set "set note$number text$number"
    done
    expect 'tea|text7|text20|21' 'get drink' 'get note7' 'get note20' count
    # Nobody changes it.
    expect nothing 'wait drink'
    # Somebody does, again and again until it is seen.
    timeout 15 socat -t 10 - "TCP:$address" <<<'wait drink' >"$work/waited" &
    for number in {1..100}; do
        [ ! -s "$work/waited" ] || break
        expect set 'set drink coffee'
        sleep 0.02
    done
    until_seen coffee "$work/waited"
    expect 'saved 21' save
    [ "$(wc -l <"$work/file")" = 21 ] && grep --quiet --line-regexp 'drink coffee' "$work/file" ||
        fail "it saved $(cat "$work/file")"
    # A line too long, and what is no text.
    nonsense "$(printf 'x%.0s' {1..3000})\n"
    nonsense '\xff\xfe\n'
    expect 21 count
    # Clients that are there are told.
    exec 4<>"/dev/tcp/127.0.0.1/$port"
    printf 'get drink\n' >&4
    read -r -t 10 line <&4 && [ "$line" = coffee ] || fail "it does not answer on a connection that stays"
    stop
    read -r -t 10 line <&4 && [ "$line" = 'the server stops' ] || fail "it does not say that it stops"
    exec 4>&-
    refuses nowhere
}

ask_everything
SMOKE_PROGRAM=$(dirname "$SMOKE_PROGRAM")/examples/board_on_tokio
ask_everything
