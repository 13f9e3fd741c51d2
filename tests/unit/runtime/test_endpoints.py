"""To whom connections go: which names are asked for, what the answers mean, and whom news are about."""

from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Final

from swanherd.core.facts import Answer, CharonConnection, Known, Path
from swanherd.core.intent import Intent, IPAddress
from swanherd.core.routes import NO_PATH
from swanherd.core.view import Memory
from swanherd.runtime.endpoints import Endpoints
from swanherd.runtime.sources import Sources
from tests.unit.core.settings import ALPHA, BETA, INTERFACES, PEER, PEER_2, VIP_WAN
from tests.unit.core.views import sa
from tests.unit.runtime.model import ModelCharon, ModelFirewall, ModelNetwork, ModelPaths

FIRST, SECOND = ip_address(PEER), ip_address(PEER_2)
NAMED: Final = replace(ALPHA, name="named", remote=("peer.example", PEER_2), remote_id="peer.example")
NAMED_6: Final = replace(NAMED, name="named6", remote=("other.example",), ip_version=6)
ROUTED: Final = replace(BETA, name="routed", source_by="route-to-endpoint")
EVERYBODY: Final = replace(ROUTED, name="everybody", remote=("0.0.0.0",))
ONE_WAY: Final = replace(ROUTED, name="one-way", interfaces=("wan",))


@dataclass(slots=True)
class ModelNames:
    """A resolver that knows what a test tells it."""

    answers: dict[tuple[str, int], Answer] = field(default_factory=dict)
    watched: frozenset[tuple[str, int]] = frozenset()
    looked: list[tuple[str, int]] = field(default_factory=list)

    def answer(self, name: str, family: int) -> Answer | None:
        """What it was told."""
        return self.answers.get((name, family))

    def watch(self, wanted: frozenset[tuple[str, int]]) -> None:
        """Note them."""
        self.watched = wanted

    def look(self, name: str, family: int) -> None:
        """Note it."""
        self.looked.append((name, family))


@dataclass(slots=True)
class Far:
    """The endpoints of these connections, and what they are asked of."""

    names: ModelNames = field(default_factory=ModelNames)
    charon: ModelCharon = field(default_factory=ModelCharon)
    paths: ModelPaths = field(default_factory=ModelPaths)
    endpoints: Endpoints = field(init=False)

    def __post_init__(self) -> None:
        self.endpoints = Endpoints(
            Sources(ModelNetwork(), self.charon, ModelFirewall(), names=self.names, paths=self.paths)
        )
        connections = (ALPHA, BETA, NAMED, NAMED_6, ROUTED, EVERYBODY, ONE_WAY)
        self.endpoints.adopt(Intent(INTERFACES, {each.name: each for each in connections}))

    def means(self, name: str, *addresses: IPAddress, family: int = 4) -> None:
        """*name* means these."""
        self.names.answers[name, family] = Answer(frozenset(addresses), "dns")


def test_names_are_asked_for_in_the_connections_family() -> None:
    """All of them are watched; those of a connection that is called are looked up at once, and no literal ever is.

    Broken by: ``adopt`` or ``look_up`` with family 4 always, or with literals.
    """
    far = Far()
    assert far.names.watched == {("peer.example", 4), ("other.example", 6)}

    for each in (ALPHA.name, NAMED.name, NAMED_6.name, "gone"):
        far.endpoints.look_up(each)
    assert far.names.looked == [("peer.example", 4), ("other.example", 6)]


def test_what_names_mean() -> None:
    """Of each connection that has any; nothing while nobody has told.

    Broken by: ``named_peers`` leaving out whom nobody has told of.
    """
    far = Far()
    assert far.endpoints.named_peers() == {NAMED.name: frozenset(), NAMED_6.name: frozenset()}
    far.means("peer.example", FIRST)

    assert far.endpoints.named_peers() == {NAMED.name: frozenset({FIRST}), NAMED_6.name: frozenset()}
    assert far.endpoints.answers(NAMED.name) == {"peer.example": far.names.answers["peer.example", 4]}
    assert far.endpoints.answers("gone") == {}


def test_whom_news_of_a_name_are_about() -> None:
    """The connections that have it among their endpoints.

    Broken by: ``named`` answering nobody.
    """
    far = Far()
    assert list(far.endpoints.named(frozenset({"peer.example", "unheard.example"}))) == [NAMED.name]


def test_the_endpoint_that_is_called() -> None:
    """The first that is known; the one to which an SA of ours leads goes before it, and what is remembered before that.

    A single literal endpoint is the connection as it is set. Broken by: ``aimed`` without the SAs, or without *memory*.
    """
    far = Far()
    assert far.endpoints.aimed(ALPHA, Memory())[0] is ALPHA
    assert far.endpoints.aimed(NAMED, Memory())[1].unresolved == ("peer.example",)
    far.means("peer.example", FIRST)
    assert far.endpoints.aimed(NAMED, Memory())[0].remote[0] == PEER
    far.charon.here[NAMED.name] = CharonConnection(sas=(replace(sa(), name=NAMED.name, local=VIP_WAN, remote=SECOND),))

    assert far.endpoints.aimed(NAMED, Memory())[0].remote[0] == PEER_2
    assert far.endpoints.aimed(NAMED, Memory(aim=FIRST))[0].remote[0] == PEER


def test_the_kernels_route_is_asked_for_where_it_chooses() -> None:
    """Who has one way, goes by default routes, or calls nobody asks for none; who asked hears of another one.

    Broken by: ``path`` asking for all, or not noting for whom it asked; ``adopt`` keeping what was noted.
    """
    far = Far()
    far.paths.state = Known(Path(FIRST, "eth0"), 1.0)
    for each in (BETA, EVERYBODY, ONE_WAY):
        assert far.endpoints.path(each) is NO_PATH
    assert list(far.endpoints.reached(frozenset({FIRST}))) == []

    assert far.endpoints.path(ROUTED) is far.paths.state
    assert list(far.endpoints.reached(frozenset({FIRST}))) == [ROUTED.name]
    assert list(far.endpoints.reached(frozenset({SECOND}))) == []
    far.endpoints.adopt(Intent(INTERFACES, {}))
    assert list(far.endpoints.reached(frozenset({FIRST}))) == []
