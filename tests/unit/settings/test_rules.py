"""The rules, one by one: a valid file, one change, and exactly the key and the rule that it breaks."""

# ruff: noqa: E501 - a table of cases reads best with one case a line

from collections.abc import Callable
from typing import NamedTuple

import pytest

from .conftest import Folder

REMOTE = 'remote = ["203.0.113.20"]'
IDS = 'local_id = "moon.example"\nremote_id = "peer.example"\n'
CHILD = 'children.net = { local = ["10.10.0.0/24"], remote = ["10.20.0.0/24"] }'
SECOND = 'interfaces = ["wan"]\nremote = ["203.0.113.20"]\npsk_file = "branch.psk"\n' + CHILD
FROM_OWN = SECOND.replace('"wan"', '"own"')


class Case(NamedTuple):
    """Replace *old* by *new* in the smallest settings (or add *new*): *key* breaks a rule that says *rule*."""

    old: str
    new: str
    key: str
    rule: str


def add(text: str, key: str, rule: str) -> Case:
    """A case that adds lines to the connection."""
    return Case("[connections.branch]\n", f"[connections.branch]\n{text}\n", key, rule)


def extra(text: str, key: str, rule: str) -> Case:
    """A case that adds tables."""
    return Case(CHILD, f"{CHILD}\n{text}\n", key, rule)


BRANCH = "connections.branch"


def vrrp(inside: str, key: str, rule: str) -> Case:
    """The interface's VIP moved by VRRP as *inside* says."""
    return Case('device = "wan1"', f'device = "wan1"\nvrrp = {{ {inside} }}', f"interfaces.wan.vrrp.{key}", rule)


HOSTS = 'children.net = { local = ["dynamic"], remote = ["dynamic"] }'
TCP = HOSTS.replace("dynamic", "dynamic[tcp]")
WHOLE = f'{REMOTE}\n{IDS}psk_file = "branch.psk"\n{CHILD}'
GRE = f"psk_file = 'branch.psk'\nmode = 'transport'\ngre_interface = {{ name = 'g' }}\n{HOSTS}"


def gre(child: str, key: str, rule: str, *, name: str = "g", more: str = "") -> Case:
    """A connection in transport mode with a GRE device and this *child*."""
    return Case(CHILD, f"mode = 'transport'\ngre_interface = {{ name = '{name}'{more} }}\n{child}", key, rule)


PROPOSING = CHILD.replace(" }", ', proposals = ["{}"] }}').replace("{ local", "{{ local")
"""The child with proposals."""

