"""The base of all tables, and the types of fields that several tables share."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from swanherd.settings import identities, notation, proposals


class Table(BaseModel):
    """A table of the settings: no unknown key, no silent conversion, never changed after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


def _unique(values: tuple[str, ...]) -> tuple[str, ...]:
    for position, value in enumerate(values):
        if value in values[:position]:
            raise ValueError(f"'{value}' is listed twice")
    return values


# TOML has lists and no tuples: only the outermost type is lax, what is inside stays strict.
_List = Field(strict=False)

Name = Annotated[str, Field(pattern=notation.NAME)]
Names = Annotated[tuple[Name, ...], _List, AfterValidator(_unique)]
Device = Annotated[str, AfterValidator(notation.device)]
Vips = Annotated[tuple[Annotated[str, AfterValidator(notation.vip)], ...], _List, AfterValidator(_unique)]
Addresses = Annotated[tuple[Annotated[str, AfterValidator(notation.address)], ...], _List, AfterValidator(_unique)]
Networks = Annotated[tuple[Annotated[str, AfterValidator(notation.network)], ...], _List, AfterValidator(_unique)]
Evidence = Annotated[
    tuple[Literal["dbus", "fifo", "adverts", "process"], ...],
    Field(strict=False, max_length=4),
    AfterValidator(_unique),
]
Endpoints = Annotated[tuple[Annotated[str, AfterValidator(notation.endpoint)], ...], _List, AfterValidator(_unique)]
Selectors = Annotated[tuple[Annotated[str, AfterValidator(notation.selector)], ...], _List, AfterValidator(_unique)]
IkeProposals = Annotated[tuple[Annotated[str, AfterValidator(proposals.ike)], ...], _List, AfterValidator(_unique)]
ChildProposals = Annotated[tuple[Annotated[str, AfterValidator(proposals.child)], ...], _List, AfterValidator(_unique)]
Paths = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], _List, AfterValidator(_unique)]
Identity = Annotated[str, AfterValidator(identities.identity)]
Chain = Annotated[str, AfterValidator(notation.chain)]
Start = Literal["connect", "on-demand", "responder-only"]
Lifetime = Annotated[int, Field(ge=5, le=2_592_000)]
"""5 s (a test) to 30 days: a key that lives longer than a month is a mistake."""
