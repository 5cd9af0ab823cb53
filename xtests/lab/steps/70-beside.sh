# Two guests: one-to-one is exclusive because the others' masks follow.
conf 101 'cores: 4' 'memory: 16' 'sockets: 1'
exits beside-reset 0 numapin reset 100
start 101 4 1
exits shared-apply 0 numapin apply 101 --mode shared
is shared-alone "$(repeat 4 "$ALL")" "$(masks 101)"
exits beside-apply 0 numapin apply 100 --mode one-to-one
is beside-masks "$ONE_TO_ONE" "$(masks 100)"
is shared-gives-way "$(repeat 4 "$SHARED")" "$(masks 101)"
exits beside-agrees 0 numapin status
exits beside-reset-again 0 numapin reset 100
is shared-comes-back "$(repeat 4 "$ALL")" "$(masks 101)"
exits beside-reset-all 0 numapin reset --all
is all-reset "$(repeat 4 "$ALL")" "$(masks 101)"
stop 100
stop 101
