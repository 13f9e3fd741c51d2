"""Which evidence a VIP has by what is said about VRRP."""

from collections.abc import Callable
from ipaddress import ip_address

import pytest

from swanherd.core.intent import EvidenceSource as Source
from swanherd.core.intent import VrrpDeclaration

from .conftest import Folder

Edit = Callable[[str, str], None]

DEFAULTS = {
    "vrid = 51": {Source.ADVERTS, Source.PROCESS},
    'instance = "V", vrid = 51': {Source.ADVERTS, Source.PROCESS},
    'instance = "V"': {Source.PROCESS},
    "": set(),
    "vrid = 51, evidence = []": set(),
    'vrid = 51, evidence = ["dbus"]': {Source.DBUS},
}


@pytest.mark.parametrize(("said", "evidence"), DEFAULTS.items(), ids=DEFAULTS)
def test_default(folder: Folder, changed: Edit, said: str, evidence: set[Source]) -> None:
    """What is said of the instance decides the default; what is said of the evidence replaces it as a whole."""
    changed("vips =", f"vrrp = {{ {said} }}\nvips =")
    assert declared(folder).evidence == evidence


def test_unicast_and_family(folder: Folder, changed: Edit) -> None:
    """An IPv6 instance that moves an IPv4 VIP has IPv6 peers."""
    changed("vips =", 'vrrp = { vrid = 51, family = 6, unicast_peers = ["fe80::3"] }\nvips =')
    assert declared(folder).family == 6
    assert declared(folder).unicast_peers == (ip_address("fe80::3"),)


def test_family_of_the_first_vip(folder: Folder, changed: Edit) -> None:
    """Not said, the family is the first VIP's, for whoever asks (None in the declaration)."""
    changed('vips = ["203.0.113.10"]', 'vips = ["203.0.113.10"]\nvrrp = { vrid = 51, unicast_peers = ["203.0.113.3"] }')
    assert declared(folder).family is None


def declared(folder: Folder) -> VrrpDeclaration:
    """What the settings in *folder* say of the one interface."""
    declaration = folder.load().intent.interfaces["wan"].vrrp
    assert declaration is not None
    return declaration
