"""The words of an attack: what it is given, what it leaves, and how a table of attacks becomes named tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Final

import pytest
from tests.security.system_calls import NUMBERS

from maia.sandbox import Limits, Outcome, Session, SessionError
from maia.sandbox.host.tiers.choice import TierName

__all__ = ["LIMITS", "NATIVE", "Result", "Tier", "each", "looting", "once_in_containers"]

LIMITS: Final = Limits(wall_s=3, cpu_s=2, memory_mb=128, output_bytes=20_000, tmp_mb=8, threads=8, open_files=32)
"""What a container must be made with is the same in every attack, so that one pool serves all."""

NATIVE: Final = f"""
import ctypes, errno, mmap, os
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
NUMBERS = {NUMBERS!r}
def wide(argument):
    return ctypes.c_long(argument) if isinstance(argument, int) else argument
def syscall(name, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(wide(NUMBERS.get(name, name)), *map(wide, arguments))
    return result if result != -1 else errno.errorcode[ctypes.get_errno()]
pages = []
def machine_code(code):
    pages.append(mmap.mmap(-1, 4096, prot=7))
    pages[-1].write(bytes.fromhex(code))
    return ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(pages[-1])))
"""
"""Direct system calls and machine code, so that neither the policy nor the C library has a say."""


_LOOTING: Final = """

def take(what):
    try:
        print(what())
    except Exception as error:
        print(type(error).__name__)
print('reached', reached.__name__)
take(lambda: dict(reached.environ))
take(lambda: reached.read(reached.open({file!r}, 0), 99))
take(lambda: reached.listdir({folder!r}))
take(lambda: reached.system('env'))
take(lambda: reached.write(reached.open({folder!r} + '/planted', 65), b'x'))
take(lambda: reached.read(reached.open('/proc/' + str(reached.getppid()) + '/environ', 0), 9999))
"""


@dataclass(frozen=True, slots=True)
class Tier:
    """What is true of one tier and not of every one.

    Attributes:
        name: As `Host` knows it.
        own_names: Whether the host's files and processes are not there at all; else they cannot be opened or reached.
        own_proc: Whether there is a /proc, the session's own.
        bounded_tmp: Whether /tmp is bounded as a whole.
        container: Whether a session is a container: made in advance and slowly, so that several attacks share one as
            long as it lives, and its processes are not this one's children.
        own_kernel: Whether system calls reach a kernel of the tier's own.
    """

    name: TierName
    own_names: bool = True
    own_proc: bool = False
    bounded_tmp: bool = True
    container: bool = False
    own_kernel: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What an attack left: how its block ended, or why its session broke."""

    session: Session
    outcome: Outcome | None
    error: SessionError | None

    @property
    def pid(self) -> int | None:
        return self.session.pid

    @property
    def output(self) -> str:
        return self.outcome.output if self.outcome else ""

    @property
    def message(self) -> str:
        return self.outcome.message if self.outcome else str(self.error)

    @property
    def status(self) -> str:
        return self.outcome.status.value if self.outcome else "broken"

    @property
    def early(self) -> bool:
        """Whether the language policy refused the code before it ran."""
        return self.status == "policy"

    def said(self, output: str) -> bool:
        """Whether the code ran to its end and printed this and nothing else, or never ran."""
        return self.early or (self.status == "ok" and self.output == output)

    def tells(self, secret: str) -> bool:
        """Whether a word of the host came out."""
        return secret in self.output or secret in self.message


def each(argument: str, cases: Mapping[str, object]) -> pytest.MarkDecorator:
    """One test for each attack of a table, named as the table names it. Code may be indented as the table is."""
    values = [dedent(case).strip() if isinstance(case, str) and "\n" in case else case for case in cases.values()]
    return pytest.mark.parametrize(argument, values, ids=list(cases))


once_in_containers = pytest.mark.once_in_containers
"""In containers without the language policy only: it takes long there, and what the policy lets through is less."""


def looting(folder: Path) -> str:
    """Code that takes all that the module `reached`, an `os`, gives of the host, and tries to leave something behind.

    Args:
        folder: Of the host, with the file secret.txt in it.
    """
    return _LOOTING.format(file=str(folder / "secret.txt"), folder=str(folder))
