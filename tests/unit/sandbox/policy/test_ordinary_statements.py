"""Statements and functions print under the policy what they print without it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

SNIPPETS = {
    "augmented item": """
x = [1, 2]
x[0] += 5
x[-1] *= 3
print(x)
""",
    "augmented dict item": """
d = {}
for w in 'a b a'.split():
    d.setdefault(w, 0)
    d[w] += 1
print(d)
""",
    "augmented slice": """
x = [1, 2, 3]
x[1:] += [4]
print(x)
""",
    "augmented operators": """
x = 7
x //= 2; x **= 3; x %= 20; x |= 8; x ^= 1; x &= 31; x >>= 1
print(x)
""",
    "augmented list keeps identity": """
x = y = [1]
x += [2]
print(x is y, y)
""",
    "annotated assignment": """
x: int = 3
y: list[int]
class A:
    z: 'int' = 4
print(x, A.z, __annotations__)
""",
    "nonlocal": """
def counter():
    n = 0
    def up():
        nonlocal n
        n += 1
        return n
    return up
up = counter()
up()
print(up())
""",
    "global": """
n = 0
def up():
    global n
    n += 1
up()
up()
print(n)
""",
    "match literals": """
def f(x):
    match x:
        case 1 | 2:
            return 'few'
        case -1:
            return 'minus'
        case 'a':
            return 'text'
        case None:
            return 'none'
        case _:
            return 'many'
print([f(x) for x in (1, 2, -1, 'a', None, 9)])
""",
    "match sequences": """
match [1, [2, 3], 4, 5]:
    case [a, [b, *_], *rest] if a < b:
        print(a, b, rest)
""",
    "match mapping": """
match {'kind': 'circle', 'r': 2, 'x': 0}:
    case {'kind': 'circle', 'r': r, **rest}:
        print(r, rest)
""",
    "match dotted value": """
import enum
class C(enum.Enum):
    RED = 1
    BLUE = 2
match C.BLUE:
    case C.RED:
        print('red')
    case C.BLUE as c:
        print(c)
""",
    "match bare class": """
for x in (1, 'a', [2]):
    match x:
        case int():
            print('int')
        case str() as s:
            print('str', s)
        case [int() as n]:
            print('list of', n)
""",
    "star arguments": """
def f(a, /, b, *args, c=0, **kw):
    return a, b, args, c, kw
print(f(*[1, 2, 3], **{'c': 4, 'd': 5}))
""",
    "keyword only": """
def f(*, a, b=2):
    return a + b
print(f(a=1), f(**dict(a=1, b=5)))
""",
    "star unpacking": """
a, *b, c = range(5)
(d, (e, f)), g = (1, (2, 3)), 4
[h, i] = 'xy'
print(a, b, c, d, e, f, g, h, i)
""",
    "unpacking in displays": """
a = [1, 2]
print([0, *a], {*a, 3}, {**{'x': 1}, 'y': 2}, (*a,))
""",
    "chained assignment": """
a = b, c = [1, 2]
print(a, b, c)
x = y = 0
x, y = y, x + 1
print(x, y)
""",
    "loop over pairs": """
for i, (a, b) in enumerate(zip('ab', [1, 2])):
    print(i, a, b)
else:
    print('end')
""",
    "while else": """
n = 3
while n:
    n -= 1
    if n == 1:
        continue
else:
    print('done', n)
""",
    "comprehensions": """
print([x * y for x in range(3) for y in range(3) if x != y], {k: v for k, v in [(1, 2)]}, {c for c in 'aa'})
""",
    "nested comprehension": """
m = [[1, 2], [3, 4]]
print([[row[i] for row in m] for i in range(2)], sum(x for r in m for x in r))
""",
    "walrus": """
if (n := len('abc')) > 2:
    print(n)
print([y for x in range(5) if (y := x * x) > 3], y)
""",
    "lambda and sort": """
print(sorted(['bb', 'a'], key=lambda s: (len(s), s)), max({'a': 1, 'b': 2}.items(), key=lambda kv: kv[1]))
""",
    "conditional and chain": """
