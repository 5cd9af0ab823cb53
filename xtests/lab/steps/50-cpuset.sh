# The guest's cgroup gets a cpuset. A kernel from 6.2 on gives a thread what it asked for as far as the cpuset allows.
slice=/sys/fs/cgroup/qemu.slice
exits cpuset-apply 0 numapin apply 100 --mode one-to-one
echo +cpuset >/sys/fs/cgroup/cgroup.subtree_control
echo +cpuset >$slice/cgroup.subtree_control
saw cpuset-enabled "$(masks 100)"
echo "$CPUSET" >$slice/100.scope/cpuset.cpus
saw cpuset-narrowed "$(masks 100)"
exits cpuset-is-drift 6 numapin status 100
exits cpuset-narrowed-apply 0 numapin apply 100 --mode one-to-one
is cpuset-masks "$IN_CPUSET" "$(masks 100)"
exits cpuset-agrees 0 numapin status 100
echo "$ALL" >$slice/100.scope/cpuset.cpus
saw cpuset-widened "$(masks 100)"
exits cpuset-reset 0 numapin reset 100
is cpuset-reset-masks "$(repeat 8 "$ALL")" "$(masks 100)"

mkdir -p $slice/moved
echo "$CPUSET" >$slice/moved/cpuset.cpus
first=$(word 0 $IN_CPUSET)
taskset -cp "$first" "$(tid 100 'CPU 1/TCG')" >/dev/null
pid 100 >$slice/moved/cgroup.procs
saw cpuset-moved "$(vcpu 100 1)"
pid 100 >$slice/100.scope/cgroup.procs
saw cpuset-moved-back "$(vcpu 100 1)"
stop 100
