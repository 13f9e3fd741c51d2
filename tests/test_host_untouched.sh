#!/usr/bin/env bash
# A lab leaves the machine that it runs on as it was: packages, units, /etc, addresses, routes, rules, rulesets, mounts and
# the values of the sysctls that existed before are equal, and no process of it is left, however it ended: told to, by
# Ctrl-C at any point, or its first process killed with -9. Loaded modules are named. And where a private root is
# impossible, tests/lab/enter refuses and says what to do.
#
# Runs on the machine itself, outside the private root.
set -euo pipefail
clone=$(cd "$(dirname "$0")/.." && pwd)
cd "$clone"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
passed=0
mark=SWANHERD_LAB_RUN=$(cat /proc/sys/kernel/random/uuid)   # in the environment of our labs only: others may be up

check() { # check WHAT COMMAND...: one fact
    local what=$1; shift
    if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: $what" >&2; fi
}

# Change by themselves, all the time, on every machine.
volatile='^/proc/sys/(fs/(dentry-state|inode-nr|inode-state|file-nr|aio-nr)|kernel/(ns_last_pid|pty/nr|random/.*|sched_.*)'
volatile+='|net/netfilter/nf_conntrack_count|fs/quota/.*|vm/stat_refresh|kernel/tainted)$'

snapshot() { # snapshot DIRECTORY: a file for each thing that must stay equal
    mkdir -p "$1"
    dpkg-query -W -f '${Package} ${Architecture} ${Version} ${Status}\n' >"$1/packages"
    find /etc/systemd /lib/systemd /usr/lib/systemd /usr/local/lib/systemd -printf '%p %y %s %T@ %l\n' 2>/dev/null \
        | sort >"$1/units" || true
    find /etc -xdev \( -type f -exec sha256sum {} + \) -o -printf '%p %y %m %l\n' 2>/dev/null | sort >"$1/etc" || true
    find /etc -xdev -printf '%p %m %u %g\n' | sort >"$1/etc-modes"
    sort /proc/self/mountinfo >"$1/mounts"
    # Read in this machine's own network namespace, with the private root's programs: this machine may have none.
    tests/lab/enter --online -- sh -c 'ip -o -br link | awk "{print \$1, \$3}"; ip -o -br address; for f in 4 6; do
        ip -$f rule; ip -$f route show table all | sed "s/ expires [0-9]*sec//"; done' | sort >"$1/network"
    tests/lab/enter --online -- sh -c 'nft list ruleset 2>&1; cat /proc/net/ip_tables_names /proc/net/ip6_tables_names \
        /proc/net/arp_tables_names 2>/dev/null' | sed 's/counter packets [0-9]* bytes [0-9]*/counter/' >"$1/rulesets" || true
    find /proc/sys -type f -perm -400 2>/dev/null | grep -Ev "$volatile" | sort | while read -r name; do
        printf '%s = %s\n' "$name" "$(tr '\n\0' '  ' <"$name" 2>/dev/null)"
    done >"$1/sysctls" 2>/dev/null
    awk '{print $1}' /proc/modules 2>/dev/null | sort >"$1/modules" || true
}

ours() { # the processes of our labs, a /proc/PID/environ a line
    grep -lzx "$mark" /proc/[0-9]*/environ 2>/dev/null || true
}

gone() { # whether all of them end within 5 s; what is left is named, and ended, so that the next check is its own
    local left
    for _ in $(seq 100); do
        left=$(ours)
        [ -n "$left" ] || return 0
        sleep 0.05
    done
    for left in $left; do
        left=${left%/environ}
        echo "  left: ${left#/proc/} $(tr '\0' ' ' 2>/dev/null <"$left/cmdline" || true)" >&2
        kill -KILL "${left#/proc/}" 2>/dev/null || true
    done
    return 1
}

start() { # start: a pair of its own in the background; sets $lab to its first process
    set -m   # a process group of its own, as a terminal gives it
    # INT may be ignored where this runs (a job in the background has it so), and what is ignored stays so.
    env --default-signal=INT "$mark" tests/lab/enter -- python -m tests.lab up --by notify </dev/null >"$work/log" 2>&1 &
    lab=$!
    set +m
    # Not before it is another program: a signal for bash's own fork would make that run our EXIT trap.
    while tr '\0' ' ' <"/proc/$lab/cmdline" | grep -q "${0##*/}"; do :; done
}

