"""Takes everything of swanherd's away: no settings and no running agent are needed, only the ownership record."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from swanherd.core.facts import CharonConnection, CharonIdentity, Known, Pair
from swanherd.core.record import Entry, Record
from swanherd.world.charon import Charon, CharonError
from swanherd.world.firewall import Firewall, FirewallError, OpeningRules
from swanherd.world.links import Links
from swanherd.world.recordfile import RecordFile
from swanherd.world.xfrm import KernelIpsec


@dataclass(frozen=True, slots=True)
class Removal:
    """What became of one thing of ours."""

    what: str
    done: bool
    detail: str = ""
    foreign: bool = False
    """It has become somebody else's, and was left alone."""


async def teardown(
    *,
    charon: Charon,
    firewall: Firewall,
    openings: OpeningRules,
    links: Links,
    kernel: KernelIpsec,
    record_file: RecordFile,
) -> list[Removal]:
    """Remove connections, traps, secrets, what a dead charon left in the kernel, the table, the records; report each.

    The record stays while something that it names could not be removed, so that a second run finds it.
    """
    record, trouble = record_file.read()
    results = [Removal("ownership record", done=False, detail=trouble)] if trouble else []
    swept: set[Pair] = set()
    for name, entry in record.entries.items():
        result = await _connection(name, entry, charon=charon, record=record)
        results.append(result)
        if result.done and not result.foreign:
            swept |= entry.pairs
    results += await _sweep(kernel, links, swept)
    results += _close_openings(openings)
    left = await asyncio.to_thread(links.remove)
    results.append(Removal("devices and routes", done=not left, detail=left))
    try:
        await firewall.teardown()
        results.append(Removal("firewall table inet swanherd", done=True))
    except FirewallError as error:
        results.append(Removal("firewall table inet swanherd", done=False, detail=str(error)))
    if all(result.done for result in results):
        record_file.remove()
        results.append(Removal("ownership record", done=True))
    return results


async def _sweep(kernel: KernelIpsec, links: Links, pairs: set[Pair]) -> list[Removal]:
    """Before the interfaces go: they alone tell which of what belongs to interfaces is ours."""
    what = "the kernel's IPsec"
    try:
        kernel.sweep(pairs, {0, *(await asyncio.to_thread(links.if_ids))})
    except OSError as error:  # KernelIpsecError is one
        return [Removal(what, done=False, detail=str(error))]
    return [Removal(what, done=True)]


def _close_openings(openings: OpeningRules) -> Iterator[Removal]:
    """Our rules in chains of others, wherever they are."""
    try:
        for chain in sorted(openings.everywhere()):
            openings.apply(chain, ())
            yield Removal(f"firewall rules in {chain}", done=True)
    except FirewallError as error:
        yield Removal("firewall rules in other chains", done=False, detail=str(error))
    finally:
        openings.close()


async def _connection(name: str, entry: Entry, *, charon: Charon, record: Record) -> Removal:
    what = f"connection {name}"
    state = charon.state
    if not isinstance(state, Known):
        if state.why == "gone":
            return Removal(what, done=True, detail="charon does not run, so nothing of it is loaded")
        return Removal(what, done=False, detail="charon does not answer")
    try:
        here = await charon.read(name)
        if whose := _not_ours(entry, here, record, state.value):
            await charon.unload_secret(entry.shared_id)  # its id is in a name space of ours, whoever has the name
            return Removal(what, done=True, detail=whose, foreign=here.config is not None)
        left = await _release(name, entry, here, charon)
    except CharonError as error:
        return Removal(what, done=False, detail=str(error))
    return Removal(what, done=left.empty, detail="" if left.empty else "charon still lists something of it")


def _not_ours(entry: Entry, here: CharonConnection, record: Record, charon: CharonIdentity) -> str:
    """Why what bears our name is left alone; empty if it is ours."""
    if here.config is not None:
        return "" if entry.owns(here.config) else "somebody else's connection has this name now; left alone"
    if record.charon in {None, charon}:
        return ""  # written before any charon was met: what is there may be what we put there
    return "a new charon; nothing of ours in it"


async def _release(name: str, entry: Entry, here: CharonConnection, charon: Charon) -> CharonConnection:
    for child in sorted(here.traps):
        await charon.uninstall(name, child, urgent=True)
    await charon.unload(name, urgent=True)
    await charon.terminate(name, urgent=True)
    await charon.unload_secret(entry.shared_id)
    for key_id in sorted(entry.keys):
        await charon.unload_key(name, key_id)
    return await charon.read(name)
