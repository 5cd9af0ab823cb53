# The words that the steps are written in, and the walk through them. What a step compares with is read from /proc and /sys.
. /lab/facts.sh

is() { # NAME WANTED GOT
  if [ "$2" = "$3" ]; then echo "ok $1"; else echo "not ok $1: wanted \"$2\", got \"$3\""; fi
}
saw() { # NAME VALUE: what the kernel does by itself
  echo "saw $1: $2"
}
exits() { # NAME CODE COMMAND...
  name=$1 code=$2
  shift 2
  "$@" >/tmp/told 2>&1
  got=$?
  is "$name" "$code" "$got"
  [ "$code" = "$got" ] || sed 's/^/# /' /tmp/told
}
within() { # SECONDS WANTED COMMAND...: runs it until it prints what is wanted, and prints the last
  read -r until _ </proc/uptime
  until=$((${until%.*} + $1)) wanted=$2
  shift 2
  while got=$("$@"); read -r now _ </proc/uptime; [ "$got" != "$wanted" ] && [ "${now%.*}" -lt $until ]; do
    sleep 0.2
  done
  echo "$got"
}

conf() { # VMID LINE...: a guest's config
  file=/etc/pve/qemu-server/$1.conf
  shift
  printf '%s\n' "$@" >"$file"
}
start() { # VMID VCPUS SOCKETS: as Proxmox VE starts a guest of four cores a socket; the first vCPU is busy, the others sleep
  mkdir -p "/sys/fs/cgroup/qemu.slice/$1.scope"
  rm -f "/tmp/$1.in" "/tmp/$1.out"
  mkfifo "/tmp/$1.in" "/tmp/$1.out"
  cat "/tmp/$1.out" >/dev/null &
  numa= socket=0
  while [ $socket -lt "$3" ]; do
    numa="$numa -object memory-backend-ram,id=ram-node$socket,size=16M"
    numa="$numa -numa node,nodeid=$socket,cpus=$((socket * 4))-$((socket * 4 + 3)),memdev=ram-node$socket"
    socket=$((socket + 1))
  done
  sh -c 'echo $$ >/sys/fs/cgroup/qemu.slice/$0.scope/cgroup.procs; exec "$@"' "$1" \
    /usr/bin/kvm -name "vm$1,debug-threads=on" -daemonize -pidfile "/var/run/qemu-server/$1.pid" \
    -chardev "socket,id=qmp,path=/var/run/qemu-server/$1.qmp,server=on,wait=off" -mon chardev=qmp,mode=control \
    -chardev "pipe,id=hmp,path=/tmp/$1" -mon chardev=hmp,mode=readline \
    -display none -nodefaults -no-user-config -machine q35 -accel tcg,thread=multi,tb-size=8 -bios /lab/busy.bin \
    -m $(($3 * 16)) -smp "$2,sockets=$3,cores=4,maxcpus=$(($3 * 4))" $numa -object iothread,id=iothread-scsi0 >/tmp/started 2>&1 ||
    sed 's/^/# /' /tmp/started
}
monitor() { # VMID COMMAND
  echo "$2" >"/tmp/$1.in"
}
stop() { # VMID
  pid=$(pid "$1")
  monitor "$1" quit
  within 10 gone sh -c "[ -d /proc/$pid ] || echo gone" >/dev/null
  rm -f "/run/qemu-server/$1.pid"
}
pid() { # VMID
  cat "/run/qemu-server/$1.pid"
}
tid() { # VMID NAME: the thread of a name like "CPU 0/TCG"; names have 15 characters
  read -r pid <"/run/qemu-server/$1.pid"
  for task in /proc/$pid/task/*; do
    read -r comm <"$task/comm" && [ "$comm" = "$2" ] && echo "${task##*/}"
  done 2>/dev/null
  return 0
}
mask() { # TID: as status has it; nothing where there is no such thread
  [ -n "$1" ] && while read -r key value; do
    [ "$key" = Cpus_allowed_list: ] && echo "$value"
  done <"/proc/$1/status"
}
call() { # TID: as sched_getaffinity tells it
  taskset -cp "$1" | sed 's/.*: *//'
}
vcpu() { # VMID N: the mask of a vCPU
  mask "$(tid "$1" "CPU $2/TCG")"
}
masks() { # VMID: the masks of its vCPUs in ascending order
  all= n=0
  while thread=$(tid "$1" "CPU $n/TCG"); [ -n "$thread" ]; do
    all="$all $(mask "$thread")"
    n=$((n + 1))
  done
  echo $all
}
others() { # VMID: the masks of its threads that are no vCPUs, each once
  read -r pid <"/run/qemu-server/$1.pid"
  for task in /proc/$pid/task/*; do
    read -r comm <"$task/comm" && [ "${comm#CPU }" = "$comm" ] && mask "${task##*/}"
  done 2>/dev/null | sort -u | xargs
}
repeat() { # N WORD
  n=$1 all=
  while [ $n -gt 0 ]; do
    all="$all $2"
    n=$((n - 1))
  done
  echo $all
}
word() { # N WORD...: the N-th word, from 0
  shift $(($1 + 1))
  echo "$1"
}

ALL=$(cat /sys/devices/system/cpu/online)
for step in /lab/steps/*.sh; do
  read -r now _ </proc/uptime
  echo "# $now s: ${step##*/}"
  . "$step"
done
