"""Reads and commands may cross; the mirror takes nothing from a read that is older than a command."""

from dataclasses import replace
from ipaddress import IPv4Address

from swanherd.core.facts import CharonConnection, IkeSa, LoadedConfig
from swanherd.world.charon.codec import Section
from swanherd.world.charon.mirror import SAME_START_S, Mirror

CONFIG = LoadedConfig("a", "shape.sent", IPv4Address("10.9.0.1"))
SA = IkeSa("a", 1, "ESTABLISHED", None, None, initiator=True, since=100.0)


def test_an_older_read_takes_nothing_back() -> None:
    """A full list that began before a command was answered does not undo what that command proved."""
    mirror = Mirror()
    began = mirror.now
    mirror.touch("a")
    assert mirror.put_sas("a", (SA,))
    mirror.put_traps("a", {"lan"})
    assert not mirror.fresh("a", began)
    assert mirror.put_all_traps({}, began) == frozenset()
    assert mirror.view("a").sas == (SA,)
    assert mirror.fresh("a", mirror.now)
    assert mirror.put_sas("a", ())
    assert mirror.put_all_traps({}, mirror.now) == {"a"}
    assert mirror.view("a") == CharonConnection()


def test_nothing_left_is_no_name() -> None:
    """A name of which nothing is left is no name any more."""
    mirror = Mirror()
    mirror.put_config("a", CONFIG)
    assert set(mirror.here) == {"a"}
    mirror.put_config("a", None)
    assert not mirror.here


def test_only_a_change_is_a_change() -> None:
    """Putting what is there already reports nothing, also when charon's whole seconds jitter."""
    mirror = Mirror()
    assert mirror.put_sas("a", (SA,))
    assert not mirror.put_sas("a", (replace(SA, since=100.0 + SAME_START_S / 2),))
    assert mirror.view("a").sas == (SA,)
    assert mirror.put_sas("a", (replace(SA, since=200.0),))


def test_a_secret_of_unknown_version() -> None:
    """A secret under our id that this run did not load has the version "?", and forgets its version when it goes."""
    mirror = Mirror()
    mirror.put_secret("a", loaded=True)
    assert mirror.view("a").secret == "?"  # noqa: S105 - a version
    mirror.versions["a"] = "v1"
    assert mirror.put_secret("a", loaded=True)
    assert mirror.put_all_secrets(frozenset(), mirror.now) == {"a"}
    mirror.put_secret("a", loaded=True)
    assert mirror.view("a").secret == "?"  # noqa: S105 - the same


def test_unknown_loads_end_what_we_know_of_ours() -> None:
    """What is loaded without our doing has no fingerprint of ours; then nothing else is taken for ours either."""
    mirror = Mirror()
    mirror.sent["a"] = CONFIG.digest
    mirror.put_config("a", replace(CONFIG, digest="other.?"))
    assert mirror.sent == {}


def test_what_is_listed_again_is_not_read_again() -> None:
    """Only another item is read, and the same one again where what is known of the name has changed since.

    Broken by: ``put_config`` that keeps the print of what was listed before; ``put_listed`` that keeps none, or does
    not ask what we have loaded.
    """
    read: list[bytes] = []

    def section_of(name: str, item: bytes) -> Section:
        read.append(item)
        return {"local_addrs": [item.decode()], "remote_addrs": [name], "version": "IKEv2", "children": {}}

    mirror = Mirror()
    one, two = b"10.9.0.1", b"10.9.0.2"
    assert mirror.put_listed("a", one, section_of)
    assert not mirror.put_listed("a", one, section_of)
    assert mirror.put_listed("b", one, section_of)
    assert mirror.put_listed("a", two, section_of)
    assert read == [one, one, two]
    found = mirror.view("a").config
    mirror.put_config("a", CONFIG)
    assert mirror.put_listed("a", two, section_of)
    assert mirror.view("a").config == found
    mirror.put_config("a", None)
    assert mirror.put_listed("a", two, section_of)
    mirror.forget()
    assert mirror.put_listed("a", two, section_of)
    assert read == [one, one, two, two, two, two]
    mirror.sent["a"] = "ours"  # what is listed may be what we have loaded, and no longer when that is not known to be
    mirror.put_listed("a", two, section_of)
    assert read[6:] == [two]


def test_what_we_loaded_was_listed_since() -> None:
    """Only a listing after the load says what charon has made of it, and only while nobody has loaded another.

    Broken by: ``is_listed`` that does not ask for the print, or what is known, or what we loaded last.
    """

    def section_of(_name: str, item: bytes) -> Section:
        return {"local_addrs": [item.decode()], "remote_addrs": ["10.9.0.2"], "version": "IKEv2", "children": {}}

    mirror = Mirror()
    mirror.put_listed("a", b"10.9.0.1", section_of)
    shown = mirror.view("a").config
    assert shown is not None
    ours = replace(shown, digest=shown.digest.replace("?", "sent"))
    mirror.sent["a"] = ours.digest
    mirror.put_config("a", ours)
    assert not mirror.is_listed("a", ours)
    mirror.put_listed("a", b"10.9.0.1", section_of)
    assert mirror.is_listed("a", ours)
    assert not mirror.is_listed("a", replace(ours, digest="another"))
    assert not mirror.is_listed("b", ours)
    mirror.sent.pop("a")
    assert not mirror.is_listed("a", ours)
    mirror.sent["a"] = ours.digest
    mirror.put_listed("a", b"10.9.0.9", section_of)
    assert not mirror.is_listed("a", ours), "charon has made something else of it"
