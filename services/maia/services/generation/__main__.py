"""`python -m maia.services.generation`: the generation server."""

import sys

from maia.services._runtime.program import run_server
from maia.services.generation.hosting import host
from maia.services.generation.settings import GenerationSettings

if __name__ == "__main__":
    sys.exit(run_server("generation", GenerationSettings, host, sys.argv[1:]))
