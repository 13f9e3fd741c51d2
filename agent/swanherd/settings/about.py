"""What a field means to people: one source for the JSON Schema, the reference page and the error texts."""

from dataclasses import dataclass

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Metadata of a field of the settings, given as ``Annotated[TYPE, About(...)]``."""

    text: str
    example: str
    """The field as it is written in TOML."""
    unit: str = ""
    default: str = ""
    """Where the default is not a constant: how it comes about."""
    manual: str = ""
    """The term on the Phase 1 page of the firewall product whose users swanherd serves."""
    strongswan: str = ""
    """The key in swanctl.conf."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Carry the text into the JSON Schema, where editors show it."""
        schema = handler(core_schema)
        schema["description"] = self.text + (f" Unit: {self.unit}." if self.unit else "")
        return schema
