"""That the ring has the kernel that it is there for."""

from typing import Final

import pytest

from tests.lab.lab import Lab
from tests.lab.topology import address

KEY: Final = "0x" + "5a" * 20
"""Of AES-GCM with 128 bits, and its salt."""
SPI: Final = "0x5a5a5a"


@pytest.mark.parametrize("family", [4, 6])
def test_the_kernel_encrypts(lab: Lab, family: int) -> None:
    """An ESP state and a policy made by hand take a ping, and the other end's kernel takes it out again.

    Broken by: leaving the peer's state away (it counts nothing and answers nothing).
    """
    us, them = address("gw-a", "wan1", family), address("peer", "wan1", family)
    ends = ("src", us, "dst", them)
    # The request alone: what finds the neighbour, and the answer, go in clear.
    echo = ("proto", "1" if family == 4 else "58", "type", "8" if family == 4 else "128")
    for host in (lab.gw_a, lab.peer):
        host.run("ip", "xfrm", "state", "add", *ends, "proto", "esp", "spi", SPI, "mode", "transport",
                 "aead", "rfc4106(gcm(aes))", KEY, "128")  # fmt: skip
    lab.gw_a.run("ip", "xfrm", "policy", "add", *ends, *echo, "dir", "out",
                 "tmpl", *ends, "proto", "esp", "mode", "transport")  # fmt: skip
    try:
        lab.gw_a.run("ping", "-n", "-c", "1", "-W", "5", "-I", us, them)
        said = lab.peer.run("ip", "-s", "xfrm", "state", "list", *ends).stdout
        assert ", 1(packets)" in said.replace(" (packets)", "(packets)"), said
    finally:
        lab.gw_a.run("ip", "xfrm", "policy", "flush")
        for host in (lab.gw_a, lab.peer):
            host.run("ip", "xfrm", "state", "flush")
