"""The command ``swanherd``, also as ``python -m swanherd``."""

import sys

from swanherd.cli import main

if __name__ == "__main__":
    sys.exit(main())
