"""Runs a module as `python -m` does, in a process that knows no torchvision: `python -m … MODULE ARGUMENT…`.

Where torchvision is installed beside a torch without CUDA it cannot be imported, and transformers and diffusers, which
import it wherever it is, cannot either. Both sides of a comparison run like this, so that figures are of the same thing
on every machine. It imports nothing: what a program does before it loads torch, such as to choose how torch's threads
wait, takes effect.
"""

from __future__ import annotations

import runpy
import sys


def main() -> None:
    """Run the module named first on the command line with the rest of it."""
    sys.modules["torchvision"] = None  # type: ignore[assignment]  # how Python notes that there is none
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


main()
