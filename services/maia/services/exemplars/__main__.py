"""`python -m maia.services.exemplars`: the exemplars server."""

import sys

from maia.services._runtime.program import run_server
from maia.services.exemplars.hosting import host
from maia.services.exemplars.settings import ExemplarsSettings

if __name__ == "__main__":
    sys.exit(run_server("exemplars", ExemplarsSettings, host, sys.argv[1:]))
