"""VRRP evidence of all interfaces, from the two adapters that gather it."""

from collections.abc import Mapping
from pathlib import Path

from swanherd.core.evidence import VrrpFacts
from swanherd.core.facts import Network
from swanherd.core.intent import EvidenceSource, Intent, Interface, VrrpDeclaration
from swanherd.world.keepalived import Keepalived
from swanherd.world.vrrp import VrrpListener, Watched


class Evidence:
    """What was declared is gathered, nothing else; an interface without a declaration has Absent everywhere."""

    def __init__(self, listener: VrrpListener, keepalived: Keepalived) -> None:
        self._listener = listener
        self._keepalived = keepalived
        self._interfaces: tuple[str, ...] = ()

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Those for which evidence is gathered."""
        return self._interfaces

    @property
    def failures(self) -> tuple[str, ...]:
        """Why hints cannot be had from where the settings say; empty: they can."""
        return self._keepalived.failures

    def adopt(self, intent: Intent, *, fifo: Path | None, pid_file: Path) -> None:
        """Watch what *intent* declares from now on."""
        declared: Mapping[str, tuple[Interface, VrrpDeclaration]] = {
            name: (interface, interface.vrrp)
            for name, interface in intent.interfaces.items()
            if interface.vrrp is not None and interface.vips
        }
        self._interfaces = tuple(name for name, (_, vrrp) in declared.items() if vrrp.evidence)
        self._listener.watch(
            {
                name: _watched(interface, vrrp)
                for name, (interface, vrrp) in declared.items()
                if EvidenceSource.ADVERTS in vrrp.evidence and vrrp.vrid is not None
            }
        )
        self._keepalived.watch(
            {name: vrrp for name, (_, vrrp) in declared.items()},
            {name: vrrp.device or interface.device for name, (interface, vrrp) in declared.items()},
            fifo=fifo,
            pid_file=pid_file,
        )

    def network_changed(self, network: Network) -> None:
        """Own addresses and devices may be others now."""
        self._listener.network_changed(network)

    def facts(self, interface: str) -> VrrpFacts:
        """All declared evidence about *interface*."""
        return VrrpFacts(
            state=self._keepalived.state(interface),
            process=self._keepalived.process(interface),
            listener=self._listener.heard(interface),
        )


def _watched(interface: Interface, vrrp: VrrpDeclaration) -> Watched:
    return Watched(
        device=vrrp.device or interface.device,
        vip_device=interface.device,
        vrid=vrrp.vrid or 0,
        family=vrrp.family or interface.vips[0].version,
        vips=interface.vips,
        unicast_peers=vrrp.unicast_peers,
        advert_interval_s=vrrp.advert_interval_s,
    )
