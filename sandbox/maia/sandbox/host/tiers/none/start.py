"""A session's supervisor, started as a program: ``python -m maia.sandbox.host.tiers.none.start CONTROL CHANNEL OUTPUT``."""

from __future__ import annotations

import socket
import sys
import tempfile
from importlib import import_module

from maia.sandbox.confinement.cells import OpenCell


def main() -> None:
    """Warm up and supervise; the arguments are inherited descriptors. Imports by name: this side only launches the other."""
    control, channel, output = (int(number) for number in sys.argv[1:])
    import_module("maia.sandbox.guest.zygote").warm_up(tempfile.gettempdir())
    supervise = import_module("maia.sandbox.guest.supervisor").supervise
    supervise(socket.socket(fileno=control), socket.socket(fileno=channel), output, OpenCell())


if __name__ == "__main__":
    main()
