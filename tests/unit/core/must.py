"""What must hold of each plan, and whenever a connection is called fenced."""

from swanherd.core import plan as planning
from swanherd.core.decision import Goal
from swanherd.core.plan import Plan
from tests.unit.core.charon import Charon, subject


def be_fenced(name: str, charon: Charon | None, run: int) -> None:
    """``fenced`` is only said when charon has nothing, and nothing of this run can still come."""
    if charon is None:
        return
    assert not charon.holds(name), f"{name} is called fenced, and charon still holds it"
    acquiring = planning.Load | planning.Install | planning.Initiate
    left = [
        command.step
        for command in charon.under_way
        if command.run == run and subject(command.step) == name and isinstance(command.step, acquiring)
    ]
    assert not left, f"{name} is called fenced, and charon has yet to run {left}"


def be_ordered(new: Plan) -> None:
    """Release before acquire; in a release: traps, configuration, SAs, then the read-back."""
    kinds = [type(step) for step in new.steps]
    if new.goal is Goal.RELEASE:
        order: list[type] = [
            planning.Uninstall,
            planning.Unload,
            planning.Terminate,
            planning.ReadBack,
            planning.UnloadSecret,
            planning.LoadSecret,
        ]
    else:
        order = [
            planning.LoadSecret,
            planning.Uninstall,
            planning.Load,
            planning.Terminate,
            planning.TerminateChildren,
            planning.Install,
            planning.Initiate,
        ]
    assert [order.index(kind) for kind in kinds] == sorted(order.index(kind) for kind in kinds), f"{kinds}"
    if planning.Unload in kinds:
        assert planning.Terminate in kinds, "an unload alone closes nothing"
        assert planning.ReadBack in kinds, "a release that is not read back proves nothing"
