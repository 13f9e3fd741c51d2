"""Whether this charon has the algorithms of a proposal: it loads every name that strongSwan knows, and fails later."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from swanherd.world.charon.codec import Section, decode, inner
from swanherd.world.charon.errors import CharonError
from swanherd.world.charon.lanes import CharonStats, Lane, Ledger

ASK_S: Final = 2.0
"""For one answer, where a person waits for it."""

_SIZES: Final = {"": "16", "8": "8", "12": "12", "16": "16", "64": "8", "96": "12", "128": "16"}
"""The length of an AEAD's tag in octets, by how it may be written."""
_HASHES: Final = {"1": "SHA1", "256": "SHA2_256", "384": "SHA2_384", "512": "SHA2_512"}
_TAGS: Final = {"SHA1": "96", "SHA2_256": "128", "SHA2_384": "192", "SHA2_512": "256"}


def _hash(match: re.Match[str]) -> str:
    return _HASHES[match["bits"] or "1"]


_NAMES: Final[Mapping[str, Callable[[re.Match[str]], str]]] = {
    r"aes(128|192|256)?": lambda _: "AES_CBC",
    r"camellia(128|192|256)?": lambda _: "CAMELLIA_CBC",
    r"(?P<name>aes|camellia)(128|192|256)ctr": lambda m: f"{m['name'].upper()}_CTR",
    r"(?P<name>3des|des|serpent|twofish|blowfish)(128|192|256)?": lambda m: f"{m['name'].upper()}_CBC",
    r"cast128": lambda _: "CAST_CBC",
    r"(?P<name>aes|camellia)(128|192|256)(?P<mode>gcm|ccm)(?P<tag>\d*)": lambda m: (
        f"{m['name'].upper()}_{m['mode'].upper()}_{_SIZES[m['tag']]}"
    ),
    r"chacha20poly1305(compat)?": lambda _: "CHACHA20_POLY1305",
    r"sha(2_)?(?P<bits>1|256|384|512)?": lambda m: f"HMAC_{_hash(m)}_{_TAGS[_hash(m)]}",
    r"md5": lambda _: "HMAC_MD5_96",
    r"(?P<name>aes|camellia)xcbc": lambda m: f"{m['name'].upper()}_XCBC_96",
    r"aescmac": lambda _: "AES_CMAC_96",
    r"prfsha(?P<bits>1|256|384|512)": lambda m: f"PRF_HMAC_{_hash(m)}",
    r"prfmd5": lambda _: "PRF_HMAC_MD5",
    r"modp(?P<bits>\d+)": lambda m: f"MODP_{m['bits']}",
    r"modp(?P<bits>\d+)s(?P<sub>\d+)": lambda m: f"MODP_{m['bits']}_{m['sub']}",
    r"ecp(?P<bits>\d+)": lambda m: f"ECP_{m['bits']}",
    r"ecp(?P<bits>\d+)bp": lambda m: f"ECP_{m['bits']}_BP",
    r"(curve|x)(?P<bits>25519|448)": lambda m: f"CURVE_{m['bits']}",
    r"(ke[1-7]_)?mlkem(?P<bits>\d+)": lambda m: f"ML_KEM_{m['bits']}",
}
"""Names in proposals, and what charon calls them in its list; what is not here is not judged."""

_ESP_OWN: Final = re.compile(r"[A-Z0-9]+_(CBC|CTR|GCM|CCM|POLY1305)|HMAC|AES_XCBC|CAMELLIA_XCBC|AES_CMAC|CHACHA20")
"""What ESP leaves to the kernel: only the key exchange of an ESP proposal is charon's own."""


def flattened(answer: Section) -> frozenset[str]:
    """Every name in charon's answer to ``get-algorithms``."""
    return frozenset(name for kind in answer for name in inner(answer, kind))


def missing(proposal: str, known: frozenset[str], *, esp: bool = False) -> tuple[str, ...]:
    """The words of *proposal* that a charon with *known* algorithms lacks; with *esp* the kernel's are left out."""
    words = [] if proposal == "default" else proposal.split("-")
    return tuple(word for word in words if not _has(word, known, esp=esp))


def unusable(proposals: Iterable[str], known: frozenset[str]) -> str:
    """Why none of *proposals* can be used, "" if one can: then the peer may choose it."""
    lacks = {proposal: missing(proposal, known) for proposal in proposals}
    if not lacks or not all(lacks.values()):
        return ""
    return "this charon has no " + ", ".join(dict.fromkeys(word for words in lacks.values() for word in words))


def _has(word: str, known: frozenset[str], *, esp: bool) -> bool:
    for name in _called(word):
        if esp and _ESP_OWN.match(name):
            return True
        return name in known
    return True


def _called(word: str) -> Iterator[str]:
    for pattern, name in _NAMES.items():
        if match := re.fullmatch(pattern, word):
            yield name(match)


async def ask(socket_path: str) -> frozenset[str] | None:
    """The algorithms of the charon at *socket_path*; None where nobody answers."""
    lane = Lane(socket_path, limit=1, deadline_s=ASK_S, ledger=Ledger(), stats=CharonStats(), on_late=lambda _: None)
    try:
        return await read(lane)
    except (CharonError, OSError):
        return None
    finally:
        lane.close()


async def read(lane: Lane) -> frozenset[str]:
    """The algorithms of the charon behind *lane*; raises as the lane does."""
    return flattened(decode((await lane.call("get-algorithms")).body))
