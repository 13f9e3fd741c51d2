"""The facade: all of charon that the rest of the agent sees, in the core's words."""

import asyncio
import re
from collections.abc import Callable, Iterable
from typing import Final

from swanherd.core.facts import CharonConnection, CharonIdentity, Known, LoadedConfig, Unknown
from swanherd.core.intent import Child, Connection, IPAddress
from swanherd.world.charon import canonical, messages
from swanherd.world.charon.abilities import Abilities
from swanherd.world.charon.codec import Outgoing
from swanherd.world.charon.errors import CharonRefused, CharonSilent
from swanherd.world.charon.hearing import Hearing
from swanherd.world.charon.lanes import RELEASE_DEADLINE_S, Lanes
from swanherd.world.charon.listener import Listener
from swanherd.world.charon.looker import Looker
from swanherd.world.charon.mirror import Mirror
from swanherd.world.charon.reader import Reader
from swanherd.world.charon.reasons import Path
from swanherd.world.charon.verifier import Verifier
from swanherd.world.charon.watcher import Watcher

AT_ONCE: Final = -1
"""As a timeout in a vici message: do not wait for the outcome. 0 would wait for ever, and 12 such calls hang charon."""
_STILLBORN: Final = re.compile(r"establishing CHILD_SA '.*' failed")


