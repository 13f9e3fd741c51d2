"""How a charon has its connections loaded, in all that it tells of them: asked by the judge, not by the agent."""

from typing import Any

from tests.lab.asking import vici_session
from tests.lab.charon import VICI
from tests.lab.hosts import Host


def read_configs(host: Host) -> dict[str, Any]:
    """Every loaded connection by name, as ``list-conns`` has it; OSError where charon does not answer."""
    with vici_session(host.path(VICI)) as session:
        return {name: config for entry in session.list_conns() for name, config in entry.items()}
