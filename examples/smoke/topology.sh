# The topology of captured computers is shown, and that of this one with its round trips.
. "$(dirname "$0")/support.sh"

for archive in runtime/tests/topologies/*.tar.gz; do
    tar --extract --no-same-owner --file "$archive" --directory "$work"
done

# shows FOLDER TEXT..: the program shows the capture, with each TEXT as a whole line.
shows() {
    local folder=$1 text
    shift
    timeout 30 "$SMOKE_PROGRAM" "$work/$folder" >"$log" 2>&1 || fail "it fails on $folder"
    for text in "$@"; do
        grep --quiet --line-regexp --fixed-strings -- "$text" "$log" || fail "no line: $text"
    done
}

shows 20em64t-hybrid-1p6c2t+2ca4co1t 'package 0' '  NUMA node 0' '    L3 of 24576 KiB for 0-19' \
    '      core: CPU 8-9, performance, capacity 1024' '      core: CPU 12, efficient, capacity 768' \
    'nearest to 0 first: 0-1,4-5,8-9,2-3,6-7,10-19' 'most capable first: 4,8,0,2,6,10,5,9,1,3,7,11-19'
shows 16em64t-4s2c2t-offlines 'package 3' '    L3 of 4096 KiB for 0,4,8,12' '      core: CPU 4,12' 'offline: 2,5,13-14'
shows 48amd64-4d2n6c-sparse '  NUMA node 73' '   33  22  16  16  10  16  16  22  22'
shows 256ia64-64n2s2c 'package 32259' '  NUMA node 63' '    unknown caches'
[ "$(grep --count 'core: CPU' "$log")" = 256 ] || fail "CPUs are lost"

timeout 60 "$SMOKE_PROGRAM" >"$log" 2>&1 || fail "it fails on this computer"
grep --quiet 'core: CPU' "$log" || fail "it shows no core"
grep --quiet '^round trips in nanoseconds:$' "$log" || fail "it measures nothing"

refuses "$work"
refuses a b
