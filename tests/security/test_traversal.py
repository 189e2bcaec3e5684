"""Attacks through Python's own objects: attributes, frames, closures, code, format strings.

The language policy stops many and not all. Whatever is reached is the guest's own process: each attack that gets to
`os` takes all that it finds, and nothing of that is the host's.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.security.attack import each, looting
from tests.security.conftest import Attack

from maia.sandbox import Tool

pytestmark = pytest.mark.asyncio(loop_scope="session")

TO_OS = {
    "the subclasses of object lead to a class of os": """
        found = [c for c in ().__class__.__base__.__subclasses__() if c.__name__ == '_wrap_close'][0]
        reached = found.__init__.__globals__['sys'].modules['os']
    """,
    "the method resolution order leads to object and down again": """
        found = [c for c in type.mro(type('X', (int,), {}))[-1].__subclasses__() if c.__name__ == '_wrap_close'][0]
        reached = found.close.__globals__['sys'].modules['os']
    """,
    "a running generator leads to the frames that run it": """
        def grab():
            yield walker.gi_frame.f_back
        walker = grab()
        frame = next(walker)
        while frame.f_back:
            frame = frame.f_back
        reached = frame.f_builtins['__import__']('os')
    """,
    "a generator expression leads to the frames that run it": """
        walker = (walker.gi_frame.f_back for _ in [1])
        frame = [*walker][0]
        while frame.f_back:
            frame = frame.f_back
        reached = frame.f_builtins['__import__']('os')
    """,
    "a traceback leads to the frames of the runner": """
        try:
            1 / 0
        except ZeroDivisionError as error:
            frame = error.__traceback__.tb_frame
        while 'maia.sandbox.guest.runner' != frame.f_globals.get('__name__'):
            frame = frame.f_back
        reached = frame.f_globals['sys'].modules['os']
    """,
    "the context of an exception leads to another traceback": """
        try:
            try:
                1 / 0
            finally:
                [][1]
        except IndexError as error:
            frame = error.__context__.__traceback__.tb_frame.f_back
        reached = frame.f_builtins['__import__']('os')
    """,
    "a coroutine leads to the frames that drive it": """
        async def walk():
            return coroutine.cr_frame.f_back
        coroutine = walk()
        try:
            coroutine.send(None)
        except StopIteration as stop:
            frame = stop.value
        reached = frame.f_builtins['__import__']('os')
    """,
    "an asynchronous generator leads to the frames that drive it": """
        async def walk():
            yield walker.ag_frame.f_back
        walker = walk()
        try:
            walker.__anext__().send(None)
        except StopIteration as stop:
            frame = stop.value
        reached = frame.f_builtins['__import__']('os')
    """,
    "sys gives frames to whoever asks": """
        import sys
        frame = sys._getframe()
        while frame.f_back:
            frame = frame.f_back
        reached = frame.f_builtins['__import__']('os')
    """,
    "inspect gives the stack to whoever asks": """
        import inspect
        reached = inspect.stack()[-1].frame.f_builtins['__import__']('os')
    """,
    "a trace function sees the runner work": """
        import sys
        seen = []
        sys.settrace(lambda frame, *_: seen.append(frame))
        (lambda: None)()
        sys.settrace(None)
        frame = seen[0]
        while frame.f_back:
            frame = frame.f_back
        reached = frame.f_builtins['__import__']('os')
    """,
    "the globals of a library's function hold sys": "reached = statistics.mean.__globals__['sys'].modules['os']",
    "the globals of a method hold what its module imported": (
        "reached = statistics.NormalDist.__init__.__globals__['sys'].modules['os']"
    ),
    "a built-in function is bound to the module of built-ins": "reached = print.__self__.__import__('os')",
    "the built-ins are a name in every module": "reached = statistics.__builtins__['__import__']('os')",
    "getattr takes a name that is put together": """
        subclasses = getattr(getattr((), '__cla' + 'ss__').__base__, '__subcla' + 'sses__')()
        found = [c for c in subclasses if c.__name__ == '_wrap_close'][0]
        reached = getattr(found.close, '__glo' + 'bals__')['sys'].modules['os']
    """,
    "operator reads attributes by a dotted name": """
        import operator
        modules = operator.attrgetter('mean.__globals__')(statistics)['sys'].modules
        reached = operator.itemgetter('os')(modules)
    """,
    "operator calls methods by name": """
        import operator
        subclasses = operator.methodcaller('__subclasses__')(object)
        found = [c for c in subclasses if c.__name__ == '_wrap_close'][0]
        reached = operator.attrgetter('close.__globals__')(found)['sys'].modules['os']
    """,
    "a class pattern of match reads attributes": """
        match statistics.mean:
            case object(__globals__={'sys': object(modules={'os': found})}):
                reached = found
    """,
    "a decorator takes its function apart": """
        @lambda function: function.__globals__['__builtins__']
        def found(): pass
        found = found if isinstance(found, dict) else vars(found)
        reached = found['__import__']('os')
    """,
    "a metaclass is called with the namespace of its class": """
        class Meta(type):
            def __init__(cls, name, bases, namespace):
                cls.found = cls.take.__globals__['__builtins__']
        class A(metaclass=Meta):
            def take(self): pass
        found = A.found if isinstance(A.found, dict) else vars(A.found)
        reached = found['__import__']('os')
    """,
    "a subclass hook hands over its class": """
        class A:
            def __init_subclass__(cls):
                cls.found = cls.mro()[-1].__subclasses__()
        class B(A): pass
        reached = [c for c in B.found if c.__name__ == '_wrap_close'][0].close.__globals__['sys'].modules['os']
    """,
    "the class of an object is assigned": """
        class A:
            pass
        class B:
            def take(self):
                return type(self).__base__.__subclasses__()
        a = A()
        a.__class__ = B
        reached = [c for c in a.take() if c.__name__ == '_wrap_close'][0].close.__globals__['sys'].modules['os']
    """,
    "a function is made from code that was compiled elsewhere": """
        code = compile('__import__("os")', '', 'eval').replace(co_name='innocent')
        reached = type(lambda: None)(code, {'__builtins__': print.__self__})()
    """,
    "a function gets the code of another": """
        def found(): pass
        found.__code__ = compile('__import__("os")', '', 'eval')
        reached = found()
    """,
    "text is evaluated": "reached = eval('__import__(\"os\")')",
    "text is executed": "exec('import os as reached')",
    "pickling an object gives a function of copyreg": """
        class A: pass
        found = A().__reduce_ex__(1)[0].__globals__['__builtins__']
        found = found if isinstance(found, dict) else vars(found)
        reached = found['__import__']('os')
    """,
    "a descriptor is fetched from the dictionary of type": """
        found = type.__dict__['__subclasses__'](object)
        reached = [c for c in found if c.__name__ == '_wrap_close'][0].close.__globals__['sys'].modules['os']
    """,
    "the garbage collector lists every dictionary": """
        import gc
        gc.unfreeze()
        reached = [o for o in gc.get_objects() if type(o) is type(math) and o.__name__ == 'os'][0]
    """,
    "the garbage collector knows who refers to the built-ins": """
        import gc
        gc.unfreeze()
        found = [o for o in gc.get_referrers(print) if isinstance(o, dict) and '__import__' in o][0]
        reached = found['__import__']('os')
    """,
    "a module gives away its importer": """
        file = statistics.__file__.replace('statistics', 'os')
        reached = type(statistics.__loader__)('os', file).load_module()
    """,
    "the documentation's finder imports": """
        import pydoc
        reached = pydoc.locate('os')
    """,
    "the session's own help holds its module": "reached = help.__globals__['import_module']('os')",
}


@each("code", TO_OS)
async def test_what_is_reached_is_the_guests_own(
    attack: Attack, policy: str, secret: str, open_house: Path, code: str
) -> None:
    async with attack(code + looting(open_house)) as result:
        assert not result.tells(secret)
        assert not (open_house / "planted").exists()
        assert "secret.txt" not in result.output
        if policy == "off":  # the attack is one: it does get there
            assert result.output.startswith("reached os\n"), result.message


async def test_a_tools_closure_leads_to_the_runner_and_no_further(attack: Attack, policy: str, secret: str) -> None:
    async def search() -> str:
        """Search."""
        return "found"

    code = (
        "cells = [cell.cell_contents for cell in search.__closure__]\n"
        "runner = [cell.__self__ for cell in cells if hasattr(cell, '__self__')][0]\n"
        "print(sorted(vars(runner)))\nglobals_ = type(runner).serve.__globals__\n"
        "print([dict(value.environ) for value in globals_.values() if hasattr(value, 'environ')], search())"
    )
    async with attack(code, tools=[Tool.of(search)]) as result:
        assert not result.tells(secret)
        if policy == "off":
            assert "'_channel'" in result.output
            assert "found" in result.output


async def test_the_runners_own_functions_can_be_replaced_and_the_host_is_not_deceived(attack: Attack) -> None:
    code = (
        "import maia.sandbox.guest.runner as runner\nrunner.exec = lambda *_: None\n"
        "runner._describe = lambda error: (1, 'a lie')\nraise ValueError('truth')"
    )
    async with attack(code, fresh=True) as result:
        assert result.early or (result.status, result.message) == ("ok", "")
        assert result.session.alive or result.early


FORMATS = {
    "str.format reads attributes": "print('{0.mean.__globals__[sys].modules[os].environ}'.format(statistics))",
    "str.format reads attributes of a keyword": "print('{m.mean.__globals__}'.format(m=statistics))",
    "str.format reads attributes in a nested specification": "print('{0:{1.mean.__globals__}}'.format('', statistics))",
    "str.format_map reads attributes": (
        "print('{m.mean.__globals__[sys].modules[os].environ}'.format_map({'m': statistics}))"
    ),
    "the unbound method of str formats": (
        "print(str.format('{0.mean.__globals__[sys].modules[os].environ}', statistics))"
    ),
    "string.Formatter reads attributes": """
        import string
        print(string.Formatter().format('{0.mean.__globals__[sys].modules[os].environ}', statistics))
    """,
    "string.Formatter gets a field": """
        import string
        found = string.Formatter().get_field('0.mean.__globals__[sys].modules[os]', [statistics], {})
        print(found[0].environ)
    """,
    "string.Template looks names up": """
        import string
        print(string.Template('$secret ${MAIA_TEST_SECRET}').safe_substitute(__import__('os').environ))
    """,
    "an f-string reads attributes": 'print(f\'{statistics.mean.__globals__["sys"].modules["os"].environ}\')',
    "an f-string's debug form shows an expression": "print(f'{statistics.mean.__globals__[\"sys\"].modules=}')",
    "a conversion calls repr of the object": """
        class A:
            def __repr__(self):
                return str(statistics.mean.__globals__['sys'].modules['os'].environ)
        print('%r %s' % (A(), A()), '{!r}'.format(A()))
    """,
    "__format__ is the object's own": """
        class A:
            def __format__(self, spec):
                return str(eval(spec))
        print('{:__import__("os").environ}'.format(A()))
    """,
    "NumPy's printing takes a formatter": """
        show = {'int': lambda _: str(statistics.mean.__globals__['sys'].modules['os'].environ)}
        print(np.array2string(np.arange(2), formatter=show))
    """,
    "logging's style formats attributes": """
        import logging
        print(logging.Formatter('{msg.mean.__globals__}', style='{').format(
            logging.makeLogRecord({'msg': statistics})))
    """,
}


@each("code", FORMATS)
async def test_a_format_string_shows_nothing_of_the_host(attack: Attack, secret: str, code: str) -> None:
    async with attack(code) as result:
        assert not result.tells(secret)
        assert result.status in ("ok", "policy", "exception", "output")


CORRUPTIONS = {
    "bytecode that reads beyond its constants": """
        def f(): pass
        f.__code__ = f.__code__.replace(co_code=bytes([151, 0, 144, 255, 100, 255, 83, 0]), co_consts=())
        f()
    """,
    "bytecode that pops from an empty stack": """
        def f(): pass
        f.__code__ = f.__code__.replace(co_code=bytes([151, 0] + [1, 0] * 400 + [83, 0]))
        f()
    """,
    "a reference count that ctypes sets to zero": """
        import ctypes
        ctypes.c_long.from_address(id(None)).value = 0
        x = None
        del x
        [None] * 9
    """,
    "an object's type that ctypes replaces": """
        import ctypes
        x = object()
        ctypes.c_void_p.from_address(id(x) + 8).value = 0x4141414141414141
        str(x)
    """,
    "an array that claims memory that is not its": """
        from numpy.lib.stride_tricks import as_strided
        x = as_strided(np.zeros(1), (1 << 20,), (1 << 20,))
        print(x.sum())
    """,
    "recursion in C without a bound": """
        import sys
        sys.setrecursionlimit(10**9)
        x = []
        for _ in range(10**6):
            x = [x]
        repr(x)
    """,
}


@each("code", CORRUPTIONS)
async def test_a_corrupted_interpreter_harms_only_itself(attack: Attack, secret: str, code: str) -> None:
    async with attack(code, fresh=True) as result:
        assert not result.tells(secret)


async def test_memory_that_the_guest_can_read_holds_no_secret_of_the_host(
    attack: Attack, policy: str, secret: str
) -> None:
    code = """
import re
reading, writing = os.pipe()
found, pages = set(), 0
stack = ctypes.c_void_p.in_dll(libc, 'environ').value
places = [stack, id(object), id(np), id(re), ctypes.cast(libc.getpid, ctypes.c_void_p).value]
for start in places:
    for direction in (1, -1):
        address = start & ~4095
        for _ in range(8000):
            if libc.write(writing, ctypes.c_void_p(address), 4096) != 4096:
                break
            page = os.read(reading, 4096)
            pages += 1
            found.update(re.findall(rb'sesame-[0-9a-f]{16}|MAIA_[A-Z_]{4,}=', page))
            address += direction * 4096
print(pages > 100, found)
"""
    async with attack(code, native=True) as result:
        assert not result.tells(secret)
        assert result.said("True set()\n"), (result.status, result.output, result.message)
