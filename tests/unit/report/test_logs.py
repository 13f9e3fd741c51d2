"""What a log line may say, and how it looks."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from swanherd.core.words import Fence, Reason, Role
from swanherd.report import logs
from swanherd.report.published import Transition

SECRET = "correct-horse-battery"  # noqa: S105 - it is what must not appear


class Captured:
    """A stream that logs were set up on, and what was written to it."""

    def __init__(self, *, terminal: bool = False) -> None:
        self.stream = io.StringIO()
        self.stream.isatty = lambda: terminal  # type: ignore[method-assign]  # a StringIO that looks like a terminal

    def text(self) -> str:
        """All lines, after the thread that writes them has ended."""
        logs._outlet(self.stream).close()
        return self.stream.getvalue()

    def events(self) -> list[dict[str, Any]]:
        """The lines as JSON."""
        return [json.loads(line) for line in self.text().splitlines()]


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Logging of the whole process is as before the test."""
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


def change(name: str = "branch", **more: Any) -> Transition:
    """A takeover that begins."""
    return Transition(
        name, Role.ACTIVE, Reason.LOADING, Fence.NOT_NEEDED, Role.STANDBY, Reason.NO_ADDRESS, Fence.FENCED, **more
    )


def test_a_secret_is_redacted_at_any_depth() -> None:
    """What looks like a secret by its key never reaches the stream; what only points to one may."""
    out = Captured()
    logs.setup("debug", "json", out.stream)
    logs.get("charon").info(
        "loaded", psk=SECRET, deep={"list": [{"shared_key": SECRET}], "Passphrase": SECRET}, psk_file="branch.psk"
    )
    assert SECRET not in out.text()
    event = out.events()[0]
    assert event["deep"]["list"][0]["shared_key"] == logs.REDACTED
    assert event["psk_file"] == "branch.psk"


def test_bytes_are_never_shown() -> None:
    """Secrets are bytes in this program, and no text of ours is, whatever the key is called."""
    out = Captured()
    logs.setup("debug", "json", out.stream)
    logs.get("charon").info("sent", data=SECRET.encode(), parts=[SECRET.encode()])
    assert SECRET not in out.text()
    assert out.events()[0]["data"] == f"[{len(SECRET)} bytes]"


@pytest.mark.parametrize("kind", ["json", "text"])
def test_a_traceback_does_not_show_local_variables(kind: logs.LogFormat) -> None:
    """The libraries' pretty tracebacks print locals, and a local may be a secret."""
    out = Captured(terminal=True)
    logs.setup("debug", kind, out.stream)

    def fail(key: str) -> None:
        raise RuntimeError("no such thing" if key else "")

    try:
        fail(SECRET)
    except RuntimeError:
        logs.get("charon").exception("failed")
    assert "no such thing" in out.text()
    assert SECRET not in out.text()


def test_auto_is_json_where_nobody_looks() -> None:
    """A pipe, a file and journald get JSON with time, level, event and where it comes from."""
    out = Captured()
    logs.setup("info", "auto", out.stream)
    logs.get("charon").info("gone", since=3)
    event = out.events()[0]
    assert list(event)[:4] == ["timestamp", "level", "event", "where"]
    assert (event["level"], event["event"], event["where"], event["since"]) == ("info", "gone", "charon", 3)


def test_auto_is_readable_on_a_terminal() -> None:
    """A person gets columns, in colours unless NO_COLOR is set."""
    out = Captured(terminal=True)
    logs.setup("info", "auto", out.stream)
    logs.get("charon").info("gone")
    assert "\x1b[" in out.text()
    assert "gone" in out.text()


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR: not one escape sequence, also on a terminal."""
    monkeypatch.setenv("NO_COLOR", "1")
    out = Captured(terminal=True)
    logs.setup("info", "auto", out.stream)
    logs.get("charon").info("gone")
    assert "\x1b" not in out.text()


def test_under_systemd_a_terminal_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """JOURNAL_STREAM says that journald reads."""
    monkeypatch.setenv("JOURNAL_STREAM", "8:1234")
    out = Captured(terminal=True)
    logs.setup("info", "auto", out.stream)
    logs.get("charon").info("gone")
    assert out.events()[0]["event"] == "gone"


def test_a_peer_cannot_talk_to_the_terminal() -> None:
    """The peer's words come by way of charon; escape sequences in them are shown, not obeyed."""
    out = Captured(terminal=True)
    logs.setup("info", "text", out.stream)
    logs.get("charon").info("refused", detail="\x1b]0;owned\x07")
    assert "\x1b]0;" not in out.text()
    assert "owned" in out.text()


def test_the_libraries_log_the_same_way() -> None:
    """Records of the standard logging come out as ours do, redacted too, with the library's name."""
    out = Captured()
    logs.setup("info", "json", out.stream)
    logging.getLogger("aiohttp.server").error("odd %s", "request", extra={"password": SECRET})
    event = out.events()[0]
    assert (event["event"], event["where"], event["level"]) == ("odd request", "aiohttp.server", "error")
    assert SECRET not in out.text()


def test_the_level_filters() -> None:
    """Below the level nothing is written; libraries never go below info."""
    out = Captured()
    logs.setup("warning", "json", out.stream)
    logs.get("loop").info("quiet")
    logs.get("loop").warning("loud")
    assert [event["event"] for event in out.events()] == ["loud"]


def test_an_unknown_level_is_named() -> None:
    """A wrong level is an error that says what is allowed."""
    with pytest.raises(ValueError, match=r"'loud'.*debug, info"):
        logs.setup("loud", "json", io.StringIO())


def test_a_pass_is_one_event_with_its_reasons() -> None:
    """Old and new role and reason, source and endpoint, and the detail, in the words of status and metrics."""
    out = Captured()
    logs.setup("info", "json", out.stream)
    logs.log_pass([change(detail="VIP seen", endpoint="203.0.113.20")], number=7, took_s=0.00123)
    (event,) = out.events()
    assert (event["event"], event["number"], event["took_ms"], event["connections"]) == ("changed", 7, 1.23, 1)
    assert event["changes"] == [
        {
            "role": "standby -> active",
            "reason": "no-address -> loading",
            "fence": "not-needed",
            "endpoint": "203.0.113.20",
            "detail": "VIP seen",
            "names": ["branch"],
        }
    ]


def test_a_thousand_takeovers_are_one_short_event() -> None:
    """Lines above 48 KiB are split by journald: alike changes are grouped, and the names beyond twenty are counted."""
    out = Captured()
    logs.setup("info", "json", out.stream)
    changes = [change(f"branch-{number:04}", endpoint=f"198.51.100.{number % 250}") for number in range(1000)]
    logs.log_pass([*changes, Transition("lab", Role.STANDBY, Reason.REMOVED, Fence.PENDING)], number=1, took_s=0.1)
    (event,) = out.events()
    assert len(out.text()) < 4096
    assert sorted(len(group["names"]) + group.get("more", 0) for group in event["changes"]) == [1, 1000]
    assert event["connections"] == 1001


def test_a_pass_without_a_change_is_silent() -> None:
    """A log that repeats itself hides what matters."""
    out = Captured()
    logs.setup("debug", "json", out.stream)
    logs.log_pass([], number=1, took_s=0.1)
    assert out.text() == ""
