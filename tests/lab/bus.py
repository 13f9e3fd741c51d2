"""The system message bus of a gateway: a dbus-daemon at the stock place."""

from typing import Final

from tests.lab.daemon import Daemon
from tests.lab.hosts import Host
from tests.lab.waiting import wait_until

SOCKET: Final = "/run/dbus/system_bus_socket"
CONF: Final = "/etc/dbus-lab.conf"
EVERYBODY: Final = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/>
<allow send_type="method_call"/><allow send_type="method_return"/><allow send_type="error"/><allow send_type="signal"/>
<allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/>
<allow receive_type="signal"/></policy></busconfig>
"""
"""A policy that lets everybody speak."""
DEBIAN: Final = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><deny own="*"/><deny send_type="method_call"/>
<allow send_type="signal"/><allow send_requested_reply="true" send_type="method_return"/>
<allow send_requested_reply="true" send_type="error"/><allow receive_type="method_call"/>
<allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
<allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/></policy>
<includedir>/usr/share/dbus-1/system.d</includedir><includedir>/etc/dbus-1/system.d</includedir></busconfig>
"""
"""What counts of Debian's own (its file has users that the lab's hosts do not): denied is what no package allows.

keepalived's policy is in the second directory on Debian 12, in the first one on 13."""


class MessageBus(Daemon):
    """The bus that ``enable_dbus`` makes keepalived look for at its start, and only then; its log is ``dbus.log``."""

    def __init__(self, host: Host, *, policy: str = EVERYBODY) -> None:
        super().__init__(
            host, "dbus-daemon", f"--config-file={CONF}", "--nofork", "--nopidfile", "--print-address", log="dbus.log"
        )
        self.policy = policy

    def start(self) -> None:
        """Start it; it listens when this returns."""
        self.host.path(SOCKET).parent.mkdir(parents=True, exist_ok=True)
        self.host.path(SOCKET).unlink(missing_ok=True)
        self.host.write(CONF, self.policy.format(socket=SOCKET))
        super().start()
        wait_until(self.host.path(SOCKET).is_socket, f"{self!r} listens")
