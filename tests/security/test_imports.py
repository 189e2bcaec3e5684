"""Attacks by importing: what the policy does not list, what only the host has, what a guest wrote itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.security.attack import Tier, each, looting
from tests.security.conftest import Attack

from maia.sandbox import Session

pytestmark = pytest.mark.asyncio(loop_scope="session")

TO_OS = {
    "importing os": "import os as reached",
    "importing os from a module that imported it": "from random import _os as reached",
    "importing os from a submodule of NumPy": "from numpy.lib._datasource import os as reached",
    "importing a submodule under another name": "import os.path as found\nreached = found.os",
    "a star import takes what a module imported": "from glob import *\nimport glob\nreached = glob.os",
    "the import function itself": "reached = __import__('os')",
    "the import function with a list of names": "reached = __import__('random', fromlist=['_os'])._os",
    "the import function of the built-ins": "reached = __builtins__.__import__('os')",
    "importlib": "import importlib\nreached = importlib.import_module('os')",
    "importlib's bootstrap": "import importlib._bootstrap as b\nreached = b._gcd_import('os')",
    "a loader of built-in modules": """
        from importlib.machinery import BuiltinImporter, ModuleSpec
        import _imp
        reached = _imp.create_builtin(ModuleSpec('posix', BuiltinImporter))
        reached.__name__ = 'os'
    """,
    "a loader of source files": """
        from importlib.machinery import SourceFileLoader
        reached = SourceFileLoader('os', statistics.__file__.replace('statistics', 'os')).load_module()
    """,
    "pkgutil": "import pkgutil\nreached = pkgutil.resolve_name('os')",
    "runpy": "import runpy\nreached = runpy.os",
    "the table of modules": "import sys\nreached = sys.modules['os']",
    "a module's attribute that is a module": "reached = random._os",
    "an attribute of NumPy that is a module": "reached = np.lib._npyio_impl.os",
    "an attribute of Pillow that is a module": "reached = Image.os",
    "a hook on imports": """
        import sys
        class Finder:
            def find_spec(self, name, path=None, target=None):
                return None
        sys.meta_path.insert(0, Finder())
        import os as reached
    """,
    "a module of the guest's own that replaces an innocent one": """
        import sys, types
        sys.modules['colorsys'] = types.ModuleType('colorsys')
        import os
        sys.modules['colorsys'].reached = os
        from colorsys import reached
    """,
}


@each("code", TO_OS)
async def test_an_import_gets_the_guests_own_module(
    attack: Attack, policy: str, secret: str, open_house: Path, code: str
) -> None:
    async with attack(code + looting(open_house)) as result:
        assert not result.tells(secret)
        assert not (open_house / "planted").exists()
        if policy == "off":
            assert result.output.startswith("reached os\n"), result.message


PLANTED = {
    "a module in the working directory": """
        open('planted.py', 'w').write('print("planted", __import__("os").environ)')
        import sys
        sys.path.insert(0, '.')
        import planted
    """,
    "a package with a relative import": """
        import os, sys
        os.mkdir('pack')
        open('pack/__init__.py', 'w').write('from . import inner')
        open('pack/inner.py', 'w').write('print("planted", __import__("os").environ)')
        sys.path.insert(0, '.')
        import pack
    """,
    "a module in a zip file": """
        import sys, zipfile
        with zipfile.ZipFile('planted.zip', 'w') as archive:
            archive.writestr('zipped.py', 'print("planted", __import__("os").environ)')
        sys.path.insert(0, 'planted.zip')
        import zipped
    """,
    "a line of a .pth file": """
        import os, site
        open('a.pth', 'w').write('import os; print("planted", os.environ)\\n')
        site.addsitedir(os.getcwd())
    """,
    "sitecustomize": """
        open('sitecustomize.py', 'w').write('print("planted", __import__("os").environ)')
        import site, sys
        sys.path.insert(0, '.')
        site.execsitecustomize()
    """,
    "a script that runpy runs": """
        open('script.py', 'w').write('print("planted", __import__("os").environ)')
        import runpy
        runpy.run_path('script.py')
    """,
    "bytecode without a source": """
        import marshal, sys, importlib.util
        code = compile('print("planted", __import__("os").environ)', 'x', 'exec')
        open('compiled.pyc', 'wb').write(importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(code))
        sys.path.insert(0, '.')
        import compiled
    """,
    "text that exec reads from a file": """
        open('text', 'w').write('print("planted", __import__("os").environ)')
        exec(open('text').read())
    """,
}


@each("code", PLANTED)
async def test_a_module_that_a_guest_wrote_runs_in_that_guest_only(
    attack: Attack, honest: Session, policy: str, secret: str, code: str
) -> None:
    async with attack(code, fresh=True) as result:
        assert not result.tells(secret)
        if policy == "off":
            assert "planted" in result.output, result.message
    find = "import sys\nsys.path.insert(0, '.')\ntry:\n    import planted\nfinally:\n    del sys.path[0]"
    after = await honest.run(find)
    assert "No module named 'planted'" in after.message


@pytest.mark.parametrize(
    "module",
    [
        *("maia.orchestrator", "maia.services", "maia.wire.errors", "maia.cli"),
        *("maia.sandbox.host", "maia.sandbox.remote", "maia.sandbox.sandbox", "maia.subject.v1.subject_pb2"),
        *("grpc", "anthropic", "openai", "docker", "torch", "pytest"),
    ],
)
async def test_a_module_that_only_the_host_needs_cannot_be_imported(attack: Attack, policy: str, module: str) -> None:
    async with attack(f"import {module}\nprint('found')") as result:
        assert "found" not in result.output
        if policy == "off":
            assert "ModuleNotFoundError" in result.message or "PermissionError" in result.message, result.message


POISONS = {
    "the source of a module": "path = statistics.__file__\nopen(path, 'a').write('#')",
    "the bytecode of a module": "path = statistics.__cached__\nopen(path, 'wb').write(b'')",
    "the bytecode of a module, by py_compile": """
        import py_compile
        py_compile.compile(statistics.__file__, doraise=True)
    """,
    "the bytecode of a module that has none yet": """
        import importlib.util, os
        path = importlib.util.cache_from_source(statistics.__file__, optimization='1')
        open(path, 'wb').write(b'x')
    """,
    "a new module beside the standard library's": """
        import os
        path = os.path.dirname(statistics.__file__)
        open(path + '/planted_by_a_guest.py', 'w').write('x')
    """,
    "a new module beside NumPy's": """
        import os
        path = os.path.dirname(np.__file__)
        open(path + '/planted_by_a_guest.py', 'w').write('x')
    """,
    "a .pth file beside the packages": """
        import os
        path = os.path.dirname(os.path.dirname(np.__file__))
        open(path + '/planted_by_a_guest.pth', 'w').write('x')
    """,
    "a shared library in place of NumPy's": """
        import os
        os.rename(np.linalg._umath_linalg.__file__, 'x')
    """,
    "the guest's own runner": """
        import maia.sandbox.guest.runner as runner
        open(runner.__file__, 'a').write('#')
    """,
}


@each("code", POISONS)
async def test_what_all_guests_import_cannot_be_changed(attack: Attack, code: str) -> None:
    import statistics

    import maia.sandbox.guest.runner

    files = [Path(module.__file__ or "") for module in (statistics, np, maia.sandbox.guest.runner)]
    watched = [path for file in files for path in (file, file.parent, file.parent.parent)]
    before = [(path.stat().st_mtime_ns, path.stat().st_size) for path in watched]
    async with attack(code) as result:
        assert result.status in ("exception", "policy"), result.output
        assert [(path.stat().st_mtime_ns, path.stat().st_size) for path in watched] == before
    assert not [found for path in watched if path.is_dir() for found in path.glob("planted_by_a_guest*")]


async def test_a_library_that_a_guest_wrote_gives_it_no_more_than_machine_code_does(
    attack: Attack, policy: str, tier: Tier, secret: str
) -> None:
    """Jails and Docker mount /tmp noexec. Elsewhere it loads, and is as confined as all that the guest runs."""
    code = """
import ctypes, os
open('a.so', 'wb').write(open(np.linalg._umath_linalg.__file__, 'rb').read())
ctypes.CDLL('./a.so')
print('loaded', os.environ)
"""
    async with attack(code) as result:
        assert not result.tells(secret)
        noexec = tier.own_names and not tier.own_kernel
        assert "loaded" not in result.output or not noexec
        if policy == "off" and noexec:
            assert "failed to map segment" in result.message
