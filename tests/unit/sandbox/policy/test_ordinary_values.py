"""Builtins, text and attributes by name give under the policy what they give without it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

SNIPPETS = {
    "f-strings": """
x, w = 3.14159, 8
print(f'{x:.2f} {x!r:>{w}} {x=} {"a" + "b"} {{}}')
""",
    "f-string attributes": """
import datetime
d = datetime.date(2020, 1, 2)
print(f'{d.year}-{d:%m}')
""",
    "str.format": """
print('{} {1} {0:>5}'.format(1, 2) if 0 else '{0} {1:>5} {name!r}'.format(1, 2, name='n'))
""",
    "str.format fields": """
class P:
    x = 1
print('{p.x} {d[k]} {l[0]:{w}}'.format(p=P(), d={'k': 2}, l=[3], w=4))
""",
    "str.format unbound": "print(list(map('{}!'.format, 'ab')), str.format('{}', 5), '{a}'.format_map({'a': 1}))",
    "str subclass format": """
class S(str):
    def format(self, x):
        return 'own ' + super().format(x)
print(S('<{}>').format(1))
""",
    "attribute named format": """
class F:
    format = 'abc'.upper
    format_map = 3
print(F().format(), F.format_map)
""",
    "percent and join": "print('%s %05.1f' % ('a', 2), '-'.join(map(str, range(3))))",
    "string.Template": """
import string
print(string.Template('$a ${b}').substitute(a=1, b=2), string.ascii_lowercase)
""",
    "string.Formatter": """
import string
print(string.Formatter().format('{0.real} {1[0]} {a:>3}', 5, [6], a=7))
""",
    "getattr and friends": """
class A:
    pass
a = A()
setattr(a, 'x', 1)
print(getattr(a, 'x'), getattr(a, 'y', None), hasattr(a, 'x'), callable(A))
delattr(a, 'x')
try:
    getattr(a, 'x')
except AttributeError as e:
    print(e)
print(hasattr([], '__len__'), hasattr(1, '__iter__'), getattr([1], '__len__')())
""",
    "missing attribute": """
try:
    [].nope
except AttributeError as e:
    print(e)
""",
    "builtins on iterables": """
print(sum([1, 2]), any([0, 1]), all([]), min(3, 1), list(map(str, [1])))
print(list(filter(None, [0, 1])), list(reversed([1, 2])), sorted({2, 1}), list(zip('ab', 'cd', strict=True)))
""",
    "builtins on values": """
print(abs(-1), divmod(7, 2), pow(2, 3, 5), round(2.567, 2), chr(65), ord('A'), hex(255), bin(5), oct(8), ascii('é'))
print(complex(1, 2), bytes([1]), bytearray(b'a'), frozenset([1]), slice(1, 2), repr('a'), format(3.14159, '.2f'))
""",
    "builtins on types": """
print(type(1), isinstance(1, (int, str)), issubclass(bool, int), type('X', (), {'a': 1}).a, isinstance(int, type))
print(object() is None, tuple([1]), set('a'), memoryview(b'ab')[0], bool([]))
""",
    "iter with sentinel": """
xs = iter([1, 2, 0, 3])
print(list(iter(lambda: next(xs), 0)), next(iter([]), 'none'), list(range(0, 10, 3)))
""",
    "dir": """
class A:
    x = 1
print([n for n in dir(A()) if not n.startswith('_')])
""",
    "shadowed refused names": """
input = [1, 2]
open, vars = 3, 4
def compile(x):
    return x
print(input[0] + open + vars + compile(5))
def f(input, help=1):
    return input + help
print(f(1))
""",
    "shadowed builtins": """
print_ = print
list = [3]
print_(list)
def getattr(a):
    return a
class A:
    x = 2
print(getattr(4), A.x)
""",
    "numbers": """
print(0x1F, 1_000, 1e3, 3j, 7 // 2, -7 % 3, 2 ** 10, 1 << 4, ~5, 5 & 3, 5 | 3, 5 ^ 3, 0.1 + 0.2)
""",
    "text methods": """
s = ' Ab,c '
print(s.strip().lower().split(','), s.replace('A', 'x'), 'é'.encode(), b'a'.decode())
print('a'.isalpha(), s.find('c'), 'x'.center(5, '*'))
""",
    "set and dict operations": """
a, b = {1, 2}, {2, 3}
print(a & b, a | b, a - b, a ^ b, {'x': 1} | {'y': 2}, list({'a': 1, 'b': 2}.items()))
a.add(5)
a.discard(1)
print(a)
""",
    "docstring attribute of builtins": "print(len.__doc__[:10], [].append.__name__, print.__name__)",
    "exception notes and traceback": """
import traceback
try:
    1 / 0
except ZeroDivisionError as e:
    e.add_note('while testing')
    print(traceback.format_exc().splitlines()[-2:], e.__notes__, e.__traceback__.tb_lineno)
""",
}


@pytest.mark.parametrize("source", SNIPPETS.values(), ids=SNIPPETS.keys())
def test_prints_the_same_as_plain_python(compare: Callable[[str], None], source: str) -> None:
    compare(source)
