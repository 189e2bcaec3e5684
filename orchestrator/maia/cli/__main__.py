"""`python -m maia.cli` is `maia`."""

import sys

from maia.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