stands() { # wait until the pair is up
    for _ in $(seq 600); do
        grep -q '^the pair is up' "$work/log" && return 0
        kill -0 "$lab" 2>/dev/null || break
        sleep 0.05
    done
    cat "$work/log" >&2
    return 1
}

first_inside() { # pid 1 of the lab's own pid namespace
    local outer
    outer=$(tr -d ' ' <"/proc/$lab/task/$lab/children")
    tr -d ' ' <"/proc/$outer/task/$outer/children"
}

ends() { # whether the lab's outermost process ends within 10 s
    for _ in $(seq 200); do
        kill -0 "$lab" 2>/dev/null || { wait "$lab" 2>/dev/null || true; return 0; }
        sleep 0.05
    done
    return 1
}

tests/lab/enter true    # fetches what is needed, before the first look
snapshot "$work/before"

# --- the ways a lab ends --------------------------------------------------------------------------------------------
start; check "a pair comes up" stands
kill -TERM "$lab"
check "a lab ends when it is told to" ends
check "nothing is left of a lab that was told to end" gone

start; check "a second pair comes up" stands
kill -KILL "$(first_inside)"
check "a lab ends when its first process inside is killed with -9" ends
check "nothing is left when the first process inside was killed with -9" gone

start; check "a third pair comes up" stands
kill -KILL "$lab"
check "a lab ends when its outermost process is killed with -9" ends
check "nothing is left when the outermost process was killed with -9" gone

for moment_s in 0.001 0.01 0.02 0.03 0.04 0.06 0.1 0.2 0.3 0.6 1.2; do
    start
    sleep "$moment_s"
    kill -INT -- "-$lab" 2>/dev/null || true
    check "a lab ends by Ctrl-C after $moment_s s" ends
    check "nothing is left after Ctrl-C at $moment_s s" gone
done

# --- the machine is as it was ---------------------------------------------------------------------------------------
snapshot "$work/after"
equal() { diff -U0 "$work/before/$1" "$work/after/$1" >&2; }
for what in packages units etc etc-modes mounts network rulesets; do
    check "$what are as before" equal "$what"
done
# A module that comes with a feature brings sysctls of its own; those that existed before must not have changed.
sed 's/ = .*//' "$work/before/sysctls" >"$work/names"
grep -F -f "$work/names" "$work/after/sysctls" >"$work/after/sysctls-of-before" || true
same_sysctls() { [ -z "$(comm -23 "$work/before/sysctls" "$work/after/sysctls")" ] || {
    comm -23 "$work/before/sysctls" "$work/after/sysctls" | sed 's/^/  before: /' >&2; return 1; }; }
check "sysctls that existed before have their values of before" same_sysctls
new=$(comm -13 "$work/before/modules" "$work/after/modules" | tr '\n' ' ')
echo "modules that the lab made the kernel load: ${new:-none}"

# --- refusals -------------------------------------------------------------------------------------------------------
refuses() { # refuses TEXT COMMAND...: exit status 3, TEXT and what to do on standard error
    local text=$1 status=0; shift
    "$@" >"$work/out" 2>&1 || status=$?
    [ "$status" = 3 ] && grep -q "$text" "$work/out" && grep -q 'what to do:' "$work/out" && return 0
    echo "  status $status:" >&2; cat "$work/out" >&2
    return 1
}
# A copy, since the clone may lie where others cannot read; with a cache of its own, so that nothing is there yet.
chmod 755 "$work"; mkdir -p "$work/clone/tests/lab"
cp tests/lab/enter tests/lab/enter-inner tests/lab/hold tests/lab/packages "$work/clone/tests/lab/"
cp requirements-dev.lock "$work/clone/"
enter=$work/clone/tests/lab/enter
check "it refuses without root" refuses 'needs root' setpriv --reuid=65534 --regid=65534 --clear-groups "$enter" true
check "it refuses without the right to make namespaces" refuses 'does not let root make namespaces' \
    setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin "$enter" true
check "it refuses an unknown suite" refuses "unknown suite 'sarge'" "$enter" --suite sarge true
mkdir "$work/bin"
for tool in bash env setpriv id dirname unshare mount chroot apt-get dpkg-deb sha256sum flock; do
    ln -s "$(command -v "$tool")" "$work/bin/$tool"
done
check "it names a program that is missing" refuses "'perl' is not on this machine" env PATH="$work/bin" "$enter" true
check "it says when its mirror cannot be read" refuses 'cannot read the package lists' \
    env SWANHERD_CACHE="$work/cache" SWANHERD_MIRROR=file:///nowhere "$enter" true

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
