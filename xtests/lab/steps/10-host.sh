# The machine is the one that was meant, and numapin sees it as the kernel shows it.
is kernel-shows-the-nodes "$NODES" "$(echo $(cat /sys/devices/system/node/node[0-9]*/cpulist))"
numapin topology --format json >/tmp/topology
is topology-has-these-nodes "$NODES" "$(echo $(grep -o '"node":[0-9]*,"cpus":"[^"]*"' /tmp/topology | cut -d'"' -f6))"
