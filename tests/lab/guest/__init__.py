"""A virtual machine with Debian's own kernel and the files of the private root: for what needs real XFRM."""

from typing import Final

IN_GUEST: Final = "SWANHERD_LAB_GUEST"
"""In the environment of the command: the machine is ours alone, its clock too."""
