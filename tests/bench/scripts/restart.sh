#!/bin/sh
# The notify script that restarts charon: the master comes up with everything, the backup with nothing.
# keepalived calls it with: GROUP|INSTANCE NAME STATE PRIORITY.
pkill -KILL -x charon-systemd
while pgrep -x charon-systemd >/dev/null; do sleep 0.005; done
charon-systemd >>/var/log/charon.out 2>&1 &
until swanctl --stats >/dev/null 2>&1; do sleep 0.005; done
case "$3" in
    MASTER) swanctl --load-all ;;
    *) swanctl --load-all --file /etc/swanctl/standby.conf ;;
esac
