#!/bin/sh
# A notify script as well as one can be written: everything was loaded at boot with no start action and without MOBIKE,
# so nothing is loaded here; two handshakes at a time, which a peer with default limits stands; nothing waits for long.
# keepalived calls it with: GROUP|INSTANCE NAME STATE PRIORITY.
names=/etc/swanctl/names
case "$3" in
    MASTER)
        xargs -P 2 -I NAME swanctl --initiate --ike NAME --child lan --timeout 5 --loglevel -1 <"$names"
        ;;
    BACKUP|FAULT|STOP)
        xargs -P 2 -I NAME swanctl --terminate --ike NAME --force --timeout -1 --loglevel -1 <"$names"
        ;;
esac
