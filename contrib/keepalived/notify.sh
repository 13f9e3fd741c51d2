#!/bin/sh
# To /etc/keepalived/swanherd-notify.sh, mode 0755; in keepalived.conf: notify /etc/keepalived/swanherd-notify.sh
# Tells the agent to look now. What keepalived says here is a hint only, and it fails silently when no agent runs.
exec /usr/local/sbin/swanherd notify "$@"
