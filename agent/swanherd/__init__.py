"""swanherd: the HA-aware IPsec agent for gateway pairs."""

from typing import Final

__version__: Final = "0.1.0"
