"""A running agent and a device that is somebody else's: told as long as it is so, and never touched."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.kernel.dual import NAMES
from tests.kernel.examples import TUNNEL, examples_on
from tests.lab.pair import Gateway, Pair
from tests.lab.told import Told
from tests.lab.topology import address
from tests.lab.waiting import wait_until

DEVICE: Final = "ipsec-branch"
IF_ID: Final = "42"
OTHER: Final = "vpn-other"


@pytest.fixture
def taken(pair: Pair) -> Iterator[Pair]:
    """The pair with the example, where the name is taken on gw-a and the if_id on gw-b."""
    for gateway, name, if_id in ((pair.a, DEVICE, "7"), (pair.b, OTHER, IF_ID)):
        gateway.host.run("ip", "link", "add", name, "type", "xfrm", "if_id", if_id)
    try:
        with examples_on(pair, "xfrm-interface"):
            yield pair
    finally:
        for gateway, name in ((pair.a, DEVICE), (pair.b, OTHER)):
            gateway.host.run("ip", "link", "del", name, check=False)


def _wait_for_trouble(gateway: Gateway, *words: str) -> dict[str, Any]:
    """Wait until the status tells a trouble of the device that has all these words; the document."""
    told = Told(gateway.agent)

    def shown() -> dict[str, Any] | None:
        document = told.status()
        (device,) = [each for each in document["devices"] if each["name"] == DEVICE] or [{"trouble": ""}]
        return document if all(word in device["trouble"] for word in words) else None

    document = wait_until(shown, f"{gateway.name} tells {words}", every_s=0.1)
    assert document is not None
    return document


def _device(gateway: Gateway, name: str) -> str:
    return gateway.host.run("ip", "-d", "link", "show", name).stdout


def test_somebody_elses_device(taken: Pair) -> None:
    """A foreign device of the name, and one with the if_id, are told by name in the status, and stay as they are.

    Nothing else suffers, and once they are gone the agent has its own, which carries. Broken by: ``Links._one`` without
    its look at the alias (gw-a's is adopted and taken away); ``_made`` without ``_taken`` (gw-b's says "File exists").
    """
    pair = taken
    foreign = {gateway: _device(gateway, name) for gateway, name in ((pair.a, DEVICE), (pair.b, OTHER))}
    document = _wait_for_trouble(pair.a, "not swanherd's", "xfrm")
    assert not document["well"]
    assert [each for each in document["troubles"] if DEVICE in each and "not swanherd's" in each]
    _wait_for_trouble(pair.b, f"if_id {IF_ID}", OTHER)
    said = pair.a.host.run("swanherd", "status", check=False).stdout
    assert f"device {DEVICE}: a device of this name is there" in " ".join(said.split())
    Told(pair.a.agent).wait_for(*NAMES, "tunnel", role="active", reason="up")
    assert {gateway: _device(gateway, name) for gateway, name in ((pair.a, DEVICE), (pair.b, OTHER))} == foreign

    for gateway, name in ((pair.a, DEVICE), (pair.b, OTHER)):
        gateway.host.run("ip", "link", "del", name)
    ping = ("ping", "-n", "-q", "-c", "1", "-W", "2", "-I", address("client", "lan"), TUNNEL)
    for gateway in pair.gateways:
        told = Told(gateway.agent)
        wait_until(lambda told=told: told.status()["well"], f"{gateway.name} is well", every_s=0.1)  # type: ignore[misc]
        assert f"if_id {int(IF_ID):#x}" in _device(gateway, DEVICE)
    wait_until(lambda: pair.lab.client.run(*ping, check=False).returncode == 0, "traffic through the device")
