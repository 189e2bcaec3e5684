"""`python -m maia.services.editing`: the editing server."""

import sys

from maia.services._runtime.program import run_server
from maia.services.editing.hosting import host
from maia.services.editing.settings import EditingSettings

if __name__ == "__main__":
    sys.exit(run_server("editing", EditingSettings, host, sys.argv[1:]))
