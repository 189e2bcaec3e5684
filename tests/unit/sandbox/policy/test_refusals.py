"""What the policy refuses, and that its sentence says why and what to write instead."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from maia.sandbox.guest.policy import PolicyViolation, compile_block

BY_THE_TEXT = {
    "class tree": ("().__class__.__bases__", "use isinstance"),
    "base": ("int.__base__", "walks the class tree"),
    "mro": ("x = str.__mro__", "walks the class tree"),
    "subclasses": ("object.__subclasses__()", "walks the class tree"),
    "globals of a function": ("def f(): ...\nf.__globals__", "opens up a function"),
    "code of a function": ("(lambda: 0).__code__", "opens up a function"),
    "code assigned": ("def f(): ...\nf.__code__ = 1", "opens up a function"),
    "closure": ("f.__closure__", "opens up a function"),
    "self of a builtin": ("print.__self__", "opens up a function"),
    "func of a method": ("[].append.__func__", "opens up a function"),
    "builtins by name": ("__builtins__", "built-in functions are there"),
    "builtins as an attribute": ("f.__builtins__", "built-in functions are there"),
    "builtins assigned": ("__builtins__ = {}", "built-in functions are there"),
    "import function": ("__import__('os')", "write an import statement"),
    "import function defined": ("def __import__(*a): ...", "write an import statement"),
    "build class": ("__build_class__ = 1", '"__build_class__" is out of reach'),
    "loader": ("print(__loader__)", "write an import statement"),
    "spec": ("import math\nmath.__spec__", "write an import statement"),
    "file": ("print(__file__)", "a block is not a file"),
    "instance dict": ("class A: ...\nA().__dict__", "dataclasses.asdict()"),
    "dict in an f-string": ("print(f'{x.__dict__}')", "dataclasses.asdict()"),
    "reduce": ("(1).__reduce_ex__(4)", "copy.copy()"),
    "getattribute": ("object.__getattribute__(1, 'x')", "use getattr()"),
    "unknown special name": ("x.__weird__", "operator or built-in function"),
    "traceback frame": ("try:\n    1 / 0\nexcept Exception as e:\n    e.__traceback__.tb_frame", "frames, generators"),
    "next traceback": ("tb.tb_next", "use the traceback module"),
    "caller's frame": ("frame.f_back", "out of reach"),
    "frame globals": ("frame.f_globals", "out of reach"),
    "frame locals deleted": ("del frame.f_locals", "out of reach"),
    "generator frame": ("(i for i in 'a').gi_frame", "out of reach"),
    "generator code": ("g.gi_code", "out of reach"),
    "code bytes": ("c.co_code", "out of reach"),
    "coroutine frame": ("c.cr_frame", "out of reach"),
    "augmented special attribute": ("x.__dict__ |= {}", "dataclasses.asdict()"),
    "special attribute of an item": ("x[0].__class__.__mro__[1]", "walks the class tree"),
    "special name as loop variable": ("for __builtins__ in []: ...", "built-in functions are there"),
    "special name as parameter": ("def f(__builtins__): ...", "built-in functions are there"),
    "special name as lambda parameter": ("lambda *__import__: 0", "write an import statement"),
    "special name imported": ("import math as __builtins__", "built-in functions are there"),
    "special name from an import": ("from math import __loader__", "write an import statement"),
    "special name caught": ("try: ...\nexcept Exception as __import__: ...", "write an import statement"),
    "special name global": ("def f():\n    global __builtins__", "built-in functions are there"),
    "special name in a pattern": ("match 1:\n    case __import__: ...", "write an import statement"),
    "special name as rest": ("match {}:\n    case {**__import__}: ...", "write an import statement"),
    "special name by walrus": ("(__builtins__ := 1)", "built-in functions are there"),
    "special name as a class": ("class __import__: ...", "write an import statement"),
    "special attribute in an annotation": ("x: f.__globals__ = 1", "opens up a function"),
    "special attribute in a textual annotation": (
        "from __future__ import annotations\ndef f(a: g.__globals__): ...",
        "opens up a function",
    ),
    "special attribute in a returned annotation": (
        "from __future__ import annotations\ndef f() -> g.__globals__: ...",
        "opens up a function",
    ),
    "special attribute in a pattern": ("match 1:\n    case f.__globals__: ...", "opens up a function"),
    "special attribute in a decorator": ("@f.__globals__\ndef g(): ...", "opens up a function"),
    "special attribute in a base class": ("class A(f.__globals__): ...", "opens up a function"),
    "special attribute in a default": ("def g(x=f.__globals__): ...", "opens up a function"),
    "positional class pattern": ("match p:\n    case Point(0, y): ...", "case Point() as p if"),
    "keyword class pattern": ("match p:\n    case [Point(x=0)]: ...", "case Point() as p if"),
    "async function": ("async def f(): ...", "write an ordinary function"),
    "await": ("await x", "write an ordinary function"),
    "async comprehension": ("[x async for x in y]", "write an ordinary function"),
    "except star": ("try: ...\nexcept* ValueError: ...", "except ExceptionGroup as group"),
}

BY_THE_VALUE = {
    "open": ("open('/etc/passwd')", "use io.BytesIO or io.StringIO"),
    "eval": ("eval('1 + 1')", "write the expression itself"),
    "exec": ("exec('x = 1')", "write the statements themselves"),
    "compile": ("compile('1', 'f', 'eval')", "re.compile()"),
    "input": ("input('?')", "nobody is there to answer"),
    "breakpoint": ("breakpoint()", "print() what you want to see"),
    "help": ("help(len)", "print(thing.__doc__)"),
    "globals": ("globals()['x']", "in a dict"),
    "locals": ("def f():\n    return locals()\nf()", "in a dict"),
    "vars": ("vars(object)", "use dir() for names"),
    "exit": ("exit()", "a block ends where its text ends"),
    "quit": ("quit(1)", "a block ends where its text ends"),
    "passed on": ("list(map(eval, ['1']))", "write the expression itself"),
    "getattr": ("getattr(len, '__self__')", "opens up a function"),
    "getattr with default": ("getattr(1, '__dict__', None)", "dataclasses.asdict()"),
    "getattr of a frame": ("getattr((i for i in 'a'), 'gi_' + 'frame')", "out of reach"),
    "setattr": ("def f(): ...\nsetattr(f, '__code__', 1)", "opens up a function"),
    "delattr": ("class A: ...\ndelattr(A, '__dict__')", "dataclasses.asdict()"),
    "format": ("'{0.__class__.__mro__}'.format(1)", "walks the class tree"),
    "format with keywords": ("'{f.__globals__}'.format(f=lambda: 0)", "opens up a function"),
    "format in a specification": ("'{0:{1.__dict__}}'.format(1, int)", "dataclasses.asdict()"),
    "format of an item": ("'{0[0].gi_frame}'.format([(i for i in 'a')])", "out of reach"),
    "format unbound": ("str.format('{0.__self__}', len)", "opens up a function"),
    "format mapped": ("list(map('{.__self__}'.format, [len]))", "opens up a function"),
    "format_map": ("'{a.__self__}'.format_map({'a': len})", "opens up a function"),
    "format by getattr": ("getattr('{.__self__}', 'format')(len)", "opens up a function"),
    "format of a subclass": ("class S(str): ...\nS('{.__self__}').format(len)", "opens up a function"),
    "format of a base class": (
        "class S(str):\n    def format(self, *a):\n        return super().format(*a)\nS('{.__self__}').format(len)",
        "opens up a function",
    ),
    "Formatter": ("import string\nstring.Formatter().format('{0.__self__}', len)", "opens up a function"),
    "Formatter imported": ("from string import Formatter as F\nF().vformat('{0.__self__}', [len], {})", "opens up"),
    "Formatter by star": ("from string import *\nFormatter().format('{0.__self__}', len)", "opens up"),
    "attrgetter": ("import operator\noperator.attrgetter('x.__globals__')", "opens up a function"),
    "attrgetter imported": ("from operator import attrgetter as a\na('real', '__self__')", "opens up a function"),
    "methodcaller": ("from operator import methodcaller\nmethodcaller('__subclasses__')", "walks the class tree"),
    "methodcaller and format": (
        "from operator import methodcaller\nmethodcaller('format', len)('{0.__self__}')",
        "opens up a function",
    ),
    "io.open": ("import io\nio.open('/etc/passwd')", "use io.BytesIO or io.StringIO"),
    "io.open imported": ("from io import open as o\no('/etc/passwd')", "use io.BytesIO or io.StringIO"),
    "io.FileIO": ("import io\nio.FileIO('/etc/passwd')", "use io.BytesIO or io.StringIO"),
    "code object": ("import types\ntypes.CodeType(0)", "write the code in the block"),
    "module name assigned": ("import math\nmath.__name__ = 'os'", "is fixed"),
    "module name set": ("import math\nsetattr(math, '__name__', 'os')", "is fixed"),
    "module through a module": ("import heapq, warnings\nwarnings.sys", 'the module "sys" is out of reach'),
    "module through getattr": ("import json\ngetattr(json.decoder.scanner.re.enum, 'sys')", '"sys" is out of reach'),
    "module from a module": ("from warnings import sys", 'the module "sys" is out of reach'),
    "module renamed": ("from statistics import sys as math", 'the module "sys" is out of reach'),
    "module through attrgetter": (
        "import warnings\nfrom operator import attrgetter\nattrgetter('sys.modules')(warnings)",
        '"sys" is out of reach',
    ),
    "module in a pattern": (
        """
