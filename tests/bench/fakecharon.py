"""A charon that does nothing: it speaks vici, keeps what it is given, and every handshake succeeds at once.

    python -m tests.bench.fakecharon

So a measurement with ten thousand connections is one of the agent alone: a real charon would need minutes for them.
It lists what it was given as charon 5.9.8 does, and tells of each handshake the lines and events that charon tells.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tests.component.charon.fake import Caller
from tests.lab.charon import VICI

PEER: Final = "203.0.113.20"
_CLASSES: Final = {"psk": "pre-shared key", "pubkey": "public key"}
_LINES: Final = (
    ("IKE", "initiating IKE_SA {name}[{number}] to {peer}"),
    ("ENC", "generating IKE_SA_INIT request 0 [ SA KE No N(NATD_S_IP) N(NATD_D_IP) N(FRAG_SUP) N(HASH_ALG) ]"),
    ("NET", "sending packet: from {source}[500] to {peer}[500] (240 bytes)"),
    ("NET", "received packet: from {peer}[500] to {source}[500] (248 bytes)"),
    ("ENC", "parsed IKE_SA_INIT response 0 [ SA KE No N(NATD_S_IP) N(NATD_D_IP) N(FRAG_SUP) N(HASH_ALG) ]"),
    ("CFG", "selected proposal: IKE:AES_GCM_16_128/PRF_HMAC_SHA2_256/CURVE_25519"),
    ("IKE", "authentication of '{name}' (myself) with pre-shared key"),
    ("IKE", "establishing CHILD_SA {child}{{{number}}}"),
    ("ENC", "generating IKE_AUTH request 1 [ IDi N(INIT_CONTACT) IDr AUTH SA TSi TSr N(MULT_AUTH) N(EAP_ONLY) ]"),
    ("NET", "sending packet: from {source}[4500] to {peer}[4500] (384 bytes)"),
    ("NET", "received packet: from {peer}[4500] to {source}[4500] (224 bytes)"),
    ("ENC", "parsed IKE_AUTH response 1 [ IDr AUTH SA TSi TSr ]"),
    ("IKE", "authentication of '{peer}' with pre-shared key successful"),
    ("IKE", "IKE_SA {name}[{number}] established between {source}[{name}]...{peer}[{peer}]"),
    ("CFG", "selected proposal: ESP:AES_GCM_16_128/NO_EXT_SEQ"),
    ("IKE", "CHILD_SA {child}{{{number}}} established with SPIs c0000001_i c0000002_o and TS a === b"),
)
Message = Mapping[str, Any]


class FakeCharon:
    """What was loaded, and the SAs that came of it."""

    def __init__(self) -> None:
        self._conns: dict[str, Message] = {}
        self._secrets: set[str] = set()
        self._sas: dict[str, dict[str, Any]] = {}
        self._numbers = itertools.count(1)
        self._callers: list[Caller] = []
        self._commands: dict[str, Callable[[Message], Message]] = {
            "version": lambda _: {"daemon": "charon-systemd", "version": "5.9.8"},
            "stats": lambda _: {"ikesas": {"total": str(len(self._sas)), "half-open": "0"}, "plugins": ["openssl"]},
            "get-algorithms": lambda _: {},
            "get-conns": lambda _: {"conns": list(self._conns)},
            "get-shared": lambda _: {"keys": list(self._secrets)},
            "get-keys": lambda _: {"keys": []},
            "load-conn": self._load,
            "unload-conn": self._unload,
            "load-shared": self._load_secret,
            "unload-shared": self._unload_secret,
            "initiate": self._initiate,
            "terminate": self._terminate,
        }

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Somebody connected."""
        caller = Caller(reader, writer)
        self._callers.append(caller)
        await caller.serve(self._handle)
        self._callers.remove(caller)

    async def _handle(self, caller: Caller, command: str, message: dict[str, Any]) -> None:
        listed = {"list-conns": self._listed_conns, "list-sas": self._listed_sas}
        if command in listed:
            for item in listed[command](_text(message.get("ike"))):
                caller.event(command.removesuffix("s"), item)
            caller.reply({"success": "yes"})
        elif command in self._commands:
            caller.reply(dict(self._commands[command](message)) or {"success": "yes"})
        else:
            caller.reply({"success": "yes"})
        if command == "initiate":
            self._tell(_text(message["ike"]))

    # --- commands ---------------------------------------------------------------------------------------------------

    def _load(self, message: Message) -> Message:
        self._conns.update(message)
        return {}

    def _unload(self, message: Message) -> Message:
        known = self._conns.pop(_text(message["name"]), None)
        return {} if known is not None else {"success": "no", "errmsg": "connection not found"}

    def _load_secret(self, message: Message) -> Message:
        self._secrets.add(_text(message["id"]))
        return {}

    def _unload_secret(self, message: Message) -> Message:
        self._secrets.discard(_text(message["id"]))
        return {}

    def _initiate(self, message: Message) -> Message:
        name, child = _text(message["ike"]), _text(message["child"])
        if name not in self._conns:
            return {"success": "no", "errmsg": f"CHILD_SA config '{child}' not found"}
        number = str(next(self._numbers))
        self._sas[name] = {
            "uniqueid": number,
            "state": "ESTABLISHED",
            "initiator": "yes",
            "established": "0",
            "local-host": self._source(name),
            "remote-host": PEER,
            "child-sas": {f"{child}-{number}": {"name": child, "uniqueid": number, "state": "INSTALLED"}},
        }
        return {}

    def _terminate(self, message: Message) -> Message:
        if "ike" in message:
            gone = [_text(message["ike"])]
        else:
            gone = [name for name, sa in self._sas.items() if sa["uniqueid"] == _text(message.get("ike-id"))]
        matched = [name for name in gone if self._sas.pop(name, None) is not None]
        if not matched:
            return {"success": "no", "errmsg": "no matching SAs to terminate found"}
        for name in matched:
            self._event("ike-updown", {name: {"state": "DELETING"}})
        return {"success": "yes", "matches": str(len(matched)), "terminated": str(len(matched))}

    # --- what it tells ----------------------------------------------------------------------------------------------

    def _tell(self, name: str) -> None:
        sa = self._sas.get(name)
        if sa is None:
            return
        (child,) = sa["child-sas"].values()
        words = {
            "name": name,
            "number": sa["uniqueid"],
            "peer": PEER,
            "source": sa["local-host"],
            "child": child["name"],
        }
        for group, line in _LINES:
            self._event(
                "log",
                {
                    "group": group,
                    "level": "1",
                    "thread": "7",
                    "ikesa-name": name,
                    "ikesa-uniqueid": sa["uniqueid"],
                    "msg": line.format(**words),
                },
            )
        self._event("ike-updown", {"up": "yes", name: {**sa, "child-sas": {}}})
        self._event("child-updown", {"up": "yes", name: sa})

    def _event(self, event: str, message: dict[str, Any]) -> None:
        for caller in self._callers:
            if event in caller.events:
                caller.event(event, message)

    def _listed_sas(self, name: str) -> Iterator[dict[str, Any]]:
        for known, sa in list(self._sas.items()):
            if name in {"", known}:
                yield {known: sa}

    def _listed_conns(self, name: str) -> Iterator[dict[str, Any]]:
        for known, loaded in list(self._conns.items()):
            if name in {"", known}:
                yield {known: _as_listed(loaded)}

    def _source(self, name: str) -> str:
        return _text(self._conns[name]["local_addrs"][0])


