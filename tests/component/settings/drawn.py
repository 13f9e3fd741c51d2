"""Random settings, drawn from the model of the settings: a field that is new there is drawn at once, or fails here."""

import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_network
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from annotated_types import Ge, Le, MaxLen, MinLen
from hypothesis import strategies as st
from pydantic import AfterValidator, SecretStr
from pydantic.fields import FieldInfo

from swanherd.settings import identities, notation, proposals
from swanherd.settings.document import Document
from swanherd.settings.fields import Table
from swanherd.settings.interface import VrrpTable

Raw = dict[str, Any]
Drawn = st.SearchStrategy[Any]

V4: Final = ("192.0.2.1", "192.0.2.77", "203.0.113.10", "203.0.113.20", "198.51.100.7")
V6: Final = ("2001:db8::1", "2001:db8:1::10", "2001:db8:ffff::20")
SOURCES: Final = ("203.0.113.10", "2001:db8:1::10")
"""What the first interface may have as VIPs: the source of what is drawn."""
CERTIFIED: Final[Raw] = {
    "certificate_file": "moon.pem", "key_file": "moon.key", "key_passphrase_file": "moon.pass", "ca_files": ["ca.pem"],
}  # fmt: skip
FILES: Final = {
    "psk_file": st.just("office.psk"),
    **{name: st.just(value) for name, value in CERTIFIED.items()},
    "interfaces": st.sampled_from([["wan"], ["wan", "backup"], ["any"]]),
    "firewall_rule": st.sampled_from(["inet filter input", "ip filter INPUT"]),
}
"""Fields that name what must be there, by name."""


# --- texts ----------------------------------------------------------------------------------------------------------


def addresses() -> Drawn:
    """An IP address."""
    return st.sampled_from(V4) | st.sampled_from(V4) | st.sampled_from(V6) | st.ip_addresses().map(str)


def selectors() -> Drawn:
    """A network, an address, a range or ``dynamic``, with a protocol and ports where they are drawn."""
    networks = st.tuples(st.ip_addresses(v=4), st.integers(0, 32)) | st.tuples(
        st.ip_addresses(v=6), st.integers(0, 128)
    )
    hosts = (
        networks.map(lambda pair: str(ip_network(pair, strict=False)))
        | st.sampled_from(["10.1.0.0/24", "10.2.0.0/16", "10.1.0.7", "0.0.0.0/0", "::/0", "fd00:1::/64", "dynamic"])
        | st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)).map(lambda ends: f"{min(ends)}-{max(ends)}")
    )
    ports = st.just("opaque") | st.tuples(st.integers(0, 65535), st.integers(0, 65535)).map(
        lambda ends: f"{min(ends)}-{max(ends)}"
    )
    ports |= st.integers(0, 65535).map(str) | st.integers(0, 300).map(str)
    protocol = st.sampled_from(["tcp", "udp", "icmp", "gre", "sctp", "115"]) | st.integers(1, 255).map(str)
    inside = st.just("") | st.just("") | protocol | st.tuples(protocol, ports).map("/".join)
    return st.tuples(hosts, inside).map(lambda both: f"{both[0]}[{both[1]}]" if both[1] else both[0])


CIPHERS: Final = (
    "aes256-sha256",
    "aes128-sha1",
    "aes256gcm16",
    "aes128gcm16",
    "aes192ctr-sha384",
    "camellia256-sha512",
)
GROUPS: Final = ("modp2048", "ecp256", "ecp384", "x25519", "modp3072")


def ike_proposals() -> Drawn:
    """A proposal of IKE."""
    made = st.tuples(st.sampled_from(CIPHERS), st.sampled_from(["prfsha256", "prfsha384"]), st.sampled_from(GROUPS))
    return made.map("-".join) | st.just("default")


def child_proposals() -> Drawn:
    """A proposal of ESP or AH."""
    esp = st.sampled_from(CIPHERS) | st.tuples(st.sampled_from(CIPHERS), st.sampled_from(GROUPS)).map("-".join)
    return esp | st.sampled_from(
        ["sha256", "sha512-modp2048", "default", "aes256gcm16-esn", "aes128-sha256-ecp256-noesn"]
    )


def some_identities() -> Drawn:
    """An identity of each kind, and texts that are of no kind at sight."""
    word = st.text("abcxyz019.-_ #*/=,@:%é", min_size=1, max_size=12)
    typed = st.tuples(st.sampled_from(sorted(identities._KINDS)), word).map(":".join)
    parts = st.lists(
        st.tuples(st.sampled_from(["C", "O", "CN", "OU", "E"]), st.text("abc xyz", min_size=1, max_size=6)),
        min_size=1,
        max_size=3,
    )
    names = parts.map(lambda pairs: ", ".join("=".join(pair) for pair in pairs))
    known = st.sampled_from(
        ["moon.example", "@moon.example", "moon@lab.example", "keyid:moon", "@#6d6f6f6e", "any", "192.0.2.9",
         "2001:db8::9", "C=CH, O=Lab, CN=moon", "*.example", "fqdn:moon", "0.0.0.0", "*", "%any6"]
    )  # fmt: skip
    return known | word | typed | names


def _paths() -> Drawn:
    return st.text("abc/._-", min_size=1, max_size=20).map(lambda text: f"/nowhere/{text}")


