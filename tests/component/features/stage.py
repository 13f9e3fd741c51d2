"""One feature at a time: settings as a person writes them, run by our adapter, against a real charon that judges.

What proves a feature is what the *peer* shows: its own list of SAs, over its own vici.
"""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, Final

from vici.exception import CommandException

from swanherd.core.intent import Connection
from swanherd.settings import Settings, load
from tests.component.charon.agents import Agent, running
from tests.component.charon.sites import SECRET, Site

NAME: Final = "office"
"""The connection at both ends; its child is ``net``."""
UP_S: Final = 60.0
"""For a handshake, on a busy or emulated machine."""
SHARED: Final = {"id": "theirs", "type": "IKE", "data": SECRET}

LEFT_6: Final = IPv6Address("2001:db8:9::1")
RIGHT_6: Final = IPv6Address("2001:db8:9::2")
"""The ends' IPv6 addresses on the cable, where :meth:`Stage.have_ipv6` was called."""
INNER_6: Final = "fd00:1::1", "fd00:2::1"

Sa = Mapping[str, Any]
Conf = dict[str, Any]


@dataclass(slots=True)
class Stage:
    """Two sites; ours is on the left."""

    left: Site
    right: Site
    folder: Path

    def settings(
        self,
        *lines: str,
        child: str = "",
        auth: str = 'psk_file = "office.psk"',
        hosts: bool = False,
        selectors: tuple[str, str] = ("", ""),
        remote: str = "",
    ) -> Settings:
        """Settings with one connection to the right, and *lines* of it; *child* are more fields of its child.

        With *hosts* the child is between the two ends themselves; *selectors* are local and remote lists of its own.
        """
        self.secret("office.psk", SECRET.decode())
        ends = [("local", self.left), ("remote", self.right)]
        fields = [f'{side} = ["dynamic"]' if hosts else f'{side} = ["{site.inner}/32"]' for side, site in ends]
        if all(selectors):
            fields = [f"local = {selectors[0]}", f"remote = {selectors[1]}"]
        fields += filter(None, [child])
        text = "\n".join(
            (
                '[interfaces.wan]\ndevice = "cable"',
                f"[connections.{NAME}]",
                'interfaces = ["wan"]',
                f'remote = ["{remote or self.right.ip}"]',
                *([auth] if auth else []),
                *lines,
                f"[connections.{NAME}.children.net]",
                *fields,
            )
        )
        (self.folder / "swanherd.toml").write_text(text + "\n")
        return load(self.folder / "swanherd.toml")

    def have_ipv6(self) -> None:
        """Give both ends IPv6 addresses on the cable and behind it."""
        for site, outer, inner in ((self.left, LEFT_6, INNER_6[0]), (self.right, RIGHT_6, INNER_6[1])):
            site.ip_command("addr", "replace", f"{outer}/64", "dev", "cable", "nodad")
            site.ip_command("addr", "replace", f"{inner}/128", "dev", "lo", "nodad")

    def ping(self, source: str, target: str, *, count: int = 3) -> int:
        """How many of *count* packets from *source* on our side to *target* were answered."""
        argv = ("ip", "netns", "exec", self.left.netns, "ping", "-n", "-i", "0.2", "-c", str(count), "-W", "5",
                "-I", source, target)  # fmt: skip
        said = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
        return said.count(" bytes from ")

    def secret(self, name: str, text: str, *, mode: int = 0o600) -> None:
        """A file in secrets/."""
        self._write(self.folder / "secrets" / name, text).chmod(mode)

    def certificate(self, name: str, text: str) -> None:
        """A file in certs/."""
        self._write(self.folder / "certs" / name, text)

    @staticmethod
    def _write(file: Path, text: str) -> Path:
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return file

    def peer(self, **changes: Any) -> Conf:
        """The peer's end in vici's words; ``local``, ``remote`` and ``child`` are for the sections in it."""
        inner = {key: changes.pop(key, {}) for key in ("local", "remote", "child")}
        return {
            "local_addrs": [str(self.right.ip)],
            "remote_addrs": [str(self.left.ip)],
            "mobike": "no",
            "local": {"auth": "psk", **inner["local"]},
            "remote": {"auth": "psk", **inner["remote"]},
            "children": {
                "net": {
                    "local_ts": [f"{self.right.inner}/32"],
                    "remote_ts": [f"{self.left.inner}/32"],
                    **inner["child"],
                }
            },
            **changes,
        }

    @asynccontextmanager
    async def ours(self, settings: Settings) -> AsyncIterator[tuple[Agent, Connection]]:
        """Our adapter with the settings' connection loaded; nothing of it is left behind."""
        connection = settings.intent.connections[NAME]
        async with running(self.left.socket_path) as agent:
            agent.charon.watch({NAME})
            await self.load(agent, settings)
            try:
                yield agent, connection
            finally:
                await agent.charon.unload(NAME)
                await agent.charon.terminate(NAME)
                for key_id in agent.charon.key_ids():
                    await agent.charon.unload_key(NAME, key_id)

    async def load(self, agent: Agent, settings: Settings) -> None:
        """Secret and connection; what charon then lists must be what the adapter expects."""
        connection, secret = settings.intent.connections[NAME], settings.secrets[NAME]
        source = self.left.ip if connection.ip_version == 4 else LEFT_6
        await agent.charon.load_secret(connection, secret.value, secret.version, sources=[source])
        await agent.charon.load(connection, source)
        listed = (await agent.charon.read(NAME)).config
        assert listed == agent.charon.expected(connection, source)

    @asynccontextmanager
    async def theirs(self, conf: Conf, *, shared: Mapping[str, Any] | None = SHARED) -> AsyncIterator[Any]:
        """The peer's vici session, with *conf* loaded."""
        session = self.right.vici()
        if shared is not None:
            session.load_shared(shared)
        session.load_conn({NAME: conf})
        try:
            yield session
        finally:
            session.unload_conn({"name": NAME})
            with suppress(CommandException):
                list(session.terminate({"ike": NAME, "force": "yes", "timeout": "-1"}))

    async def bring_up(self, agent: Agent, connection: Connection, session: Any) -> Sa:
        """Initiate, and the peer's view of the one IKE_SA as soon as its child is installed at both ends.

        The peer, which answers, has it first; what is sent before we have it too is lost.
        """
        await agent.charon.initiate(connection, connection.children[0])
        found = await peer_up(session)
        await agent.until(lambda: agent.up(NAME), "the child is installed here", within_s=UP_S)
        return found

    async def tried(self, settings: Settings, conf: Conf, **more: Any) -> Sa:
        """Both ends loaded and the tunnel brought up by us: what the peer then shows."""
        async with self.theirs(conf, **more) as session, self.ours(settings) as (agent, connection):
            return await self.bring_up(agent, connection, session)


async def peer_up(session: Any, *, count: int = 1) -> Sa:
    """The peer's newest IKE_SA, as soon as *count* are established there with an installed child each."""
    found: list[Sa] = []
    try:
        async with asyncio.timeout(UP_S):
            while len(found) != count:
                await asyncio.sleep(0.02)
                found = [sa for item in session.list_sas() for sa in item.values() if _carries(sa)]
    except TimeoutError:
        raise AssertionError(f"the peer shows {found}, not {count} IKE_SAs that carry traffic") from None
    return found[-1]


def _carries(sa: Sa) -> bool:
    return sa["state"] == b"ESTABLISHED" and any(
        child["state"] == b"INSTALLED" for child in sa.get("child-sas", {}).values()
    )


def child_of(sa: Sa) -> Sa:
    """The one installed child of an SA."""
    (child,) = (each for each in sa["child-sas"].values() if each["state"] == b"INSTALLED")
    shown: Sa = child
    return shown
