# A vCPU and an iothread are plugged; both start with the mask of QEMU's main thread.
conf 100 'cores: 4' 'hotplug: cpu' 'memory: 32' 'numa: 1' 'sockets: 2' 'vcpus: 7'
start 100 7 2
exits hotplug-apply 0 numapin apply 100 --mode one-to-one
is hotplug-masks "${ONE_TO_ONE% *}" "$(masks 100)"
monitor 100 'device_add qemu64-x86_64-cpu,id=cpu8,socket-id=1,core-id=3,thread-id=0'
is hotplug-inherits "$(mask "$(pid 100)")" "$(within 5 "$(mask "$(pid 100)")" vcpu 100 7)"
exits hotplug-is-drift 6 numapin status 100
exits hotplug-apply-again 0 numapin apply 100
is hotplug-all-masks "$ONE_TO_ONE" "$(masks 100)"

monitor 100 'object_add iothread,id=hot'
while thread=$(tid 100 'IO hot'); [ -z "$thread" ]; do sleep 0.2; done
taskset -cp 0 "$thread" >/dev/null
# Where nothing is spare, it is left as it is.
if [ "$SPARE" = "$ALL" ]; then drift=0 wanted=0; else drift=6 wanted=$SPARE; fi
exits iothread-is-drift "$drift" numapin status 100
exits iothread-apply 0 numapin apply 100
is iothread-mask "$wanted" "$(mask "$thread")"
exits iothread-agrees 0 numapin status 100
