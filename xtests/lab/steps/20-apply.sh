# One guest of two virtual nodes: planned, pinned, looked at, changed behind numapin's back, put right, put back.
set -- $NODES
NODE0=$1 NODE1=$2
conf 100 'cores: 4' 'memory: 32' 'numa: 1' 'sockets: 2'
exits check-fits 0 numapin check 100 --mode one-to-one
exits check-refuses-what-is-too-large 3 numapin check 100 --mode one-to-one --cores 40
start 100 8 2
is a-guest-starts-unpinned "$(repeat 8 "$ALL")" "$(masks 100)"

exits apply-numa 0 numapin apply 100 --mode numa
is numa-masks "$(repeat 4 "$NODE0") $(repeat 4 "$NODE1")" "$(masks 100)"
is taskset-agrees "$NODE0" "$(call "$(tid 100 'CPU 3/TCG')")"
is numa-leaves-all-others "$ALL" "$(others 100)"
exits status-agrees 0 numapin status 100
exits apply-again 0 numapin apply 100 --mode numa
is apply-again-changes-nothing "$(repeat 4 "$NODE0") $(repeat 4 "$NODE1")" "$(masks 100)"

exits apply-one-to-one 0 numapin apply 100 --mode one-to-one
is one-to-one-masks "$ONE_TO_ONE" "$(masks 100)"
is one-to-one-moves-all-others "$SPARE" "$(others 100)"
taskset -cp 0 "$(tid 100 'CPU 5/TCG')" >/dev/null
exits status-tells-drift 6 numapin status 100
exits apply-repairs 0 numapin apply 100 --mode one-to-one
is repaired-masks "$ONE_TO_ONE" "$(masks 100)"
exits status-agrees-again 0 numapin status 100

exits reset 0 numapin reset 100
is reset-masks "$(repeat 8 "$ALL")" "$(masks 100)"
is reset-others "$ALL" "$(others 100)"
exits status-of-a-held-guest 0 numapin status 100
