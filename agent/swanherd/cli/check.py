"""``swanherd check``: whether settings can be used, and what a reload of them would do."""

import asyncio
import json
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from swanherd import settings
from swanherd.cli.exits import Exit
from swanherd.cli.terminal import clean, count
from swanherd.core.words import ConfigChange
from swanherd.settings import advice
from swanherd.world.charon import algorithms


def run(arguments: Namespace) -> int:
    """Print every error at once, the warnings, and with ``--diff`` what would change."""
    result: dict[str, Any] = {"file": arguments.file, "errors": [], "warnings": []}
    code = _check(arguments, result)
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        _show(result, code)
    return code


def _check(arguments: Namespace, result: dict[str, Any]) -> Exit:
    credentials = settings.credentials_of_service()
    try:
        new = settings.load(Path(arguments.file), credentials=credentials)
    except settings.SettingsError as error:
        result["errors"] = _problems(error.problems)
        return Exit.USAGE
    result["warnings"] = _problems((*advice.warnings(new), *_lacking(new)))
    result["unseen"] = list(_unseen(new))
    if not arguments.diff:
        return Exit.WELL
    state_dir = Path(new.options.state_dir)
    try:
        old, _ = settings.load_last_good(state_dir, credentials=credentials)
    except settings.SettingsError as error:
        result["errors"] = _problems(error.problems)
        return Exit.NOT_RUNNING
    result["changes"] = [
        {
            "connection": change.connection,
            "child": change.child,
            "change": change.effect,
            "fields": change.fields,
            "why": change.why,
        }
        for change in settings.diff(old, new)
    ]
    result["needs_restart"] = settings.needs_restart(old, new)
    return Exit.WELL


def _lacking(new: settings.Settings) -> Iterator[settings.Problem]:
    """Proposals with algorithms that the charon of this machine does not have; nothing where none answers."""
    known = asyncio.run(algorithms.ask(new.options.vici_socket))
    if known is None:
        return
    for connection in new.intent.connections.values():
        key = f"connections.{connection.table}"
        lists = [(f"{key}.proposals", connection.proposals, False)]
        lists += [
            (f"{key}.children.{child.name}.proposals", child.esp_proposals, True) for child in connection.children
        ]
        for where, proposals, esp in lists:
            for position, proposal in enumerate(proposals):
                if words := algorithms.missing(proposal, known, esp=esp):
                    rule = f"'{proposal}': the charon that runs here has no {', '.join(words)}"
                    yield settings.Problem(str(new.path), f"{where}[{position}]", rule)


def _unseen(new: settings.Settings) -> Iterator[dict[str, Any]]:
    """For the VIPs of each interface, which faults of keepalived's their evidence cannot see."""
    for interface in new.intent.interfaces.values():
        evidence = interface.vrrp.evidence if interface.vrrp else frozenset()
        if interface.vips:
            yield {
                "interface": interface.name,
                "vips": list(map(str, interface.vips)),
                "evidence": sorted(evidence),
                "faults": [
                    {"name": fault.name, "what": fault.what, "price": fault.price} for fault in advice.unseen(evidence)
                ],
            }


def _problems(problems: Iterable[settings.Problem]) -> list[dict[str, str]]:
    return [{"file": each.file, "key": each.key, "rule": each.rule} for each in problems]


def _show(result: dict[str, Any], code: Exit) -> None:
    for each in result["warnings"]:
        print(f"warning: {_sentence(each)}", file=sys.stderr)
    for each in result["errors"]:
        print(f"error: {_sentence(each)}", file=sys.stderr)
    file = clean(result["file"])
    if code is Exit.USAGE:
        print(f"{file}: {count(len(result['errors']), 'error')}; a reload would refuse it", file=sys.stderr)
        return
    print(f"{file}: can be used" + (f"; {count(len(result['warnings']), 'warning')}" if result["warnings"] else ""))
    _show_unseen(result["unseen"])
    if code is Exit.NOT_RUNNING:
        print("there are no settings in force to compare with", file=sys.stderr)
    elif "changes" in result:
        _show_changes(result)


def _show_unseen(unseen: list[dict[str, Any]]) -> None:
    """VIPs with the same evidence are told of together."""
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for each in unseen:
        alike.setdefault(tuple(each["evidence"]), []).append(each)
    for evidence, group in alike.items():
        vips = ", ".join(vip for each in group for vip in each["vips"])
        source = " and ".join(("the address", *evidence))
        faults = group[0]["faults"]
        print(f"{clean(vips)}: by {source}, " + ("not seen is that" if faults else "every fault known here is seen"))
        for fault in faults:
            print(f"  {fault['what']}:\n    {fault['price']}")


def _show_changes(result: dict[str, Any]) -> None:
    changed = [each for each in result["changes"] if each["fields"] or each["change"] != ConfigChange.NOTHING]
    print("a reload would do this to live SAs:" if changed else "a reload would change no live SA")
    for each in changed:
        name = each["connection"] + (f" child {each['child']}" if each["child"] else "")
        why = f" ({', '.join(each['fields'])}: {each['why']})" if each["fields"] else ""
        print(f"  {clean(name)}: {clean(each['change'])}{clean(why)}")
    same = len(result["changes"]) - len(changed)
    if changed and same:
        print(f"  {same} more: nothing")
    if result["needs_restart"]:
        print(f"these take effect when the agent is restarted: {', '.join(result['needs_restart'])}")


def _sentence(problem: dict[str, str]) -> str:
    return clean(": ".join(part for part in problem.values() if part))