x = 5
print('in' if 0 < x <= 5 else 'out', not x, x and 3, None or 'd', x is not None)
""",
    "underscore names": """
_ = 3
_private = 4
__odd = 5
for _ in range(2):
    pass
_tmp0, _tmp1 = 1, 2
print(_, _private, __odd, _tmp0, _tmp1)
""",
    "underscore parameters": """
def _f(_a, *_b, **_c):
    return _a, _b, _c
print(_f(1, 2, x=3))
""",
    "__name__": """
print(__name__)
if __name__ == '__main__':
    print('main')
""",
    "names of things": """
class A:
    '''Doc.'''
def f():
    '''F.'''
print(A.__name__, A().__class__.__name__, f.__name__, f.__doc__, A.__doc__, type(1).__qualname__)
""",
    "print in function": r"""
def f(x):
    print('x is', x, sep='=', end='.\n')
    return x
print(f(1))
""",
    "try": """
def f(x):
    try:
        return 1 / x
    except ZeroDivisionError as e:
        print('caught', e)
    except (TypeError, ValueError):
        print('type')
    else:
        print('else')
    finally:
        print('finally')
f(0)
f('a')
f(1)
""",
    "raise from": """
class MyError(ValueError):
    pass
try:
    try:
        {}['k']
    except KeyError as e:
        raise MyError('no') from e
except MyError as e:
    print(repr(e), repr(e.__cause__), e.args, type(e).__name__)
""",
    "exception groups": """
try:
    raise ExceptionGroup('g', [ValueError(1), KeyError(2)])
except ExceptionGroup as g:
    print(g.exceptions)
""",
    "assert and del": """
x = [1, 2, 3]
del x[0]
y = 1
del y
class A:
    pass
a = A()
a.b = 1
del a.b
print(x, hasattr(a, 'b'))
try:
    assert not x, 'full'
except AssertionError as e:
    print(e)
""",
    "generator": """
def g(n):
    for i in range(n):
        got = yield i
        if got:
            print('got', got)
    return 'end'
def h():
    r = yield from g(2)
    yield r
x = h()
print(next(x), x.send('hi'), list(x))
""",
    "context manager unpacking": """
from contextlib import contextmanager
@contextmanager
def pair():
    yield 1, (2, 3)
with pair() as (a, (b, c)):
    print(a, b, c)
""",
    "slices": """
x = list(range(10))
print(x[2:5], x[::-2], x[-3:])
x[1:3] = []
del x[::3]
print(x, 'abc'[1:])
""",
    "closures in loops": """
fs = [lambda i=i: i for i in range(3)]
print([f() for f in fs])
""",
    "recursion": """
def fib(n, memo={}):
    if n < 2:
        return n
    if n not in memo:
        memo[n] = fib(n - 1) + fib(n - 2)
    return memo[n]
print(fib(60))
""",
    "semicolons and docstring": """
'''About this block.'''
x = 1; y = 2; print(x + y)
1 + 1
...
""",
    "fallback for a missing module": """
try:
    import torch_that_is_not_here
except ImportError:
    print('no torch')
""",
}


@pytest.mark.parametrize("source", SNIPPETS.values(), ids=SNIPPETS.keys())
def test_prints_the_same_as_plain_python(compare: Callable[[str], None], source: str) -> None:
    compare(source)


def test_blocks_share_their_variables(run: Callable[..., str]) -> None:
    printed = run(
        "import math\nxs = [1]\ndef f():\n    return xs, g()",
        "xs.append(2)\ndef g():\n    return math.pi > 3",
        "print(f())",
    )
    assert printed == "([1, 2], True)\n"


def test_last_expression_is_not_printed(run: Callable[..., str]) -> None:
    assert run("1 + 1\n'text'") == ""


def test_long_sums_and_long_elif_chains_compile(run: Callable[..., str]) -> None:
    chain = "if x == 0:\n    print(0)\n" + "".join(f"elif x == {n}:\n    print({n})\n" for n in range(1, 300))
    assert run("x = 299\n" + chain + "print(" + " + ".join(["1"] * 700) + ")") == "299\n700\n"