TEXTS: Final[Mapping[Callable[[str], str], Callable[[], Drawn]]] = {
    notation.device: lambda: st.text("abcwan019-_é", min_size=1, max_size=7),
    notation.vip: lambda: st.sampled_from(SOURCES),
    notation.address: addresses,
    notation.endpoint: lambda: addresses() | st.sampled_from(["branch.example.net", "0.0.0.0", "::", "a_b.example."]),
    notation.selector: selectors,
    identities.identity: some_identities,
    notation.directory: _paths,
    notation.socket_path: _paths,
    notation.listen: lambda: st.sampled_from(["127.0.0.1:9817", "[::1]:1", "off"]),
    proposals.ike: ike_proposals,
    proposals.child: child_proposals,
}
"""By what checks them."""


# --- the model ------------------------------------------------------------------------------------------------------


def document() -> Drawn:
    """Raw settings as a person might write them; about none of them keeps all the rules between fields."""
    interfaces = _dict_of(Document.model_fields["interfaces"])
    connections = _dict_of(Document.model_fields["connections"])
    wan = st.fixed_dictionaries({"device": st.just("wan0"), "vips": st.just(list(SOURCES))})
    moved = {"device": st.just("wan1"), "vips": st.just(["198.51.100.10"]), "vrrp": _table(VrrpTable)}
    own = st.fixed_dictionaries({"wan": wan, "backup": _table(interfaces) | st.fixed_dictionaries(moved)})
    names = st.from_regex(notation.NAME, fullmatch=True)
    return st.fixed_dictionaries(
        {
            "agent": _field(Document.model_fields["agent"]),
            "interfaces": own,
            "connections": st.dictionaries(names, _table(connections), min_size=1, max_size=2),
        }
    )


def _dict_of(field: FieldInfo) -> type[Table]:
    table: type[Table] = get_args(field.annotation)[1]
    return table


def _table(table: type[Table]) -> Drawn:
    required: dict[str, Drawn] = {}
    optional: dict[str, Drawn] = {}
    for name, field in table.model_fields.items():
        drawn = FILES[name] if name in FILES else _field(field)
        if name == "children":
            drawn |= st.just(
                {"gre": {"local": ["dynamic[gre]"], "remote": ["dynamic[gre]"]}}
            )  # transport mode's only one
        (required if field.is_required() else optional)[name] = drawn
    return st.fixed_dictionaries(required, optional=optional)


def _field(field: FieldInfo) -> Drawn:
    return _values(field.annotation, list(_flat(field.metadata)))


def _flat(metadata: Iterable[Any]) -> Iterator[Any]:
    for each in metadata:
        if isinstance(each, FieldInfo):
            yield from _flat(each.metadata)
        else:
            yield each


def _values(kind: Any, metadata: list[Any]) -> Drawn:
    """Values of a type, as TOML has them; TypeError for a type that nobody has thought of yet."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _values(inner[0], [*_flat(inner[1:]), *metadata])
    if origin in {Union, types.UnionType}:
        return st.one_of(*(_values(each, metadata) for each in inner if each is not type(None)))
    if isinstance(kind, type) and issubclass(kind, Table):
        return _table(kind)
    return _scalar(kind, metadata) if origin is None else _several(kind, metadata)


def _several(kind: Any, metadata: list[Any]) -> Drawn:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return st.sampled_from(inner)
    if origin is tuple:
        return st.lists(
            _values(inner[0], []),
            min_size=_limit(metadata, MinLen, "min_length") or 0,
            max_size=min(3, _limit(metadata, MaxLen, "max_length") or 3),
            unique=True,
        )
    if origin is dict:
        return st.dictionaries(
            st.from_regex(notation.NAME, fullmatch=True), _values(inner[1], []), min_size=1, max_size=2
        )
    raise TypeError(f"nobody has said how to draw {kind}")


def _scalar(kind: Any, metadata: list[Any]) -> Drawn:
    if kind is bool:
        return st.booleans()
    if kind is SecretStr:
        return st.text("abc XYZ 019 äß$#", min_size=1, max_size=40).map(str.strip).filter(bool)
    least, most = _limit(metadata, Ge, "ge"), _limit(metadata, Le, "le")
    if kind is int:
        return st.integers(least, most)
    if kind is float:
        return st.floats(least, most, allow_nan=False)
    if kind is str:
        for each in metadata:
            if isinstance(each, AfterValidator) and each.func in TEXTS:
                return TEXTS[each.func]()  # type: ignore[index]  # a validator of texts
        pattern = next(
            (each.pattern for each in metadata if getattr(each, "pattern", None)), r"[a-zA-Z0-9_:/=.-]{1,20}"
        )
        return st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True)
    raise TypeError(f"nobody has said how to draw {kind}")


def _limit(metadata: list[Any], kind: type, name: str) -> Any:
    return next((getattr(each, name) for each in metadata if isinstance(each, kind)), None)


def fields_of(raw: Raw) -> Iterator[tuple[str, str]]:
    """Every field that *raw* sets, as the table's class and the field's name."""
    yield from _set_in(Document, raw)


def every_field(table: type[Table] = Document) -> Iterator[tuple[str, str]]:
    """Every field of the model."""
    for name, field in table.model_fields.items():
        yield table.__name__, name
        for below in _tables_in(field.annotation):
            yield from every_field(below)


def _set_in(table: type[Table], raw: Raw) -> Iterator[tuple[str, str]]:
    for name, value in raw.items():
        yield table.__name__, name
        for below in _tables_in(table.model_fields[name].annotation):
            named = get_origin(table.model_fields[name].annotation) is dict
            for inner in value.values() if named else [value]:
                yield from _set_in(below, inner)


def _tables_in(kind: Any) -> Iterator[type[Table]]:
    if isinstance(kind, type) and issubclass(kind, Table):
        yield kind
    for each in get_args(kind):
        yield from _tables_in(each)
