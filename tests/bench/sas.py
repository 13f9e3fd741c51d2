"""What two charons hold of a site's tunnels: which are up, and what the peer has kept of others. Pure."""

from collections.abc import Iterable, Mapping

from tests.lab.observe.sas import IkeSa


def up_names(sas: Iterable[IkeSa]) -> frozenset[str]:
    """The connections that have a CHILD_SA: an IKE_SA alone carries nothing."""
    return frozenset(sa.name for sa in sas if sa.up)


def leftovers(at_peer: Iterable[IkeSa], ours: Iterable[IkeSa]) -> int:
    """How many IKE_SAs the peer holds that the gateway does not: of the old gateway, or of tries that failed."""
    known = {sa.initiator_spi for sa in ours}
    return sum(sa.initiator_spi not in known for sa in at_peer)


def up_times(sas: Iterable[IkeSa], answered: Mapping[str, float]) -> list[float]:
    """When each connection that is up came up, in order; *answered* is when each IKE_SA got its answer to IKE_AUTH.

    The answer alone proves nothing: it may say that there is no CHILD_SA. Of several that are up the first one counts.
    """
    times: dict[str, float] = {}
    for sa in sas:
        at = answered.get(sa.initiator_spi)
        if sa.up and at is not None:
            times[sa.name] = min(at, times.get(sa.name, at))
    return sorted(times.values())
