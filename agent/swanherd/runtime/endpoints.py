"""To whom connections go: the addresses that their endpoints have now, which of them is called, and by which way."""

from collections.abc import Iterator, Mapping

from swanherd.core import aims
from swanherd.core.facts import Answer
from swanherd.core.intent import Connection, Intent, IPAddress
from swanherd.core.moves import endpoint_of
from swanherd.core.routes import NO_PATH, PathFact
from swanherd.core.source import by_route
from swanherd.core.view import Memory
from swanherd.runtime.sources import Sources


class Endpoints:
    """Asks the resolver, the prober and the kernel's routes, each for no more than the connections need."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._connections: Mapping[str, Connection] = {}
        self._named: tuple[Connection, ...] = ()
        self._paths: dict[str, IPAddress] = {}
        """By connection: to which endpoint the kernel was asked for the route."""

    def adopt(self, intent: Intent) -> None:
        """Take new settings into force: their names are looked up from then on."""
        self._connections = intent.connections
        self._paths.clear()
        self._named = tuple(each for each in intent.connections.values() if aims.names(each))
        self._sources.names.watch(
            frozenset((name, each.ip_version) for each in intent.connections.values() for name in aims.names(each))
        )

    # -- which connections news are about -----

    def named(self, hostnames: frozenset[str]) -> Iterator[str]:
        """The connections that have one of *hostnames*."""
        return (name for name, each in self._connections.items() if hostnames & set(each.remote))

    def reached(self, endpoints: frozenset[IPAddress]) -> Iterator[str]:
        """The connections for which the kernel was asked for the route to one of *endpoints*."""
        return (name for name, endpoint in self._paths.items() if endpoint in endpoints)

    # -- names -----

    def look_up(self, name: str) -> None:
        """Ask for the hostnames of the connection *name*: it is being called."""
        declared = self._connections.get(name)
        for hostname in aims.names(declared) if declared is not None else ():
            self._sources.names.look(hostname, declared.ip_version if declared is not None else 4)

    def answers(self, name: str) -> Mapping[str, Answer | None]:
        """What the hostnames of the connection *name* mean now."""
        declared = self._connections.get(name)
        if declared is None:
            return {}
        return {each: self._sources.names.answer(each, declared.ip_version) for each in aims.names(declared)}

    def named_peers(self) -> Mapping[str, frozenset[IPAddress]]:
        """What the hostnames of each connection that has any mean now."""
        found: dict[str, frozenset[IPAddress]] = {}
        for connection in self._named:
            answers = (self._sources.names.answer(name, connection.ip_version) for name in aims.names(connection))
            found[connection.name] = frozenset(
                ip for answer in answers if answer is not None for ip in answer.addresses
            )
        return found

    # -- addresses -----

    def aimed(self, declared: Connection, memory: Memory) -> tuple[Connection, aims.Targets]:
        """The connection with the endpoints of now."""
        if len(declared.remote) == 1 and not aims.is_name(declared.remote[0]):
            return declared, aims.Targets()  # nothing to choose: nothing to work out
        targets = aims.resolved(declared, self.answers(declared.name))
        aim = aims.aim_of(targets.known, self._sources.charon.connection(declared.name).sas, memory.aim)
        return aims.aimed(declared, targets.known, aim), targets

    def path(self, connection: Connection) -> PathFact:
        """The kernel's route to the endpoint that *connection* calls, where it goes by that."""
        if connection.source_by == "default-route" or not by_route(connection):
            return NO_PATH
        endpoint = endpoint_of(connection)
        if endpoint is None:
            return NO_PATH
        self._paths[connection.name] = endpoint
        return self._sources.paths.path(endpoint)

    def probe(self, name: str, source: IPAddress | None, targets: tuple[IPAddress, ...]) -> None:
        """Have *targets* asked from *source* whether they live, for the connection *name*."""
        self._sources.probes.follow(name, source, targets)
