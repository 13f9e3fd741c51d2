"""A model of what one run of the agent has read of charon, and of what the answers to its commands prove."""

from dataclasses import dataclass, field, replace

from swanherd.core import plan as planning
from swanherd.core.facts import CharonConnection, CharonIdentity, Known, LoadedConfig, Unknown, shape
from tests.unit.core.charon import CharonStep, expected, subject
from tests.unit.core.world import World


@dataclass(slots=True)
class Mirror:
    """What one run of the agent has read of charon. Reads lag, unless they are asked for."""

    world: World
    here: dict[str, CharonConnection] = field(default_factory=dict)
    sent: dict[str, str] = field(default_factory=dict)
    """Digests of what this run loaded."""
    versions: dict[str, str] = field(default_factory=dict)
    state: Known[CharonIdentity] | Unknown[CharonIdentity] = field(default_factory=lambda: Unknown(0.0, "not-read"))
    _met: CharonIdentity | None = None

    def view(self, name: str) -> CharonConnection:
        """Everything that bears *name*, as last read."""
        return self.here.get(name, CharonConnection())

    def refresh(self) -> None:
        """Read everything, or learn that it cannot be read."""
        charon = self.world.charon
        if charon is None:
            self._become_unknown("gone")
            self._forget()
        elif charon.frozen:
            self._become_unknown("frozen")
        else:
            if self._met != charon.identity:
                self._forget()
                self._met = charon.identity
            if not isinstance(self.state, Known) or self.state.value != charon.identity:
                self.state = Known(charon.identity, self.world.now)
            for name in {*self.here, *charon.configs, *(sa.name for sa in charon.sas.values()), *charon.failures}:
                self.read(name)
            for name in {secret.removeprefix("swanherd-") for secret in charon.secrets} | {
                owner for owner, _ in charon.traps
            }:
                self.read(name)

    def read(self, name: str) -> CharonConnection:
        """Read *name* now."""
        charon = self.world.charon
        assert charon is not None
        loaded = charon.configs.get(name)
        config = None
        if loaded is not None:
            digest = loaded.digest
            if self.sent.get(name) != digest:
                self.sent.pop(name, None)
                digest = f"{shape(digest)}.?"
            config = LoadedConfig(name, digest, loaded.source)
        else:
            self.sent.pop(name, None)
        secret = None
        if f"swanherd-{name}" in charon.secrets:
            secret = self.versions.get(name, "?")
        else:
            self.versions.pop(name, None)
        self.here[name] = CharonConnection(
            config=config,
            secret=secret,
            traps=frozenset(child for owner, child in charon.traps if owner == name),
            sas=tuple(sa.fact for sa in charon.of(name)),
            failure=charon.failures.get(name),
        )
        return self.here[name]

    def sending(self, step: CharonStep) -> None:
        """Until the answer comes, what is loaded may be the old or the new."""
        if isinstance(step, planning.LoadSecret):
            self.versions.pop(subject(step), None)
        elif isinstance(step, planning.Load):
            self.sent.pop(subject(step), None)

    def answered(self, step: CharonStep) -> None:
        """What the answer to *step* proves."""
        name = subject(step)
        here = self.view(name)
        match step:
            case planning.LoadSecret():
                self.versions[name] = step.version
                here = replace(here, secret=step.version)
            case planning.UnloadSecret():
                self.versions.pop(name, None)
                here = replace(here, secret=None)
            case planning.Load():
                config = expected(step.connection, step.source)
                self.sent[name] = config.digest
                here = replace(here, config=config)
            case planning.Unload():
                self.sent.pop(name, None)
                here = replace(here, config=None)
            case planning.Install():
                here = replace(here, traps=here.traps | {step.child.name})
            case planning.Uninstall():
                here = replace(here, traps=here.traps - {step.child})
            case _:
                pass
        self.here[name] = here

    def _become_unknown(self, why: str) -> None:
        if not (isinstance(self.state, Unknown) and self.state.why == why):
            last = self.state.value if isinstance(self.state, Known) else self.state.last
            self.state = Unknown(self.world.now, why, last)

    def _forget(self) -> None:
        self.here.clear()
        self.sent.clear()
        self.versions.clear()
