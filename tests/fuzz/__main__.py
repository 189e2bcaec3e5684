"""Fuzz the readers of hostile bytes with atheris: `python -m tests.fuzz frame -max_total_time=300`.

What follows the target's name goes to libFuzzer. New inputs that reach new code are kept in build/fuzz/; an input that
breaks a promise is written to the working directory. It belongs into tests/fuzz/corpus/ together with the fix, so that
every run of the tests repeats it.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
FOUND = Path("build/fuzz")


def main() -> None:
    """Fuzz one target until told to stop, or until it breaks."""
    try:
        atheris = importlib.import_module("atheris")
    except ModuleNotFoundError:
        sys.exit("atheris is not installed: pip install '.[fuzz]' (Linux on x86_64 only)")
    with atheris.instrument_imports(include=["maia.sandbox.protocol", "maia.sandbox.host.channel", "tests.fuzz"]):
        targets = importlib.import_module("tests.fuzz.targets").TARGETS
    if len(sys.argv) < 2 or sys.argv[1] not in targets:
        sys.exit(f"usage: python -m tests.fuzz {{{','.join(targets)}}} [libFuzzer options]")
    name = sys.argv.pop(1)
    kept = FOUND / name
    kept.mkdir(parents=True, exist_ok=True)
    options = ["-max_len=4096", "-timeout=10", "-rss_limit_mb=2048", *sys.argv[1:]]
    atheris.Setup([sys.argv[0], *options, str(kept), str(CORPUS / name)], targets[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
