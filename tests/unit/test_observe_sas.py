"""How the observer reads the kernel's own SAs."""

from tests.lab.observe.sas import KernelSa, read_kernel_sas

LISTING = """\
src 203.0.113.10 dst 203.0.113.20
\tproto esp spi 0xc0ffee01 reqid 1 mode tunnel
\treplay-window 0 flag af-unspec
\taead rfc4106(gcm(aes)) 0x00 128
\tanti-replay context: seq 0x0, oseq 0x1, bitmap 0x00000000
\tif_id 0x2a
src 203.0.113.20 dst 203.0.113.10
\tproto ah spi 0x00000abc reqid 1 mode tunnel
\tsel src 0.0.0.0/0 dst 0.0.0.0/0
"""


def test_each_state_has_its_ends_protocol_spi_and_interface() -> None:
    """A selector's `src` is not the beginning of another state, and SPIs read as they do on the wire."""
    assert read_kernel_sas(LISTING) == (
        KernelSa("203.0.113.10", "203.0.113.20", "esp", "c0ffee01", 0x2A),
        KernelSa("203.0.113.20", "203.0.113.10", "ah", "00000abc"),
    )
