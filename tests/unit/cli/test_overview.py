"""The tables that people read."""

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from swanherd.cli import overview
from swanherd.cli.terminal import age, clean, console
from swanherd.core.words import Notice
from swanherd.report import status
from swanherd.report.published import ConnectionReport, FirewallReport, Published
from tests.unit.report import snapshots as given

WIDTHS = (80, 120, 1000)


def shown(published: Published, *, width: int, in_full: bool = False) -> str:
    """What a terminal of *width* columns shows."""
    out = io.StringIO()
    document: dict[str, Any] = status.document(published, now=given.NOW)
    to = Console(file=out, width=width, highlight=False, markup=False, emoji=False)
    (overview.show_in_full if in_full else overview.show)(to, document)
    return out.getvalue()


def squeezed(text: str) -> str:
    """Without what folding puts between the parts of a word."""
    return "".join(text.split())


@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """A line that the terminal wraps itself breaks the columns."""
    for text in (shown(given.troubled(), width=width), shown(given.troubled(), width=width, in_full=True)):
        assert all(len(line) <= width for line in text.splitlines())


@pytest.mark.parametrize("width", WIDTHS)
def test_names_are_folded_and_never_cut(width: int) -> None:
    """Half a name is the wrong name: every letter is there, and no ellipsis."""
    name = "a-connection-with-the-longest-name-that-anybody-would-ever-write"
    text = shown(given.snapshot(replace(given.failing(), name=name), given.up()), width=width)
    table = text[text.index("CONNECTION") :]
    column = table.index("ROLE")
    first = table.splitlines()[1 : 2 + len(name) // max(1, column - 2)]
    assert "".join(line[:column].strip() for line in first).startswith(name)
    assert "\N{HORIZONTAL ELLIPSIS}" not in text


def test_the_ill_come_first_and_tell_their_story() -> None:
    """Who looks at the top of the table sees what needs attention, with the reason and the next attempt."""
    text = shown(given.snapshot(given.up(), given.failing()), width=120)
    assert text.index("auth-failed") < text.index("branch")
    assert "3 failed attempts; next look in 4s" in text
    assert "AUTHENTICATION_FAILED" in text


def test_a_pending_fence_is_shown_in_place_of_the_reason() -> None:
    """It is what matters most; the reason stands in the story below."""
    text = shown(given.snapshot(given.pending()), width=120)
    assert "fence-pending" in text
    assert "no-address: charon does not answer" in text


def test_all_well_is_said_in_the_first_line() -> None:
    """And nothing below the table."""
    text = shown(given.snapshot(given.up(), given.standby()), width=80)
    assert text.splitlines()[0].startswith("swanherd 0.1.0: all is well")
    assert text.rstrip().splitlines()[-1].startswith("warehouse")


def test_troubles_and_the_broken_settings_problems_are_shown() -> None:
    """What keeps the gateway from being well, and what is wrong in the file, without a second command."""
    text = shown(given.troubled(), width=120)
    for words in ("NOT WELL", "firewall: no right", "connections.x: no such thing"):
        assert words in text


def test_a_peer_cannot_talk_to_the_terminal() -> None:
    """Escape sequences in the peer's words are not passed on."""
    for in_full in (False, True):
        assert "\x1b" not in shown(given.troubled(), width=120, in_full=in_full)


def test_a_peer_cannot_write_markup() -> None:
    """Square brackets are text, not rich's markup."""
    detail = "[bold]x[/nonsense]"
    text = shown(given.snapshot(replace(given.failing(), detail=detail)), width=120)
    assert detail in text


def test_a_connection_in_full_shows_its_sas() -> None:
    """The IKE_SA with its ends and each child."""
    text = shown(given.snapshot(given.up()), width=80, in_full=True)
    assert "IKE #7:    ESTABLISHED for 50m00s, 203.0.113.10 > 203.0.113.20" in text
    assert "child voice INSTALLED" in text


@pytest.mark.parametrize("in_full", [False, True])
def test_notices_are_told_also_of_what_is_well(*, in_full: bool) -> None:
    """Each in a line of its own, word and advice, below the table or among the facts."""
    notices = {Notice.TWO_MASTERS: "192.0.2.3 sends adverts too", Notice.STALE_VIP: "remove it: one\nremove it: two"}
    published = given.snapshot(given.standby(), replace(given.up(), notices=notices))
    assert status.document(published, now=given.NOW)["connections"][1]["notices"] == notices
    lines = [line.strip() for line in shown(published, width=120, in_full=in_full).splitlines()]
    for told in ("two-masters: 192.0.2.3 sends adverts too", "stale-vip: remove it: one", "stale-vip: remove it: two"):
        assert sum(line.endswith(told) for line in lines) == 1
    assert "warehouse:" not in lines


def test_many_ill_connections_do_not_scroll_the_table_away() -> None:
    """Beyond a screenful the stories are counted, and it is said how to see them."""
    ill: list[ConnectionReport] = [given.failing(f"c{number}") for number in range(100)]
    text = shown(given.snapshot(*ill), width=120)
    assert text.count("failed attempts") == overview.DETAILS
    assert "80 more" in text


def test_rules_in_force_are_named_without_an_agent() -> None:
    """The addresses, in words that say what each rule does."""
    out = io.StringIO()
    firewall = FirewallReport(
        present=True, since=0, guarded=frozenset({given.VIP}), fenced=frozenset({given.VIP6}), dropped={"guard": 12}
    )
    overview.show_rules(Console(file=out, width=200), status.firewall_document(firewall))
    text = out.getvalue()
    for words in ("guard: ", str(given.VIP), "fenced: ", str(given.VIP6), "guard 12"):
        assert words in text
    assert squeezed("fenced between") not in squeezed(text)


def test_colours_only_where_somebody_sees_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """None in a pipe; on a terminal, unless NO_COLOR is set."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    for terminal, no_color, coloured in ((False, "", False), (True, "", True), (True, "1", False)):
        monkeypatch.setenv("NO_COLOR", no_color)
        out = io.StringIO()
        out.isatty = lambda terminal=terminal: terminal  # type: ignore[misc, method-assign]  # a StringIO that looks like a terminal
        overview.show(console(out), status.document(given.troubled(), now=given.NOW))
        assert ("\x1b[3" in out.getvalue()) is coloured, (terminal, no_color)


def test_a_pipe_gets_one_line_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """For grep: a pipe has no width, so nothing is folded."""
    monkeypatch.delenv("COLUMNS", raising=False)
    out = io.StringIO()
    overview.show(console(out), status.document(given.snapshot(given.failing()), now=given.NOW))
    assert any(given.failing().name in line and str(given.VIP6) in line for line in out.getvalue().splitlines())


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(None, "-"), (-1, "0ms"), (0.48, "480ms"), (1, "1s"), (59.9, "59s"), (200, "3m20s"), (3600, "1h00m"),
     (90000, "1d01h"), (86400 * 400, "400d00h")],
)  # fmt: skip
def test_a_duration_is_told_in_two_units(seconds: float | None, told: str) -> None:
    """Short enough for a column, exact enough to act on."""
    assert age(seconds) == told


def test_control_characters_are_made_visible() -> None:
    """Nothing that a terminal would obey is left, and nothing disappears."""
    assert clean("a\x1b[31mb\n\x00c") == "a\ufffd[31mb\ufffd\ufffdc"