class Charon:
    """One charon, whichever process it is at the moment.

    Commands return when charon has answered; they raise CharonGone, CharonSilent (outcome unknown) or CharonRefused.
    What they change is not reported by *on_change*: who gives them knows, and tells once for all of them. Told of each,
    the agent decided three times about a takeover of which nothing was to be decided.
    Those with *urgent* have connections of their own and never queue behind the others.
    """

    def __init__(self, *, socket_path: str, on_change: Callable[[frozenset[str] | None], None]) -> None:
        self._mirror = Mirror()
        self._on_change = on_change
        self._lanes = Lanes(socket_path, on_late=self._settled_late)
        self.stats = self._lanes.stats
        self._urgent_reader = Reader(self._lanes.releases)
        self._looker = Looker(self._lanes.reads, mirror=self._mirror, on_change=on_change)
        self._listener = Listener(self._looker, mirror=self._mirror, on_change=on_change)
        self._hearing = Hearing(on_deaf=self._deaf, on_heard=self._heard_again)
        self._watcher = Watcher(
            socket_path,
            mirror=self._mirror,
            looker=self._looker,
            listener=self._listener,
            hearing=self._hearing,
            stats=self.stats,
            on_change=lambda: on_change(None),
            on_connect=self._ready,
        )
        self._verifier = Verifier(
            self._lanes.takeovers,
            mirror=self._mirror,
            looker=self._looker,
            listener=self._listener,
            take_away=self._take_away,
        )
        self._abilities = Abilities(self._lanes.takeovers)

    # --- facts --------------------------------------------------------------------------------------------------

    @property
    def state(self) -> Known[CharonIdentity] | Unknown[CharonIdentity]:
        """Which charon it is; Unknown as "gone", "frozen", or "not-read" (there, but not all is read yet)."""
        return self._watcher.state

    def connection(self, name: str) -> CharonConnection:
        """Everything in charon that bears *name*, as last read."""
        return self._mirror.view(name)

    def names(self) -> frozenset[str]:
        """Every name that is loaded, trapped or has an SA."""
        return frozenset(name for name, here in self._mirror.here.items() if not here.empty)

    def key_ids(self) -> frozenset[str]:
        """The ids of all private keys that are loaded, whoever loaded them."""
        return self._mirror.keys

    def watch(self, names: Iterable[str]) -> None:
        """These names are ours to care for: what exactly is loaded under them is read, not just that something is."""
        self._looker.watch(frozenset(names))

    def expected(self, connection: Connection, source: IPAddress) -> LoadedConfig:
        """What :attr:`CharonConnection.config` will be after :meth:`load`."""
        return canonical.expected(connection, source)

    def hear_log(self, *, wanted: bool) -> None:
        """Whether charon's log is worth what it costs now (:mod:`~swanherd.world.charon.hearing`)."""
        self._hearing.want(wanted=wanted)

    def heard_since(self, at: float) -> bool:
        """Whether all that the log has said since *at* (the loop's clock) was heard: that a handshake failed, say."""
        return self._hearing.whole_since(at)

    async def run(self) -> None:
        """Keep the facts; never returns."""
        await self._watcher.run()

    async def close(self) -> None:
        """End all connections; what charon was sent, it still does."""
        self._watcher.close()
        self._verifier.close()
        self._abilities.close()
        self._lanes.close()
        await asyncio.sleep(0)

    # --- acquiring ----------------------------------------------------------------------------------------------

    async def load_secret(
        self, connection: Connection, secret: bytes, version: str, *, sources: Iterable[IPAddress] = ()
    ) -> None:
        """Load the pre-shared key under the connection's own id; the one before is replaced.

        With a certificate it is the private key; one that several connections have is loaded once. *sources*:
        every address that may become the source, for a local identity that follows it.
        """
        name = connection.name
        if connection.auth == "certificate":
            if version not in self._mirror.keys:
                await self._command("load-key", {"type": "any", "data": secret}, name=name)
                self._mirror.put_key(version, loaded=True)
            return
        message = messages.load_shared(connection, secret, sources)
        self._mirror.versions.pop(name, None)  # until the answer comes it may be the one before, or this one
        await self._command("load-shared", message, name=name)
        self._mirror.versions[name] = version
        self._mirror.put_secret(name, loaded=True)

    async def load(self, connection: Connection, source: IPAddress) -> None:
        """Load *connection* with *source* as its one local address; live SAs are not touched.

        What charon then lists is compared behind the takeover's back (:class:`Verifier`). If it is not
        :meth:`expected`, it is taken away, and refused from then on.
        """
        name, wanted = connection.name, canonical.expected(connection, source)
        if refusal := self._verifier.refusal(wanted.digest):
            raise CharonRefused(refusal)
        if lacks := self._abilities.lacking(connection):
            raise CharonRefused(f"{name}: {lacks}")
        self._listener.loading(name, begins=True)
        self._mirror.sent.pop(name, None)
        await self._command("load-conn", messages.load_conn(connection, source), name=name)
        self._listener.loading(name)
        self._listener.loaded(name, Path(str(source), connection.remote))
        self._mirror.sent[name] = wanted.digest
        self._mirror.put_config(name, wanted)
        self._verifier.loaded(connection, source, wanted)

    async def initiate(self, connection: Connection, child: Child) -> None:
        """Begin a handshake; returns when charon has taken it on, which promises nothing.

        A handshake that could not even begin (a hostname without an address) is no refusal but a failed handshake.
        """
        message: Outgoing = {"ike": connection.name, "child": child.name, "timeout": AT_ONCE}
        self._listener.initiating(connection.name)
        try:
            # Before the loads of those of a lower rank: with many peers sixteen of them ask for their turn at once.
            await self._command("initiate", message, name=connection.name, first=True)
        except CharonRefused as refusal:
            if not _STILLBORN.fullmatch(str(refusal)):
                raise
            self._listener.failed(connection.name, str(refusal))
        self._looker.check_later(connection.name)

    async def install(self, connection: Connection, child: Child) -> None:
        """Install the trap policy of *child*."""
        name = connection.name
        await self._command("install", {"ike": name, "child": child.name}, name=name)
        self._mirror.put_traps(name, self._mirror.view(name).traps | {child.name})

    # --- releasing ----------------------------------------------------------------------------------------------

    async def uninstall(self, name: str, child: str, *, urgent: bool = False) -> None:
        """Take the trap policy of *child* away; that there is none is success."""
        await self._command("uninstall", {"ike": name, "child": child}, name=name, urgent=urgent, missing_ok=True)
        self._mirror.put_traps(name, self._mirror.view(name).traps - {child})

    async def unload(self, name: str, *, urgent: bool = False) -> None:
        """Unload the connection; its SAs and traps stay. That it is not loaded is success."""
        await self._command("unload-conn", {"name": name}, name=name, urgent=urgent, missing_ok=True)
        self._listener.unloaded(name)
        self._mirror.put_config(name, None)

    async def unload_secret(self, shared_id: str, *, urgent: bool = False) -> None:
        """Unload the secret of that id; that there is none is success."""
        name = messages.connection_of(shared_id)
        await self._command("unload-shared", {"id": shared_id}, name=name, urgent=urgent, missing_ok=True)
        self._mirror.put_secret(name, loaded=False)

    async def unload_key(self, name: str, key_id: str) -> None:
        """Unload the private key *key_id*, the last one to have it being *name*; that there is none is success."""
        await self._command("unload-key", {"id": key_id}, name=name, missing_ok=True)
        self._mirror.put_key(key_id, loaded=False)

    async def terminate(self, name: str, *, unique_ids: Iterable[int] | None = None, urgent: bool = False) -> None:
        """Destroy the IKE_SAs of *name* at once (the peer is told, nobody waits): those of *unique_ids*, or all.

        That there is none is success.
        """
        which = [("ike", name)] if unique_ids is None else [("ike-id", str(unique_id)) for unique_id in unique_ids]
        await self._terminate(name, which, urgent=urgent, all_of_it=unique_ids is None)

    async def terminate_children(self, name: str, unique_ids: Iterable[int], *, urgent: bool = False) -> None:
        """Close the CHILD_SAs of *name* with these unique ids; their IKE_SA stays. That there is none is success."""
        await self._terminate(name, [("child-id", str(unique_id)) for unique_id in unique_ids], urgent=urgent)

    async def read(self, name: str) -> CharonConnection:
        """What charon has of *name* now, after every command about it that was sent before has been answered."""
        try:
            async with asyncio.timeout(RELEASE_DEADLINE_S):
                await self._lanes.releases.settled(name)
        except TimeoutError:
            raise CharonSilent(f"{name}: an older command was not answered") from None
        while True:
            since = self._mirror.now
            found = await self._urgent_reader.found(name)
            if self._mirror.fresh(name, since):
                break
        self._mirror.put_section(name, found.section)
        self._mirror.put_traps(name, found.traps)
        self._mirror.put_sas(name, found.sas)
        self._mirror.touch(name)  # a listing that began earlier knows less
        return self._mirror.view(name)

    # --- inside -------------------------------------------------------------------------------------------------

    async def _command(
        self,
        command: str,
        message: Outgoing,
        *,
        name: str,
        urgent: bool = False,
        first: bool = False,
        missing_ok: bool = False,
    ) -> None:
        lane = self._lanes.releases if urgent else self._lanes.takeovers
        if not urgent and isinstance(self.state, Unknown) and self.state.why == "frozen":
            # Not sent: each would be one more surprise for when it wakes.
            raise CharonSilent(f"{command} {name}: charon is frozen")
        if not urgent:
            self._verifier.commanded()
        try:
            await lane.ask(command, message, name=name, first=first)
        except CharonRefused as refusal:
            if not (missing_ok and _missing(refusal)):
                raise
        finally:
            self._mirror.touch(name)

    async def _terminate(
        self, name: str, which: Iterable[tuple[str, str]], *, urgent: bool, all_of_it: bool = False
    ) -> None:
        self._listener.terminating(name, all_of_it=all_of_it)
        for key, value in which:
            message: Outgoing = {key: value, "force": True, "timeout": AT_ONCE}
            await self._command("terminate", message, name=name, urgent=urgent, missing_ok=True)
        self._looker.check_gone_later(name, all_of_it=all_of_it)

    async def _take_away(self, name: str) -> None:
        await self.unload(name)
        await self.terminate(name)
        self._on_change(frozenset((name,)))

    def _deaf(self) -> None:
        self.stats.log_left += 1
        self._listener.deaf()

    def _heard_again(self) -> None:
        """What others have done meanwhile was told to nobody."""
        self._listener.hears_again()
        self._looker.look_at_all()

    def _settled_late(self, name: str) -> None:
        """Charon has done, only now, what its caller no longer waits for."""
        self._mirror.touch(name)
        self._looker.chase(name, config=True)

    async def _ready(self) -> None:
        """Another charon, or the same one again: have connections ready, so that a call only has to be written."""
        self._verifier.forget()
        self._abilities.learn()
        await self._lanes.prepare()


def _missing(refusal: CharonRefused) -> bool:
    """Whether charon refused because there is nothing of that name or id: what was asked is so already."""
    return "not found" in str(refusal) or "no matching SAs" in str(refusal)
