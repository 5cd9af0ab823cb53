# The service: pins what starts, repairs what changes, lets another CPU stand in, and leaves all as it is when it ends.
exits watch-policy 0 numapin set 100 one-to-one
exits watch-default-policy 0 numapin set 101 shared
numapin watch >/tmp/watch 2>&1 &
watch=$!
sleep 1
start 100 7 2
is watch-pins "${ONE_TO_ONE% *}" "$(within 20 "${ONE_TO_ONE% *}" masks 100)"
taskset -cp 0 "$(tid 100 'CPU 2/TCG')" >/dev/null
is watch-repairs "${ONE_TO_ONE% *}" "$(within 20 "${ONE_TO_ONE% *}" masks 100)"
monitor 100 'device_add qemu64-x86_64-cpu,id=cpu8,socket-id=1,core-id=3,thread-id=0'
is watch-pins-what-is-plugged "$ONE_TO_ONE" "$(within 30 "$ONE_TO_ONE" masks 100)"
start 101 4 1
is watch-pins-beside "$(repeat 4 "$SHARED")" "$(within 20 "$(repeat 4 "$SHARED")" masks 101)"

cpu=$(word 0 $ONE_TO_ONE)
node=$(echo /sys/devices/system/node/node*/cpu"$cpu")
stands_in() { # whether the busy vCPU is on one other CPU of its host node, or where none is free on those that are left
  has=$(vcpu 100 0)
  first=${has%%[-,]*}
  last=${has##*[-,]}
  [ "$first" = "$last" ] || [ "$SPARE" = "$ALL" ] || return
  [ "$first" != "$cpu" ] && [ -e "${node%/*}/cpu$first" ] && [ -e "${node%/*}/cpu$last" ] && echo yes
}
echo 0 >"/sys/devices/system/cpu/cpu$cpu/online"
is watch-lets-another-cpu-stand-in yes "$(within 40 yes stands_in)"
echo 1 >"/sys/devices/system/cpu/cpu$cpu/online"
is watch-goes-back "$ONE_TO_ONE" "$(within 40 "$ONE_TO_ONE" masks 100)"
kill $watch
wait $watch
is watch-ends-well 0 $?
is watch-leaves-the-masks "$ONE_TO_ONE" "$(masks 100)"
sed 's/^/# /' /tmp/watch
