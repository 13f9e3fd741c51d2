"""What a charon has loaded, read by the vici package: names, secrets and traps, whoever they belong to."""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.lab.asking import vici_session
from tests.lab.charon import VICI
from tests.lab.hosts import Host


@dataclass(frozen=True, slots=True)
class Loaded:
    """Everything that a charon was given over vici."""

    connections: frozenset[str]
    secrets: frozenset[str]
    traps: frozenset[str]
    """``connection/child`` of each."""

    def __sub__(self, other: "Loaded") -> "Loaded":
        """What is not in *other*."""
        return Loaded(self.connections - other.connections, self.secrets - other.secrets, self.traps - other.traps)

    def __bool__(self) -> bool:
        return bool(self.connections or self.secrets or self.traps)


def read_loaded(host: Host) -> Loaded:
    """Ask the charon of *host*; OSError where it does not answer."""
    with vici_session(host.path(VICI)) as session:
        return Loaded(
            connections=_texts(session.get_conns().get("conns", ())),
            secrets=_texts(session.get_shared().get("keys", ())),
            traps=frozenset(key for policies in session.list_policies({"trap": "yes"}) for key in policies),
        )


def _texts(values: Iterable[bytes]) -> frozenset[str]:
    return frozenset(value.decode() for value in values)