def _as_listed(loaded: Message) -> dict[str, Any]:
    return {
        "local_addrs": loaded["local_addrs"],
        "remote_addrs": loaded["remote_addrs"],
        "version": f"IKEv{_text(loaded['version'])}",
        "reauth_time": "0",
        "rekey_time": _seconds(loaded["rekey_time"]),
        "unique": "UNIQUE_NO",
        "dpd_delay": _seconds(loaded["dpd_delay"]),
        **{
            f"{side}-1": {"class": _CLASSES[_text(loaded[side]["auth"])], "id": loaded[side]["id"]}
            for side in ("local", "remote")
        },
        "children": {
            child: {
                "mode": _text(asked["mode"]).upper(),
                "rekey_time": _seconds(asked["rekey_time"]),
                "dpd_action": "none",
                "close_action": "none",
                "local-ts": asked["local_ts"],
                "remote-ts": asked["remote_ts"],
            }
            for child, asked in loaded["children"].items()
        },
    }


def _text(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""


def _seconds(value: bytes | str) -> str:
    return _text(value).removesuffix("s")


async def serve() -> None:
    """Until the host ends."""
    server = await asyncio.start_unix_server(FakeCharon().connected, VICI, backlog=64)
    await server.serve_forever()


if __name__ == "__main__":
    Path(VICI).unlink(missing_ok=True)
    asyncio.run(serve())
