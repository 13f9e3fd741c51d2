#!/bin/sh
# keepalived's notify script for strongSwan, as how-tos write it: the baseline that swanherd is compared with.
# keepalived calls it with: GROUP|INSTANCE NAME STATE PRIORITY.
case "$3" in
    MASTER)
        swanctl --load-all
        ;;
    BACKUP|FAULT|STOP)
        names=$(swanctl --list-conns | sed -n 's/^\([^ :]*\): IKEv.*/\1/p')
        swanctl --load-all --file /etc/swanctl/standby.conf
        # Forced: an unforced DELETE cannot leave any more, since the address has gone, and would be repeated for minutes.
        for name in $names; do
            swanctl --terminate --ike "$name" --force
        done
        ;;
esac