CASES = {
    # names and addresses
    "interface unknown": Case('interfaces = ["wan"]', 'interfaces = ["lan"]', f"{BRANCH}.interfaces[0]", "there is no interface 'lan'"),
    "interface twice": Case('interfaces = ["wan"]', 'interfaces = ["wan", "wan"]', f"{BRANCH}.interfaces", "listed twice"),
    "no interfaces": Case('interfaces = ["wan"]', "interfaces = []", f"{BRANCH}.interfaces", "must not be empty"),
    "interface called any": extra('[interfaces.any]\ndevice="b"', "interfaces.any", "this name is taken"),
    "vip of two interfaces": extra('[interfaces.b]\ndevice="b"\nvips=["203.0.113.10"]', "interfaces.b.vips[0]", "a VIP of interface 'wan' too"),
    "vip of the other family": Case(REMOTE, 'remote = ["2001:db8::1"]', f"{BRANCH}.interfaces[0]", "has no IPv6 VIP"),
    "remote of the other family": Case('vips = ["203.0.113.10"]\n\n[connections.branch]', "[connections.branch]\nip_version = 6", f"{BRANCH}.remote[0]", "is IPv4"),
    "vip no source": Case('vips = ["203.0.113.10"]', 'vips = ["127.0.0.1"]', "interfaces.wan.vips[0]", "cannot be a virtual"),
    "vip with prefix": Case('vips = ["203.0.113.10"]', 'vips = ["203.0.113.10/24"]', "interfaces.wan.vips[0]", "is not an IP address"),
    "vrrp without vips": extra('[interfaces.b]\ndevice="b"\nvrrp={vrid=5}', "interfaces.b.vrrp", "there are no vips"),
    "adverts of no vrid": vrrp('instance = "V", evidence = ["adverts"]', "evidence", "adverts need the vrid"),
    "dbus of no instance": vrrp('evidence = ["dbus"]', "evidence", "dbus needs the instance's name"),
    "fifo nowhere": vrrp('instance = "V", evidence = ["fifo"]', "evidence", "fifo needs agent.notify_fifo"),
    "evidence twice": vrrp('vrid = 5, evidence = ["adverts", "adverts"]', "evidence", "listed twice"),
    "evidence of nobody": vrrp('vrid = 5, evidence = ["carp"]', "evidence[0]", "must be "),
    "unicast without adverts": vrrp('vrid = 5, evidence = ["process"], unicast_peers = ["203.0.113.3"]', "unicast_peers", "adverts are no evidence here"),
    "unicast of the other family": vrrp('vrid = 5, unicast_peers = ["2001:db8::3"]', "unicast_peers[0]", "is not IPv4"),
    "unicast vip": vrrp('vrid = 5, unicast_peers = ["203.0.113.3", "203.0.113.10"]', "unicast_peers[1]", "is a VIP"),
    "family": vrrp("vrid = 5, family = 5", "family", "must be "),
    "remote is the own vip": Case(REMOTE, 'remote = ["203.0.113.10"]', f"{BRANCH}.remote[0]", "this pair's own VIP"),
    "remote half an address": Case(REMOTE, 'remote = ["203.0.113"]', f"{BRANCH}.remote[0]", "neither an IP address nor a hostname"),
    "remote text": Case(REMOTE, 'remote = "203.0.113.20"', f"{BRANCH}.remote", "must be a list"),
    # start
    "any needs a responder": Case(REMOTE, 'remote = ["0.0.0.0"]', f"{BRANCH}.start", "must be 'responder-only'"),
    "any needs an identity": Case(
        f"{REMOTE}\n{IDS}", 'remote = ["0.0.0.0"]\nstart = "responder-only"\n', f"{BRANCH}.remote_id", "is required"
    ),
    "several endpoints without identity": Case(
        f"{REMOTE}\n{IDS}", 'remote = ["203.0.113.20", "203.0.113.21"]\nstart = "responder-only"\n', f"{BRANCH}.remote_id", "is required"
    ),
    "hostname without identity": Case(f"{REMOTE}\n{IDS}", 'remote = ["peer.example"]\n', f"{BRANCH}.remote_id", "is required where an endpoint is a hostname"),
    "hostname with any identity": Case(f"{REMOTE}\n{IDS}", 'remote = ["peer.example"]\nremote_id = "any"\n', f"{BRANCH}.remote_id", "anybody could call"),
    "nothing to choose": add('source_by = "route-to-endpoint"', f"{BRANCH}.source_by", "'wan' is the only one"),
    "any by the route to the endpoint": Case('interfaces = ["wan"]', 'interfaces = ["any"]\nsource_by = "route-to-endpoint"', f"{BRANCH}.source_by", "'any' is what the default route gives"),
    "no endpoint to route to": Case(f"{REMOTE}\n{IDS}", 'source_by = "route-to-endpoint"\nremote = ["0.0.0.0"]\nstart = "responder-only"\nremote_id = "x"\n', f"{BRANCH}.source_by", "needs an endpoint that is called"),
    "nothing to prefer": add("prefer_first = true", f"{BRANCH}.prefer_first", "no other one to call"),
    "any and another interface": Case('interfaces = ["wan"]', 'interfaces = ["wan", "any"]', f"{BRANCH}.interfaces[1]", "'any' is every interface already"),
    "any beside another": Case(
        REMOTE, 'remote = ["203.0.113.20", "0.0.0.0"]\nstart = "responder-only"', f"{BRANCH}.remote[1]", "any address already"
    ),
    "child connects, connection responds": Case(
        CHILD, 'start = "responder-only"\n' + CHILD.replace(" }", ', start = "connect" }'), f"{BRANCH}.children.net.start", "cannot be 'connect'"
    ),
    # children
    "no child": Case(CHILD, "children = {}", f"{BRANCH}.children", "must not be empty"),
    "child without selectors": Case(CHILD, 'children.net = { local = ["10.10.0.0/24"] }', f"{BRANCH}.children.net.remote", "is required"),
    "child with empty selectors": Case(CHILD, 'children.net = { local = [], remote = ["10.20.0.0/24"] }', f"{BRANCH}.children.net.local", "must not be empty"),
    "child of two families": Case(CHILD, CHILD.replace("10.20.0.0/24", "fd00::/64"), f"{BRANCH}.children.net.remote", "IP family"),
    "bits beyond the prefix": Case(CHILD, CHILD.replace("10.10.0.0", "10.10.0.5"), f"{BRANCH}.children.net.local[0]", "the network is 10.10.0.0/24"),
    "range upside down": Case(CHILD, CHILD.replace("10.10.0.0/24", "10.10.0.9-10.10.0.1"), f"{BRANCH}.children.net.local[0]", "is not a range"),
    "protocol": Case(CHILD, CHILD.replace("10.10.0.0/24", "10.10.0.0/24[tpc]"), f"{BRANCH}.children.net.local[0]", "no protocol is called 'tpc'"),
    "protocol number": Case(CHILD, CHILD.replace("10.10.0.0/24", "10.10.0.0/24[256]"), f"{BRANCH}.children.net.local[0]", "no protocol is called '256'"),
    "port name": Case(CHILD, CHILD.replace("10.10.0.0/24", "10.10.0.0/24[tcp/https]"), f"{BRANCH}.children.net.local[0]", "is not a port"),
    "port too high": Case(CHILD, CHILD.replace("10.10.0.0/24", "10.10.0.0/24[tcp/65536]"), f"{BRANCH}.children.net.local[0]", "below 65536"),
    "ports upside down": Case(CHILD, CHILD.replace("10.10.0.0/24", "10.10.0.0/24[tcp/9-3]"), f"{BRANCH}.children.net.local[0]", "a lower to a higher port"),
    "port without protocol": Case(CHILD, CHILD.replace("10.10.0.0/24", "10.10.0.0/24[/80]"), f"{BRANCH}.children.net.local[0]", "is not a traffic selector"),
    "child name": Case("children.net", 'children."n t"', f"{BRANCH}.children.n t", "a name has letters"),
    # proposals
    "algorithm unknown": add('proposals = ["aes257-sha256-ecp256"]', f"{BRANCH}.proposals[0]", "no IKE algorithm is called 'aes257'"),
    "no key exchange": add('proposals = ["aes256-sha256"]', f"{BRANCH}.proposals[0]", "has no key exchange"),
    "no prf": add('proposals = ["aes256gcm16-ecp256"]', f"{BRANCH}.proposals[0]", "has no PRF"),
    "no integrity": Case(CHILD, CHILD.replace(" }", ', proposals = ["aes256"] }'), f"{BRANCH}.children.net.proposals[0]", "has no integrity"),
    "aead and classic": add('proposals = ["aes256gcm16-aes256-sha256-ecp256"]', f"{BRANCH}.proposals[0]", "mixes AEAD and classic"),
    # identities, lifetimes
    "identity blank": Case('"moon.example"', '" moon"', f"{BRANCH}.local_id", "no blank at its ends"),
    "local identity any": Case('"moon.example"', '"any"', f"{BRANCH}.local_id", "cannot be 'any'"),
    "identity type only": Case('"moon.example"', '"keyid:"', f"{BRANCH}.local_id", "no identity"),
    "identity of other letters": Case('"moon.example"', '"mönch.example"', f"{BRANCH}.local_id", "other characters than ASCII"),
    "identity of no address": Case('"moon.example"', '"ipv4:moon"', f"{BRANCH}.local_id", "is not an IPv4 address"),
    "identity of the other family": Case('"moon.example"', '"ipv4:2001:db8::1"', f"{BRANCH}.local_id", "is not an IPv4 address"),
    "identity of anybody's address": Case('"peer.example"', '"0.0.0.0"', f"{BRANCH}.remote_id", "write 'any'"),
    "identity of anybody": Case('"peer.example"', '"*"', f"{BRANCH}.remote_id", "write 'any'"),
    "identity of many": Case('"peer.example"', '"192.0.2.0/24"', f"{BRANCH}.remote_id", "is a network"),
    "identity of a range": Case('"peer.example"', '"192.0.2.1-192.0.2.9"', f"{BRANCH}.remote_id", "is a network"),
    "identity of another kind": Case('"peer.example"', '"asn1gn:x"', f"{BRANCH}.remote_id", "cannot be"),
    "directory name of unknown parts": Case('"moon.example"', '"commonName=moon"', f"{BRANCH}.local_id", "charon knows no 'commonName'"),
    "directory name of nothing": Case('"moon.example"', '"C=CH, O=, CN=moon"', f"{BRANCH}.local_id", "'O=' is not TYPE=VALUE"),
    "directory name that is none": Case('"moon.example"', '"asn1dn:moon"', f"{BRANCH}.local_id", "is not TYPE=VALUE"),
    "key id of half a byte": Case('"moon.example"', '"@#6d6"', f"{BRANCH}.local_id", "two digits a byte"),
    "name in hexadecimal": Case('"moon.example"', '"fqdn:#6d"', f"{BRANCH}.local_id", "only a key id"),
    "lifetime": add("rekey_s = 1", f"{BRANCH}.rekey_s", "must be at least 5"),
    "number in quotes": add('rekey_s = "3600"', f"{BRANCH}.rekey_s", "must be a whole number"),
    "true is no number": add("priority = true", f"{BRANCH}.priority", "must be a whole number"),
    "choice": add('start = "auto"', f"{BRANCH}.start", "must be 'connect', 'on-demand' or 'responder-only'"),
    # the firewall
    "chain": add('firewall_rule = "filter input"', f"{BRANCH}.firewall_rule", "as in 'inet filter input'"),
    "our own table": add('firewall_rule = "inet swanherd output"', f"{BRANCH}.firewall_rule", "swanherd's own table"),
    "chain of the other family": add('firewall_rule = "ip6 filter input"', f"{BRANCH}.firewall_rule", "no IPv4 packets"),
    # two connections
    "contradiction": extra(f"[connections.again]\n{IDS}{SECOND}", "connections.again", "contradicts connection 'branch'"),
    # agent
    "retry": extra("[agent]\nretry_min_s = 9\nretry_max_s = 3", "agent.retry_max_s", "is below retry_min_s"),
    "window": extra("[agent]\nhandshakes = 1", "agent.handshakes", "is below handshakes_per_endpoint"),
    "listen": extra('[agent]\nmetrics_listen = "9817"', "agent.metrics_listen", "is not ADDRESS:PORT"),
    "listen without brackets": extra('[agent]\nmetrics_listen = "::1:9817"', "agent.metrics_listen", "is not ADDRESS:PORT"),
    "socket too long": extra(f'[agent]\nvici_socket = "/{"x" * 107}"', "agent.vici_socket", "at most 107 bytes"),
    "relative directory": extra('[agent]\nstate_dir = "state"', "agent.state_dir", "is not an absolute path"),
    "not a number": extra("[agent]\nretry_min_s = nan", "agent.retry_min_s", "must be a finite number"),
    "port": extra("[agent]\nike_ports = [0]", "agent.ike_ports[0]", "must be at least 1"),
    # not yet
    "ikev1 networks": Case(CHILD, "ike_version = 1\n" + CHILD.replace('0.0/24"]', '0.0/24", "10.11.0.0/24"]', 1), f"{BRANCH}.children.net", "IKEv1 has one network on each side of a child: write 2 children"),
    "mapped endpoint": Case('remote = ["203.0.113.20"]', 'ip_version = 6\nremote = ["::ffff:203.0.113.20"]', f"{BRANCH}.remote[0]", "IPv4 address in IPv6's notation"),
    "mapped selector": Case(CHILD, CHILD.replace("10.20.0.0/24", "::ffff:10.20.0.0/120[tcp]"), f"{BRANCH}.children.net.remote[0]", "which no packet has: write it as IPv4"),
    "ikev1 ports": Case(CHILD, "ike_version = 1\n" + CHILD.replace("10.20.0.0/24", "10.20.0.0/24[tcp/1024-2047]"), f"{BRANCH}.children.net.remote[0]", "IKEv1 has one port"),
    "ikev1 opaque ports": Case(CHILD, "ike_version = 1\n" + CHILD.replace("10.10.0.0/24", "10.10.0.0/24[tcp/opaque]"), f"{BRANCH}.children.net.local[0]", "IKEv1 has one port"),
    "ikev1 mobike": Case('vips = ["203.0.113.10"]\n\n[connections.branch]\n', "[connections.branch]\nike_version = 1\nmobike = true\n", f"{BRANCH}.mobike", "IKEv1"),
    "ikev1 aead": add('ike_version = 1\nproposals = ["aes256gcm16-prfsha256-ecp256"]', f"{BRANCH}.proposals[0]", "IKEv1 has no AEAD"),
    "ikev1 key exchanges": add('ike_version = 1\nproposals = ["aes256-sha256-ecp256-ke1_mlkem768"]', f"{BRANCH}.proposals[0]", "one key exchange"),
    "transport of networks": add('mode = "transport"', f"{BRANCH}.children.net", "carries the endpoints' own packets"),
    "transport of two": Case(CHILD, f'mode = "transport"\n{HOSTS}\n{HOSTS.replace("net", "more")}', f"{BRANCH}.children", "has one child"),
    "ah through nat": add('encryption = "ah"\nnat_traversal = "force"', f"{BRANCH}.nat_traversal", "AH cannot be encapsulated"),
    "ah with a cipher": Case(CHILD, f'encryption = "ah"\n{PROPOSING.format("aes256-sha256")}', f"{BRANCH}.children.net.proposals[0]", "AH has no cipher"),
    "esp without a cipher": Case(CHILD, PROPOSING.format("sha256"), f"{BRANCH}.children.net.proposals[0]", "has no cipher"),
    "xfrm id twice": extra(f"xfrm_interface = {{ name = 'x', if_id = 1 }}\n[connections.b]\nlocal_id = 'z'\nremote_id = 'w'\nxfrm_interface = {{ name = 'y', if_id = 1 }}\n{SECOND}", "connections.b.xfrm_interface.if_id", "is that of 'x' in connection 'branch'"),
    "xfrm name twice": extra(f"xfrm_interface = {{ name = 'x', if_id = 1 }}\n[connections.b]\nlocal_id = 'z'\nremote_id = 'w'\nxfrm_interface = {{ name = 'x', if_id = 1, mtu = 1300 }}\n{SECOND}", "connections.b.xfrm_interface", "is not the same"),
    "xfrm overlap": extra(f"xfrm_interface = {{ name = 'x', if_id = 1 }}\n[connections.b]\nlocal_id = 'z'\nremote_id = 'w'\nxfrm_interface = {{ name = 'x', if_id = 1 }}\n{SECOND}", "connections.b.children.net.remote", "overlaps"),
    "xfrm is a way out": add('xfrm_interface = { name = "wan1", if_id = 1 }', f"{BRANCH}.xfrm_interface.name", "is the device of interface"),
    "gre in tunnel mode": add('gre_interface = { name = "g" }', f"{BRANCH}.gre_interface", "needs mode = 'transport'"),
    "gre beside what is for others": gre(TCP, f"{BRANCH}.gre_interface", "a child for GRE"),
    "gre and an xfrm interface": gre(f"{HOSTS}\nxfrm_interface = {{ name = 'x', if_id = 1 }}", f"{BRANCH}.gre_interface", "beside an xfrm_interface"),
    "gre to anybody": Case(WHOLE, f'remote = ["0.0.0.0"]\nstart = "responder-only"\n{IDS}{GRE}', f"{BRANCH}.gre_interface", "where the peer is"),
    "gre from several": Case(WHOLE, f'remote = ["203.0.113.20", "203.0.113.21"]\nstart = "responder-only"\n{IDS}{GRE}', f"{BRANCH}.gre_interface", "needs one endpoint"),
    "gre is a way out": gre(HOSTS, f"{BRANCH}.gre_interface.name", "is the device of interface", name="wan1"),
    "gre name twice": gre(f"{HOSTS}\n[connections.b]\nlocal_id = 'z'\nremote_id = 'w'\ninterfaces = ['wan']\nremote = ['203.0.113.21']\npsk_file = 'branch.psk'\nmode = 'transport'\ngre_interface = {{ name = 'g' }}\n{HOSTS}", "connections.b.gre_interface.name", "is the GRE device of connection 'branch'"),
    "gre of the same ends": gre(f"{HOSTS}\n[connections.b]\nlocal_id = 'z'\nremote_id = 'w'\ninterfaces = ['wan']\nremote = ['203.0.113.20']\npsk_file = 'branch.psk'\nmode = 'transport'\ngre_interface = {{ name = 'h' }}\n{HOSTS}", "connections.b.gre_interface", "has the ends of that of connection 'branch'"),
    "gre route with bits": gre(HOSTS, f"{BRANCH}.gre_interface.routes[0]", "is not a network", more=", routes = ['10.60.0.1/16']"),
    "split responder": add('split = true\nstart = "responder-only"', f"{BRANCH}.split", "it decides what is split"),
    "split on demand": add('split = true\nstart = "on-demand"', f"{BRANCH}.split", "one after another"),
    "split with a child on demand": Case(CHILD, f'split = true\n{CHILD}\nchildren.more = {{ local = ["10.11.0.0/24"], remote = ["10.21.0.0/24"], start = "on-demand" }}', f"{BRANCH}.split", "one after another"),
    "split with a child that responds": Case(CHILD, f'split = true\n{CHILD}\nchildren.more = {{ local = ["10.11.0.0/24"], remote = ["10.21.0.0/24"], start = "responder-only" }}', f"{BRANCH}.split", "one after another"),
    "split and ikev1": add("split = true\nike_version = 1", f"{BRANCH}.split", "is of IKEv2"),
    "split name": extra(f"[connections.again-net]\nlocal_id = 'x'\nremote_id = 'y'\n{SECOND}\n[connections.again]\nsplit = true\nlocal_id = 'z'\nremote_id = 'w'\n{SECOND}", "connections.again.split", "'again-net' makes one too"),
    "mobike on a vip, the endpoint reached from elsewhere": Case(CHILD, f"mobike = true\n{CHILD}\n[interfaces.own]\ndevice = 'wan2'\n[connections.b]\nlocal_id = 'x'\nremote_id = 'y'\n{FROM_OWN}", f"{BRANCH}.mobike", "'b' reaches 203.0.113.20 from another interface"),
    "dpd timeout without delay": add("dpd_timeout_s = 60\ndpd_delay_s = 0", f"{BRANCH}.dpd_timeout_s", "dpd_delay_s is 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_rule(folder: Folder, changed: Callable[[str, str], None], case: Case) -> None:
    """The one change breaks the one rule, and is reported at the one key."""
    changed(case.old, case.new)
    found = folder.problems()
    assert set(found) == {case.key}
    assert case.rule in found[case.key]


def test_contradictions_are_told_all_at_once(folder: Folder) -> None:
    """The same endpoints and identities twice, an if_id of two devices, and two that overlap in one: one check tells all.

    Broken by: any of the checks raising what it finds.
    """
    base = 'interfaces = ["wan"]\nremote = ["203.0.113.20"]\npsk_file = "branch.psk"\n'
    shared = 'xfrm_interface = { name = "x", if_id = 7 }\n'
    text = f"[connections.again]\n{base}{IDS}{CHILD}\n"
    for name, more in (("first", shared), ("overlaps", shared), ("other", shared.replace('"x"', '"y"'))):
        text += f"[connections.{name}]\n{base}remote_id = '{name}'\nlocal_id = '{name}'\n{more}{CHILD}\n"
    folder.write(text, name="conf.d/10.toml")
    assert folder.problems().keys() == {
        "connections.again", "connections.overlaps.children.net.remote", "connections.other.xfrm_interface.if_id"
    }  # fmt: skip


ALLOWED = {
    "several endpoints of a responder": (REMOTE, 'remote = ["203.0.113.20", "203.0.113.21"]\nstart = "responder-only"'),
    "selector with number": (CHILD, CHILD.replace("10.10.0.0/24", "10.10.0.0/24[47]")),
    "selector with ports": (CHILD, CHILD.replace("10.10.0.0/24", "10.10.0.0/24[udp/1000-2000]")),
    "selector with port": (CHILD, CHILD.replace("10.10.0.0/24", "10.10.0.0/24[tcp/443]")),
    "one host": (CHILD, CHILD.replace("10.10.0.0/24", "10.10.0.7")),
    "range": (CHILD, CHILD.replace("10.10.0.0/24", "10.10.0.7-10.10.0.9")),
    "both families": (CHILD, CHILD.replace('["10.10.0.0/24"]', '["10.10.0.0/24", "fd00::/64"]')),
    "own address": ('vips = ["203.0.113.10"]\n', ""),
    "mobike on a vip": ("psk_file =", "mobike = true\npsk_file ="),
    "mobike without a vip": ('vips = ["203.0.113.10"]\n\n[connections.branch]', "[connections.branch]\nmobike = true"),
    "identity kinds": ('"moon.example"', '"keyid:moon"'),
    "distinguished name with slashes": ('"moon.example"', '"/C=CH/O=Moon, Inc/emailAddress=a@b"'),
    "distinguished name": ('"moon.example"', '"C=CH, O=Moon, CN=moon"'),
    "same identities, other endpoint": (CHILD, f"{CHILD}\n[connections.b]\n{IDS}" + SECOND.replace(".20", ".21")),
    "same endpoint, other identities": (CHILD, f"{CHILD}\n[connections.b]\nlocal_id = 'x'\nremote_id = 'y'\n{SECOND}"),
    "chacha, prf, x25519": ("psk_file =", 'proposals = ["chacha20poly1305-prfsha512-x25519", "default"]\npsk_file ='),
}  # fmt: skip


@pytest.mark.parametrize("change", ALLOWED.values(), ids=ALLOWED)
def test_allowed(folder: Folder, changed: Callable[[str, str], None], change: tuple[str, str]) -> None:
    """What is right and easily refused by mistake is loaded."""
    changed(*change)
    folder.load()


def test_protocols_become_numbers(folder: Folder, changed: Callable[[str, str], None]) -> None:
    """A protocol is passed on by its number, since charon knows names from /etc/protocols only."""
    changed("10.10.0.0/24", "10.10.0.0/24[tcp/443-443]")
    assert folder.load().intent.connections["branch"].children[0].local_ts == ("10.10.0.0/24[6/443]",)


IDENTITIES = {
    "ipv4:192.0.2.1": "192.0.2.1",
    "2001:DB8::1": "2001:db8::1",
    "asn1dn:C=CH, CN=moon": "C=CH, CN=moon",
    "keyid:#6d6f": "@#6d6f",
    "keyid:a=b": "keyid:a=b",
    "email:moon@example": "email:moon@example",
}


@pytest.mark.parametrize("written", IDENTITIES)
def test_identities_that_charon_would_misread(
    folder: Folder, changed: Callable[[str, str], None], written: str
) -> None:
    """Of what has a type in front charon takes the letters for bytes: it gets an address or a name without it."""
    changed("moon.example", written)
    assert folder.load().intent.connections["branch"].local_id.value == IDENTITIES[written]


@pytest.mark.parametrize(("written", "number"), [("8", "2048"), ("769", "769"), ("3-4", "768-1024"), ("0", "0")])
def test_types_of_icmp(folder: Folder, changed: Callable[[str, str], None], written: str, number: str) -> None:
    """A number below 256 is a type of ICMP to charon, and so it is to the leak guard: both get type and code in one."""
    changed("10.10.0.0/24", f"10.10.0.0/24[icmp/{written}]")
    assert folder.load().intent.connections["branch"].children[0].local_ts == (f"10.10.0.0/24[1/{number}]",)


def test_any_is_percent_any(folder: Folder, changed: Callable[[str, str], None]) -> None:
    """``any`` is the friendly word for strongSwan's ``%any``."""
    changed('"peer.example"', '"any"')
    assert folder.load().intent.connections["branch"].remote_id == "%any"


def test_family_follows_remote(folder: Folder, changed: Callable[[str, str], None]) -> None:
    """Without ``ip_version`` the family is that of the endpoint."""
    changed(REMOTE, 'remote = ["2001:db8::20"]')
    changed('["203.0.113.10"]', '["203.0.113.10", "2001:db8::10"]')
    assert folder.load().intent.connections["branch"].ip_version == 6
