"""`python -m maia.services.description`: the description server."""

import sys

from maia.services._runtime.program import run_server
from maia.services.description.hosting import host
from maia.services.description.settings import DescriptionSettings

if __name__ == "__main__":
    sys.exit(run_server("description", DescriptionSettings, host, sys.argv[1:]))
