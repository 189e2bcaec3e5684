"""A session's supervisor as a program; its arguments are inherited descriptors: ``start.py CONTROL CHANNEL OUTPUT``."""

from __future__ import annotations

import socket
import sys
import tempfile
from importlib import import_module

from maia.sandbox.confinement.cells import OpenCell


def main() -> None:
    """Warm up and supervise. Imports by name: this side of the wall only launches what lies on the other."""
    control, channel, output = (int(number) for number in sys.argv[1:])
    import_module("maia.sandbox.guest.zygote").warm_up(tempfile.gettempdir())
    supervise = import_module("maia.sandbox.guest.supervisor").supervise
    supervise(socket.socket(fileno=control), socket.socket(fileno=channel), output, OpenCell())


if __name__ == "__main__":
    main()
