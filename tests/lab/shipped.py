"""A pair that runs what is shipped: keepalived's and charon's examples as they are, the agent as a user of its own.

Without systemd: what sysusers.d, tmpfiles.d and the unit do on a gateway (user, FIFO, directories, capabilities) is
done here in as many lines; the system ring does it with them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.lab.agent_conf import AgentConf
from tests.lab.bus import DEBIAN, MessageBus
from tests.lab.hosts import Host
from tests.lab.keepalived import CONF, Keepalived, Vrrp
from tests.lab.lab import Lab
from tests.lab.pair import Pair
from tests.lab.runner import Agent

CONTRIB: Final = Path(__file__).parents[2] / "contrib"
HOOK: Final = "/etc/keepalived/swanherd-notify.sh"
FIFO: Final = "/run/swanherd/notify.fifo"
_CAPABILITIES: Final = "+net_admin,+net_raw"
_AS_SERVICE: Final = (
    *("setpriv", "--reuid=swanherd", "--regid=swanherd", "--init-groups"),
    *(f"--inh-caps={_CAPABILITIES}", f"--ambient-caps={_CAPABILITIES}", "--"),
)
_USER: Final = f"""\
set -eu
getent group vici >/dev/null || groupadd --system vici
id swanherd >/dev/null 2>&1 || useradd --system --user-group --groups vici --no-create-home swanherd
install -d -o swanherd -g swanherd /run/swanherd /var/lib/swanherd
[ -e {FIFO} ] || {{ mkfifo -m 0600 {FIFO}; chown swanherd:swanherd {FIFO}; }}
ln -sf ../bin/swanherd /usr/local/sbin/swanherd
chown -R swanherd /etc/swanherd/secrets
chmod 0644 /etc/swanherd/swanherd.toml
"""


class ShippedAgent(Agent):
    """swanherd as the unit runs it, but for the sandbox."""

    def __init__(self, host: Host, conf: AgentConf) -> None:
        super().__init__(host, conf.text, files=conf.files)
        self._argv = (*_AS_SERVICE, *self._argv)

    def install(self) -> None:
        """Write its files, charon's example and the hook, and make its user and directories."""
        super().install()
        self.host.write("/etc/strongswan.d/swanherd.conf", (CONTRIB / "strongswan/swanherd.conf").read_text())
        self.host.write(HOOK, (CONTRIB / "keepalived/notify.sh").read_text(), mode=0o755)
        self.host.run("sh", "-c", _USER)


class ShippedKeepalived(Keepalived):
    """keepalived with one of the examples."""

    def __init__(self, host: Host, example: str) -> None:
        super().__init__(host, Vrrp(dbus=True))
        self._example = example

    def configure(self) -> None:
        """Put the example in place."""
        self.host.write(CONF, (CONTRIB / "keepalived" / f"{self._example}.conf").read_text())


@contextmanager
def shipped_pair(examples: Mapping[str, str], conf: AgentConf) -> Iterator[Pair]:
    """A pair with keepalived's *examples* by gateway; the peer and both gateways are started, nothing is waited for."""
    with Lab() as lab:
        pair = Pair(lab, lambda host: ShippedAgent(host, conf), Vrrp())
        for gateway in pair.gateways:
            gateway.bus = MessageBus(gateway.host, policy=DEBIAN)
            gateway.keepalived = ShippedKeepalived(gateway.host, examples[gateway.name])
        pair.peer.start()
        for gateway in pair.gateways:
            gateway.boot()
        yield pair
