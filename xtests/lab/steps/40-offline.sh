# A CPU goes offline under a vCPU that sleeps, then under one that runs, and comes back.
exits offline-apply 0 numapin apply 100 --mode one-to-one
is offline-starts-from "$ONE_TO_ONE" "$(masks 100)"
for case in "sleeping 1" "busy 0"; do
  set -- $case
  thread=$(tid 100 "CPU $2/TCG")
  cpu=$(word "$2" $ONE_TO_ONE)
  switch=/sys/devices/system/cpu/cpu$cpu/online
  # By itself, without numapin.
  echo 0 >"$switch"
  saw "$1-offline" "$(mask "$thread")"
  saw "$1-offline-call" "$(call "$thread")"
  echo 1 >"$switch"
  saw "$1-back" "$(mask "$thread")"
  saw "$1-back-call" "$(call "$thread")"
  exits "$1-repaired" 0 numapin apply 100
  is "$1-repaired-masks" "$ONE_TO_ONE" "$(masks 100)"

  echo 0 >"$switch"
  exits "$1-offline-is-drift" 6 numapin status 100
  exits "$1-offline-apply" 0 numapin apply 100
  sed 's/^/# /' /tmp/told
  exits "$1-offline-agrees" 0 numapin status 100
  is "$1-offline-masks" "$(echo " $ONE_TO_ONE " | sed "s/ $cpu / $(call "$thread") /" | xargs)" "$(masks 100)"
  is "$1-offline-in-its-node" "$(dirname /sys/devices/system/node/node*/cpu"$cpu")" \
    "$(dirname /sys/devices/system/node/node*/cpu"$(call "$thread" | sed 's/[-,].*//')")"
  echo 1 >"$switch"
  exits "$1-back-is-drift" 6 numapin status 100
  exits "$1-back-apply" 0 numapin apply 100
  is "$1-back-masks" "$ONE_TO_ONE" "$(masks 100)"
done
exits offline-reset 0 numapin reset 100
is offline-reset-masks "$(repeat 8 "$ALL")" "$(masks 100)"
