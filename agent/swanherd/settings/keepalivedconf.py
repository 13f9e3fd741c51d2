"""keepalived's configuration, as far as it can agree or disagree with the settings.

Reads keepalived.conf(5): blocks, quotes, comments, includes and ``$`` definitions. Tolerant: what is not understood is
passed over, since keepalived itself is the judge of its file (``keepalived --config-test``). Lines for one machine only
(``@name ...``) cannot be told from here and are left out; that is said.
"""

import glob
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from swanherd.core.intent import IPAddress
from swanherd.settings.swanctlconf import FILE_MAX, INCLUDES_MAX

_TOKEN: Final = re.compile(r'"(?P<quoted>[^"\n]*)"|(?P<comment>[#!][^\n]*)|(?P<mark>[{}\n])|(?P<word>[^\s{}"#!]+)')
_REFERENCE: Final = re.compile(r"\$\{(\w+)\}|\$(\w+)")
_DEFINITION: Final = re.compile(r"^[ \t]*\$(\w+)[ \t]*=[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_CONDITIONAL: Final = re.compile(r"^[ \t]*@[^\n]*", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Statement:
    """A keyword with its arguments, and what stands in braces behind it."""

    words: tuple[str, ...]
    inside: "tuple[Statement, ...]" = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A ``vrrp_instance``."""

    name: str
    device: str = ""
    vrid: int | None = None
    advert_interval_s: float = 1.0
    vips: frozenset[IPAddress] = frozenset()
    excluded: frozenset[IPAddress] = frozenset()
    """Moved with the others, and in no advert."""
    devices: Mapping[IPAddress, str] = field(default_factory=dict)
    """Of those addresses that are said to be on another device (``dev``) than the instance's own."""
    unicast_peers: frozenset[IPAddress] = frozenset()
    family: int = 4
    vmac: str | None = None
    """The macvlan that keepalived puts the addresses on; empty: it has keepalived's own name; None: there is none."""
    ignores_nopreempt: bool = False
    """It says ``nopreempt``, and ``state MASTER``, with which keepalived ignores it."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What one file and all that it includes say."""

    instances: Mapping[str, Instance] = field(default_factory=dict)
    dbus: bool = False
    dbus_name: str | None = None
    """Another name on the bus than keepalived's usual one."""
    fifos: tuple[str, ...] = ()
    """Notify FIFOs that get the instances' changes."""
    namespace: str | None = None
    """The network namespace that keepalived goes to."""
    groups: tuple[frozenset[str], ...] = ()
    """The names of the instances in each ``vrrp_sync_group``: they have one master."""
    conditional: bool = False
    """Whether there are lines for one machine only, which were left out."""


def read(file: Path) -> Configuration:
    """What *file* says; raises OSError if it cannot be read (an included one that cannot is passed over)."""
    reading = _Reading()
    statements = tuple(reading.statements(file, ()))
    by_word: dict[str, list[Statement]] = {}
    for statement in statements:
        by_word.setdefault(statement.words[0], []).append(statement)
    globals_ = [inner for block in by_word.get("global_defs", ()) for inner in block.inside]
    instances = [_instance(block) for block in by_word.get("vrrp_instance", ()) if len(block.words) > 1]
    return Configuration(
        instances={instance.name: instance for instance in instances},
        dbus=any(each.words[0] == "enable_dbus" for each in globals_),
        dbus_name=_argument(globals_, "dbus_service_name"),
        fifos=tuple(
            each.words[1]
            for each in globals_
            if each.words[0] in {"notify_fifo", "vrrp_notify_fifo"} and len(each.words) > 1
        ),
        namespace=_argument(globals_, "net_namespace") or _argument(statements, "net_namespace"),
        groups=tuple(frozenset(_members(block)) for block in by_word.get("vrrp_sync_group", ())),
        conditional=reading.conditional,
    )


def _members(block: Statement) -> Iterator[str]:
    for group in block.inside:
        if group.words[0] == "group":
            yield from group.words[1:]
            yield from (word for line in group.inside for word in line.words)


class _Reading:
    def __init__(self) -> None:
        self.definitions: dict[str, str] = {}
        self.conditional = False

    def statements(self, file: Path, above: tuple[Path, ...]) -> Iterator[Statement]:
        """The statements of *file*, with those of its includes in their place; *above* are those that include it."""
        with file.open("rb") as stream:
            text = stream.read(FILE_MAX).decode(errors="replace")
        without = _CONDITIONAL.sub("", text)
        self.conditional |= without != text
        self.definitions |= dict(_DEFINITION.findall(without))
        text = _REFERENCE.sub(self._value, _DEFINITION.sub("", without))
        yield from self._included(_parse(_tokens(text)), (*above, file.resolve()))

    def _value(self, match: re.Match[str]) -> str:
        return self.definitions.get(match[1] or match[2], match[0])

    def _included(self, statements: tuple[Statement, ...], files: tuple[Path, ...]) -> Iterator[Statement]:
        for statement in statements:
            if not statement.words[0].startswith("include") or len(statement.words) < 2:
                yield Statement(statement.words, tuple(self._included(statement.inside, files)))
                continue
            # A pattern may be absolute, which Path.glob refuses
            matches = sorted(glob.glob(str(files[-1].parent / statement.words[1])))  # noqa: PTH207 - see above
            for match in matches:
                if Path(match).resolve() in files or len(files) > INCLUDES_MAX:
                    continue  # a loop
                try:
                    yield from self.statements(Path(match), files)
                except OSError:
                    continue


def _tokens(text: str) -> Iterator[tuple[str, bool]]:
    """Each word or mark, and whether it is a mark: a brace, or the end of a line."""
    for match in _TOKEN.finditer(text):
        if match.lastgroup == "mark":
            yield match["mark"], True
        elif match.lastgroup in {"quoted", "word"}:
            yield match[match.lastgroup], False
    yield "\n", True


def _parse(tokens: Iterator[tuple[str, bool]]) -> tuple[Statement, ...]:
    """The statements up to the brace that closes this block, or the end."""
    found: list[Statement] = []
    words: list[str] = []
    for text, is_mark in tokens:
        if not is_mark:
            words.append(text)
            continue
        if text == "{":
            inside = _parse(tokens)
            if words:
                found.append(Statement(tuple(words), inside))
            elif found and not found[-1].inside:  # the brace stands on a line of its own
                found[-1] = Statement(found[-1].words, inside)
            words = []
            continue
        if words:
            found.append(Statement(tuple(words)))
            words = []
        if text == "}":
            break
    return tuple(found)


def _instance(block: Statement) -> Instance:
    inside = block.inside
    vips, excluded = (_lines(inside, f"virtual_ipaddress{which}") for which in ("", "_excluded"))
    said = {each.words[0] for each in inside}
    version = next(iter(vips)).version if vips else 4
    vmac = next((each for each in inside if each.words[0] == "use_vmac"), None)
    return Instance(
        name=block.words[1],
        device=_argument(inside, "interface") or "",
        vrid=_number(_argument(inside, "virtual_router_id")),
        advert_interval_s=_seconds(_argument(inside, "advert_int")),
        vips=frozenset(vips),
        excluded=frozenset(excluded),
        devices={address: device for address, device in (vips | excluded).items() if device is not None},
        unicast_peers=frozenset(_lines(inside, "unicast_peer")),
        family=6 if "native_ipv6" in said else version,
        vmac=None if vmac is None else next(iter(vmac.words[1:]), ""),
        ignores_nopreempt="nopreempt" in said and _argument(inside, "state") == "MASTER",
    )


def _argument(statements: Iterator[Statement] | tuple[Statement, ...] | list[Statement], keyword: str) -> str | None:
    return next((each.words[1] for each in statements if each.words[0] == keyword and len(each.words) > 1), None)


def _lines(inside: tuple[Statement, ...], keyword: str) -> dict[IPAddress, str | None]:
    """The lines of the block *keyword* that begin with an address, with a prefix or without; and their ``dev``."""
    found: dict[IPAddress, str | None] = {}
    for block in inside:
        for line in block.inside if block.words[0] == keyword else ():
            try:
                address = ip_address(line.words[0].partition("/")[0])
            except ValueError:
                continue
            device = line.words.index("dev") + 1 if "dev" in line.words else len(line.words)
            found[address] = next(iter(line.words[device:]), None)
    return found


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _seconds(text: str | None) -> float:
    try:
        return float(text) if text is not None else 1.0
    except ValueError:
        return 1.0
