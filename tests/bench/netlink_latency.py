"""How long after an address changed `on_change` is called: the netlink source's share of a takeover.

    tests/lab/enter -- python3 -m tests.bench.netlink_latency [--addresses N] [--events N]

A second process adds and deletes one address and notes the time right before and after the kernel's answer; this one
notes when it is told. Prints milliseconds, median, 99th percentile and worst: from the kernel's answer (negative: told
before the sender knew) and from the request, which contains the kernel's own work.
"""

import argparse
import asyncio
import bisect
import gc
import json
import socket
import statistics
import struct
import subprocess
import sys
import time
from ipaddress import IPv4Address

from swanherd.core.facts import Known, NetworkChange
from swanherd.world.netlink import NetworkSource

ADDRESS = IPv4Address("203.0.113.10")
PAUSE_S = 0.005
"""Between changes, so that each is alone, as a VIP is."""


def send_changes(events: int, index: int) -> None:
    """The sender: prints [before, after] of each change, in seconds of the monotonic clock."""
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    local = struct.pack("=HH4s", 8, 2, ADDRESS.packed)
    times = []
    for number in range(events):
        add = number % 2 == 0
        flags = 0x605 if add else 0x5
        body = struct.pack("=BBBBI", socket.AF_INET, 24, 0, 0, index) + local
        request = struct.pack("=IHHII", 16 + len(body), 20 if add else 21, flags, number, 0) + body
        time.sleep(PAUSE_S)
        before = time.monotonic()
        kernel.send(request)
        answer = kernel.recv(4096)
        after = time.monotonic()
        if error := struct.unpack_from("=i", answer, 16)[0]:
            sys.exit(f"change {number} refused: errno {-error}")
        times.append([before, after])
    print(json.dumps(times))


def build(addresses: int) -> None:
    """A device with carrier and with so many other addresses."""
    crowd = (f"addr add 10.{n >> 14}.{n >> 6 & 255}.{n & 63}/32 dev wan" for n in range(1, addresses + 1))
    commands = ["link add wan type veth peer name far", "link set wan up", "link set far up", *crowd]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)


async def measure(events: int) -> None:
    """The receiver."""
    known = asyncio.Event()
    told: list[float] = []

    def on_change(change: NetworkChange) -> None:
        if ADDRESS in change.addresses:
            assert isinstance(source.state, Known)  # the snapshot is part of the price
            told.append(time.monotonic())
        elif change.everything:
            known.set()

    source = NetworkSource(on_change=on_change)
    running = asyncio.create_task(source.run())
    await known.wait()
    gc.freeze()
    index = socket.if_nametoindex("wan")
    command = [sys.executable, "-m", "tests.bench.netlink_latency", "--send", str(index), "--events", str(events)]
    sender = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    output, _ = await sender.communicate()
    times = json.loads(output)
    running.cancel()
    # Two changes can be told as one, when this process got no time in between: the first call after the request counts.
    pairs = [(one, told[at]) for one in times if (at := bisect.bisect(told, one[0])) < len(told)]
    _show("from the kernel's answer", [at - after for (_, after), at in pairs])
    _show("from the request", [at - before for (before, _), at in pairs])


def _show(what: str, seconds: list[float]) -> None:
    ordered = sorted(one * 1000 for one in seconds)
    middle, late = statistics.median(ordered), ordered[int(len(ordered) * 0.99)]
    print(f"{what:25} n={len(ordered)} median {middle:.3f} ms  p99 {late:.3f} ms  worst {ordered[-1]:.3f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--addresses", type=int, default=10, help="others that the host has")
    parser.add_argument("--events", type=int, default=1000)
    parser.add_argument("--send", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send:
        send_changes(options.events, options.send)
    else:
        build(options.addresses)
        asyncio.run(measure(options.events))
