# A guest starts and stops as Proxmox VE has it with a hookscript.
stop 100
exits set-policy 0 numapin set 100 one-to-one
exits hook-pre-start 0 numapin hook 100 pre-start
start 100 8 2
exits hook-post-start 0 numapin hook 100 post-start
is hook-masks "$ONE_TO_ONE" "$(masks 100)"
exits hook-agrees 0 numapin status 100
exits hook-pre-stop 0 numapin hook 100 pre-stop
stop 100
exits hook-post-stop 0 numapin hook 100 post-stop
is hook-forgets "" "$(grep -l '"vmid":100' /run/numapin/*.json 2>/dev/null)"
conf 109 'cores: 40' 'memory: 32' 'numa: 1' 'sockets: 2'
exits set-strict-policy 0 numapin set 109 one-to-one,require=fail
exits hook-refuses 3 numapin hook 109 pre-start
rm /etc/pve/qemu-server/109.conf
exits unset-policy 0 numapin unset 109
exits unset-policy-again 0 numapin unset 100
start 100 8 2
