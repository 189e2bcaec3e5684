"""`python -m maia.services.subject`: the subject server."""

import sys

from maia.services._runtime.program import run_server
from maia.services.subject.hosting import host
from maia.services.subject.settings import SubjectSettings

if __name__ == "__main__":
    sys.exit(run_server("subject", SubjectSettings, host, sys.argv[1:]))
