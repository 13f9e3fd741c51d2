"""Whatever settings are valid: a real charon takes them without a word of trouble, and twice changes nothing."""

import asyncio
import re
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, Phase, assume, given
from hypothesis import settings as profile

from swanherd.core.intent import Connection, IPAddress
from swanherd.settings import Settings
from swanherd.world.charon.codec import Section
from tests.component.charon.agents import Agent, running
from tests.component.charon.sites import Site
from tests.component.settings import drawn
from tests.component.settings.mended import made_valid

SOURCES: Final[dict[int, IPAddress]] = {4: IPv4Address(drawn.SOURCES[0]), 6: IPv6Address(drawn.SOURCES[1])}
EXAMPLES: Final = 200
"""Files, about 0.04 s each."""
GROUPS: Final = re.compile(r"\[(CFG|LIB|ASN|DMN|MGR|IKE|CHD)\] +(?P<said>.*)")
"""What charon says about configuration; KNL and NET tell of the machine."""
NO_TROUBLE: Final = re.compile(
    r"(added|updated|removed) vici connection: .*"
    r"|loaded IKE shared key with id '.*' for: .*"
    r"|loaded ANY private key"
    r"|id not specified, defaulting to cert subject '.*'"
)
"""All that charon may say there: a line of any other kind fails the test, and so does a connection that it replaced."""


async def loaded(agent: Agent, settings: Settings, connection: Connection) -> object:
    """Secret and connection loaded; what charon lists then."""
    source, secret = SOURCES[connection.ip_version], settings.secrets[connection.name]
    await agent.charon.load_secret(connection, secret.value, secret.version, sources=[source])
    await agent.charon.load(connection, source)
    config = (await agent.charon.read(connection.name)).config
    assert config == agent.charon.expected(connection, source)
    return config


async def twice(agent: Agent, site: Site, settings: Settings) -> None:
    """Load all of *settings* and load it again, in one charon; nothing of it is left behind."""
    session = site.vici()
    for connection in settings.intent.connections.values():
        first = await loaded(agent, settings, connection)
        listed: list[Section] = list(session.list_conns())
        secrets = session.get_shared(), session.get_keys()
        assert await loaded(agent, settings, connection) == first
        assert list(session.list_conns()) == listed
        assert (session.get_shared(), session.get_keys()) == secrets
    for connection in settings.intent.connections.values():
        await agent.charon.unload(connection.name)


async def test_valid_settings_load_twice_alike(kernel_site: Site, folder: Path) -> None:
    """Every file that the settings take, whatever is in it, charon loads without a warning, and twice changes nothing.

    What it lists is what the agent expects, so that a pass after the load plans nothing. The files are drawn from the
    model: each of its fields must have been in some of them. Broken by: ``canonical`` that shows ``opaque`` as written;
    ``identity`` that lets ``ipv4:192.0.2.1`` through (charon takes the letters for the address); a field of the model
    that is not drawn (``_table`` without the optional ones).
    """
    site, loop = kernel_site, asyncio.get_running_loop()
    (folder / "secrets/office.psk").write_text("a secret of the tests that is long enough")
    (folder / "secrets/office.psk").chmod(0o600)
    seen: set[tuple[str, str]] = set()

    async with running(site.socket_path) as agent:

        @profile(
            profile.get_profile("ci"),
            max_examples=EXAMPLES,
            phases=[Phase.generate],
            suppress_health_check=[HealthCheck.too_slow],
        )
        @given(drawn.document())
        def each(raw: drawn.Raw) -> None:
            settings = made_valid(raw, folder)
            assume(settings.intent.connections)
            before = len(site.log())
            asyncio.run_coroutine_threadsafe(twice(agent, site, settings), loop).result()
            told = [found["said"] for found in map(GROUPS.search, site.log()[before:].splitlines()) if found]
            assert not [line for line in told if not NO_TROUBLE.fullmatch(line)]
            assert any(line.startswith("updated") for line in told), "charon's own word that nothing changed"
            seen.update(drawn.fields_of(raw))

        await asyncio.to_thread(each)
    assert not set(drawn.every_field()) - seen, "fields that were in none of them"
