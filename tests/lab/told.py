"""What an agent in the lab tells of itself: status, metrics, log. Tests check it beside what the observer saw."""

import http.client
import json
import socket
import time
from typing import Any, Final

from swanherd.cli import client
from tests.lab.namespaces import socket_in
from tests.lab.runner import Agent
from tests.lab.waiting import PATIENCE, wait_until

CONTROL: Final = "/run/swanherd/control.sock"
METRICS_PORT: Final = 9817
ASK_TIMEOUT_S: Final = 1.0 * PATIENCE
"""An agent that tells nothing for so long hangs."""


class Told:
    """Asks the agent of one gateway, and remembers how long its slowest answer took."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.slowest_s = 0.0
        """The longest round trip of a status or a scrape so far."""
        self.lag_ms = 0.0
        """The worst lag of its loop that the agent itself has told so far."""

    def status(self) -> dict[str, Any]:
        """The status document; swanherd's AgentError where there is none within ``ASK_TIMEOUT_S``."""
        began = time.monotonic()
        _, document = client.ask(self._agent.host.path(CONTROL), "GET", "/v1/status", timeout_s=ASK_TIMEOUT_S)
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        self.lag_ms = max(self.lag_ms, document["loop"]["lag_ms"])
        return document

    def connection(self, name: str) -> dict[str, Any]:
        """The status of one connection; empty where the agent has none of that name."""
        return next((each for each in self.status()["connections"] if each["name"] == name), {})

    def wait_for(self, *names: str, within_s: float = 10.0, **wanted: object) -> None:
        """Wait until the connections *names* have all these fields, e.g. ``reason="up"``."""
        by_name: dict[str, dict[str, Any]] = {}

        def shown() -> bool:
            by_name.update({each["name"]: each for each in self.status()["connections"]})
            return all(by_name.get(name, {}).get(key) == value for name in names for key, value in wanted.items())

        try:
            wait_until(shown, f"{', '.join(names)} with {wanted}", within_s=within_s, every_s=0.02)
        except AssertionError as error:
            raise AssertionError(f"{error}: {[by_name.get(name) for name in names]}") from None

    def wait_for_pass(self, *, within_s: float = 15.0) -> None:
        """Wait until the agent has completed one more pass; there is one every 10 s at least."""
        target = self.status()["loop"]["passes"] + 1
        wait_until(lambda: self.status()["loop"]["passes"] >= target, "a pass", within_s=within_s, every_s=0.02)

    def metrics(self, *, timeout_s: float = ASK_TIMEOUT_S) -> str:
        """What a scrape from the gateway itself gets; OSError where no more comes for so long."""
        began = time.monotonic()
        scrape = http.client.HTTPConnection("127.0.0.1", METRICS_PORT)
        scrape.sock = socket_in(self._agent.host.netns, socket.AF_INET, socket.SOCK_STREAM)
        scrape.sock.settimeout(timeout_s)
        try:
            scrape.sock.connect(("127.0.0.1", METRICS_PORT))
            scrape.request("GET", "/metrics", headers={"Connection": "close"})
            text = scrape.getresponse().read().decode()
        finally:
            scrape.close()
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        return text

    def reasons(self, name: str, *, after: int = 0) -> list[str]:
        """The reasons that a connection has had, in order, as the log tells; from the log's octet *after* on."""
        log = self._agent.host.log(self._agent.log).read_bytes()[after:].decode(errors="replace")
        events = [json.loads(line) for line in log.splitlines() if line.startswith("{") and line.endswith("}")]
        return [
            str(change["reason"]).rpartition(" -> ")[2]
            for event in events
            for change in event.get("changes", ())
            if name in change["names"]
        ]

    def log_end(self) -> int:
        """The log's length so far in octets, for ``reasons``."""
        return self._agent.host.log(self._agent.log).stat().st_size
