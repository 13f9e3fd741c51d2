"""Which of our firewall rules are in force, read from the kernel: they hold whether the agent runs or not."""

from swanherd.report.published import FirewallReport
from swanherd.world.firewall import OpeningRules
from swanherd.world.firewall.errors import FirewallError
from swanherd.world.firewall.kernel import Kernel
from swanherd.world.firewall.snapshot import read, stopped


class UnreadableError(Exception):
    """The rules cannot be read; the text says why, and what to do."""


def in_force() -> FirewallReport:
    """Our table as it is now, without a change; raises UnreadableError."""
    kernel, openings = Kernel(), OpeningRules()
    try:
        snapshot = read(kernel)
        dropped = stopped(kernel) if snapshot.present else {}
        chains = tuple(map(str, sorted(openings.everywhere())))
    except FirewallError as error:
        raise UnreadableError(str(error)) from error
    finally:
        kernel.close()
        openings.close()
    wire = snapshot.wire
    detail = "" if snapshot.intact or not snapshot.present else "somebody has changed our table: it may not hold"
    if wire is None:
        return FirewallReport(present=snapshot.present, since=0.0, detail=detail, dropped=dropped, chains=chains)
    return FirewallReport(
        present=snapshot.present,
        since=0.0,
        detail=detail,
        guarded=wire.guarded,
        fenced=wire.fenced,
        fenced_pairs=wire.fenced_pairs,
        ours=len(wire.ours),
        dropped=dropped,
        leaks=wire.leaks,
        chains=chains,
    )
