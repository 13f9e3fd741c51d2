"""Proposals in strongSwan's notation: found wrong here, by name, instead of by charon at the first takeover.

The names are those of strongSwan 5.9 and 6.0; whether *this* charon has an algorithm is another question (it depends on
its plugins). A proposal is a list of names with ``-`` between them.
"""

import re

_AEAD = re.compile(
    r"aes(128|192|256)(ccm|gcm)(8|12|16|64|96|128)?|camellia(128|192|256)ccm(8|12|16|64|96|128)?"
    r"|chacha20poly1305(compat)?|aes(128|192|256)gmac",
)
_CIPHER = re.compile(
    r"null|des|3des|(aes|camellia)(128|192|256)?|(aes|camellia)(128|192|256)ctr|cast128"
    r"|(blowfish|serpent|twofish)(128|192|256)?",
)
_INTEGRITY = re.compile(
    r"sha1?|sha1_160|sha(2_)?(256|384|512)|sha(2_)?256_96|md5(_128)?|aesxcbc|camelliaxcbc|aescmac",
)
_TRUNCATED = re.compile(r"sha(2_)?256_96")
"""Integrity from which charon derives no PRF: a mistake in old kernels' ESP, not meant for IKE."""
_PRF = re.compile(r"prf(sha1|sha256|sha384|sha512|md5|aesxcbc|camelliaxcbc|aescmac)")
_GROUP = re.compile(
    r"modp(768|1024|1536|2048|3072|4096|6144|8192|1024s160|2048s224|2048s256)|ecp(192|224|256|384|521)"
    r"|ecp(224|256|384|512)bp|(curve|x)(25519|448)|mlkem(512|768|1024)",
)
_MORE_GROUPS = re.compile(r"ke[1-7]_(none|" + _GROUP.pattern + ")")
_ESN = re.compile(r"(no)?esn")

WEAK = frozenset(
    {"null", "des", "3des", "blowfish", "cast128", "md5", "md5_128", "sha", "sha1", "modp768", "modp1024", "modp1536"}
)
"""Names that RFC 8247 and RFC 8221 (MUST NOT, SHOULD NOT or downgraded) advise against: allowed, and linted."""


def _names(proposal: str) -> list[str]:
    if not proposal or proposal != proposal.strip():
        raise ValueError("a proposal is not empty and has no blank at its ends")
    return proposal.lower().split("-")


def _unknown(names: list[str], kinds: tuple[re.Pattern[str], ...]) -> list[str]:
    return [name for name in names if not any(kind.fullmatch(name) for kind in kinds)]


def _has(names: list[str], kind: re.Pattern[str]) -> bool:
    return any(kind.fullmatch(name) for name in names)


def ike(proposal: str) -> str:
    """An IKE proposal: a cipher, an integrity (unless AEAD), a key exchange; ``default`` is charon's own choice."""
    names = _names(proposal)
    if names == ["default"]:
        return "default"
    if unknown := _unknown(names, (_AEAD, _CIPHER, _INTEGRITY, _PRF, _GROUP, _MORE_GROUPS)):
        raise ValueError(f"'{proposal}': no IKE algorithm is called '{unknown[0]}'")
    _check_cipher(proposal, names)
    if not _has(names, _GROUP):
        raise ValueError(f"'{proposal}' has no key exchange (as ecp256, modp2048 or x25519)")
    if not _has(names, _PRF) and all(_TRUNCATED.fullmatch(name) for name in names if _INTEGRITY.fullmatch(name)):
        raise ValueError(f"'{proposal}' has no PRF, and no integrity algorithm to derive one from (as prfsha256)")
    return "-".join(names)


def esp(proposal: str) -> str:
    """An ESP proposal: a cipher, an integrity unless AEAD; a key exchange makes it PFS."""
    names = _names(proposal)
    if names == ["default"]:
        return "default"
    if unknown := _unknown(names, (_AEAD, _CIPHER, _INTEGRITY, _GROUP, _MORE_GROUPS, _ESN)):
        raise ValueError(f"'{proposal}': no ESP algorithm is called '{unknown[0]}'")
    _check_cipher(proposal, names)
    return "-".join(names)


def ah(proposal: str) -> str:
    """An AH proposal: an integrity algorithm; a key exchange makes it PFS."""
    names = _names(proposal)
    if names == ["default"]:
        return "default"
    if unknown := _unknown(names, (_INTEGRITY, _GROUP, _MORE_GROUPS, _ESN)):
        raise ValueError(f"'{proposal}': no AH algorithm is called '{unknown[0]}'")
    if not _has(names, _INTEGRITY):
        raise ValueError(f"'{proposal}' has no integrity algorithm (as sha256)")
    return "-".join(names)


def child(proposal: str) -> str:
    """An ESP or an AH proposal: which of them it must be, only the connection tells."""
    names = _names(proposal)
    return esp(proposal) if _has(names, _AEAD) or _has(names, _CIPHER) or not is_ah(proposal) else ah(proposal)


def is_ah(proposal: str) -> bool:
    """Whether *proposal* can be one of AH."""
    try:
        ah(proposal)
    except ValueError:
        return False
    return True


def _check_cipher(proposal: str, names: list[str]) -> None:
    aead, classic = _has(names, _AEAD), _has(names, _CIPHER)
    if aead and classic:
        raise ValueError(f"'{proposal}' mixes AEAD and classic ciphers; write two proposals")
    if not aead and not classic:
        raise ValueError(f"'{proposal}' has no cipher (as aes256 or aes256gcm16)")
    if classic and not _has(names, _INTEGRITY):
        raise ValueError(f"'{proposal}' has no integrity algorithm (as sha256)")


def is_aead(proposal: str) -> bool:
    """Whether *proposal* has an AEAD cipher."""
    return _has(proposal.split("-"), _AEAD)


def more_exchanges(proposal: str) -> bool:
    """Whether *proposal* has key exchanges beyond the first."""
    return _has(proposal.split("-"), _MORE_GROUPS)


def weak(proposal: str) -> tuple[str, ...]:
    """The names in *proposal* that are advised against."""
    return tuple(name for name in proposal.split("-") if name in WEAK)