import warnings
class A:
    def __eq__(self, other):
        return other.modules
match A():
    case warnings.sys: ...
""",
        'the module "sys" is out of reach',
    ),
    "private module attribute": ("import random\nrandom._os", "use its public names"),
    "private name imported": ("from collections import _sys", "use its public names"),
    "private module imported": ("import numpy._core", "use its public names"),
    "relative import": ("from . import x", "import by the full name"),
}

MODULES = (
    "os sys subprocess socket ctypes importlib builtins pickle inspect gc threading multiprocessing shutil pathlib"
)


@pytest.mark.parametrize(("source", "fragment"), BY_THE_TEXT.values(), ids=BY_THE_TEXT.keys())
def test_refused_before_anything_runs(source: str, fragment: str) -> None:
    with pytest.raises(PolicyViolation) as caught:
        compile_block(source, "<block 1>", restricted=True)
    check_sentence(caught.value, fragment)


@pytest.mark.parametrize(("source", "fragment"), BY_THE_VALUE.values(), ids=BY_THE_VALUE.keys())
def test_refused_while_running(run: Callable[..., str], source: str, fragment: str) -> None:
    with pytest.raises(PolicyViolation) as caught:
        run(source)
    check_sentence(caught.value, fragment)


@pytest.mark.parametrize("name", MODULES.split())
@pytest.mark.parametrize("form", ["import {}", "import {} as m", "from {} import x", "from {} import *", "import {}.x"])
def test_import_outside_the_list_names_the_list(run: Callable[..., str], name: str, form: str) -> None:
    with pytest.raises(
        ImportError, match=f'"{name}.*cannot be imported; available are: abc, .*numpy.*zoneinfo'
    ) as caught:
        run(form.format(name))
    assert isinstance(caught.value, PolicyViolation)


def check_sentence(violation: PolicyViolation, fragment: str) -> None:
    assert fragment in violation.message
    assert "\n" not in violation.message
    assert str(violation) == violation.message
    assert violation.line is not None


def test_everything_refused_by_the_text_is_accepted_with_the_policy_off() -> None:
    wrong_anyway = {"await", "async comprehension"}  # outside of an async function no Python takes these
    for name, (source, _) in BY_THE_TEXT.items():
        if name not in wrong_anyway:
            compile_block(source, "<block 1>", restricted=False)


def test_the_line_is_the_one_that_offends(run: Callable[..., str]) -> None:
    with pytest.raises(PolicyViolation) as by_text:
        compile_block("x = 1\n\nprint(\n    x.__dict__\n)", "<block 1>", restricted=True)
    with pytest.raises(PolicyViolation) as by_value:
        run("def f():\n    return 1\n\n\nprint(f(),\n      open('x'))")
    assert by_text.value.line == 4
    assert by_value.value.line == 6


def test_policy_off_is_plain_python(run: Callable[..., str]) -> None:
    source = "import os\nprint(eval('1 + 1'), ().__class__.__mro__[1].__name__, vars() is globals(), os.sep)"
    assert run(source, restricted=False) == "2 object True /\n"
