"""Classes print under the policy what they print without it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

SNIPPETS = {
    "augmented attribute": """
class A:
    n = 1
a = A()
a.n += 2
a.n <<= 3
print(a.n, A.n)
""",
    "annotated attribute": """
class A:
    def __init__(self) -> None:
        self.x: int = 1
print(A().x)
""",
    "private attribute": """
class A:
    def __init__(self):
        self._x = 1
    @property
    def x(self):
        return self._x
print(A().x, A()._x)
""",
    "mangled attribute": """
class _A:
    def __init__(self):
        self.__x = 1
    def get(self):
        self.__x += 1
        return self.__x, [self.__x for _ in range(1)]
a = _A()
print(a.get(), sorted(a._A__x.__class__.__name__), a._A__x)
""",
    "mangled method in nested class": """
class A:
    class B:
        def __f(self):
            return 'f'
        def g(self):
            return self.__f()
    def __h(self):
        return 'h'
    def i(self):
        return self.__h() + A.B().g()
print(A().i())
""",
    "iterator class": """
class Count:
    def __init__(self, n):
        self.n = n
    def __iter__(self):
        return self
    def __next__(self):
        if not self.n:
            raise StopIteration
        self.n -= 1
        return self.n
print(list(Count(3)))
""",
    "context manager class": """
class C:
    def __enter__(self):
        print('in')
        return self
    def __exit__(self, kind, value, tb):
        print('out', kind.__name__ if kind else None)
        return True
with C() as c, C():
    1 / 0
print(c.__class__.__name__)
""",
    "decorators": """
import functools
def twice(f):
    @functools.wraps(f)
    def inner(*a, **k):
        return f(*a, **k) * 2
    return inner
@twice
def f(x):
    return x
print(f(2), f.__name__)
""",
    "setting a function's name": """
def f():
    pass
f.__name__ = 'g'
f.__doc__ = 'D'
setattr(f, '__qualname__', 'h')
print(f.__name__, f.__doc__, f.__qualname__)
""",
    "special methods": """
class V:
    def __init__(self, *xs):
        self.xs = list(xs)
    def __repr__(self):
        return f'V{self.xs}'
    def __len__(self):
        return len(self.xs)
    def __getitem__(self, i):
        return self.xs[i]
    def __setitem__(self, i, v):
        self.xs[i] = v
    def __eq__(self, o):
        return self.xs == o.xs
    def __hash__(self):
        return 1
    def __add__(self, o):
        return V(*(a + b for a, b in zip(self, o)))
    __radd__ = __add__
    def __call__(self):
        return sum(self.xs)
    def __contains__(self, x):
        return x in self.xs
    def __bool__(self):
        return True
    def __neg__(self):
        return V(*(-x for x in self.xs))
    def __matmul__(self, o):
        return sum(a * b for a, b in zip(self, o))
v = V(1, 2)
v[0] = 5
v[1] += 1
print(v, len(v), v == V(5, 3), v + v, v(), 5 in v, bool(v), -v, v @ v, v.__len__(), list(v), {v: 1})
""",
    "super and inheritance": """
class A:
    def __init__(self, x):
        self.x = x
    def who(self):
        return 'A'
class B(A):
    def __init__(self, x):
        super().__init__(x)
        A.__init__(self, x + 1)
    def who(self):
        return 'B' + super().who() + super(B, self).who()
b = B(1)
print(b.x, b.who(), isinstance(b, A), issubclass(B, A))
""",
    "property and methods": """
class T:
    def __init__(self):
        self._c = 0
    @property
    def c(self):
        return self._c
    @c.setter
    def c(self, v):
        self._c = v
    @classmethod
    def make(cls, v):
        t = cls()
        t.c = v
        return t
    @staticmethod
    def k():
        return 7
print(T.make(3).c, T.k())
""",
    "slots and class keywords": """
class Base:
    def __init_subclass__(cls, tag=None, **kw):
        super().__init_subclass__(**kw)
        cls.tag = tag
class A(Base, tag='t'):
    __slots__ = ('x',)
a = A()
a.x = 1
print(A.tag, a.x, A.__slots__)
""",
    "__getattr__": """
class D:
    def __init__(self):
        self.data = {'a': 1}
    def __getattr__(self, name):
        try:
            return self.data[name]
        except KeyError:
            raise AttributeError(name) from None
d = D()
print(d.a, getattr(d, 'b', 'none'), hasattr(d, 'b'))
""",
    "metaclass and abc": """
from abc import ABC, ABCMeta, abstractmethod
class A(ABC):
    @abstractmethod
    def f(self): ...
class B(A):
    def f(self):
        return 1
class C(metaclass=ABCMeta):
    pass
try:
    A()
except TypeError:
    print('abstract', B().f(), type(C).__name__)
""",
    "dataclasses": """
from dataclasses import dataclass, field, asdict, replace
@dataclass(order=True)
class P:
    x: int
    y: float = 0.5
    tags: list = field(default_factory=list)
    def __post_init__(self):
        self.tags.append('t')
p = P(1)
print(p, asdict(p), replace(p, x=2).x, p < P(2), P(1) == P(1))
""",
    "frozen dataclass": """
import dataclasses
@dataclasses.dataclass(frozen=True, slots=True)
class P:
    x: int
    def __post_init__(self):
        object.__setattr__(self, 'x', self.x + 1)
try:
    P(1).x = 2
except dataclasses.FrozenInstanceError as e:
    print(P(1), hash(P(1)) == hash(P(1)), e)
""",
    "dataclass with textual annotations": """
from __future__ import annotations
import typing
from dataclasses import dataclass, fields
@dataclass
class P:
    shared: typing.ClassVar[int] = 3
    x: typing.Optional[int] = None
def f(a: typing.List[int]) -> typing.Any:
    return a
print(P(), P.shared, [f.name for f in fields(P)], f.__annotations__)
""",
    "enum": """
from enum import Enum, IntEnum, auto
class C(Enum):
    RED = auto()
    BLUE = auto()
class N(IntEnum):
    ONE = 1
print(C.RED, C['BLUE'].value, list(C), N.ONE + 1, C(1).name, C.__members__.keys())
""",
    "namedtuple": """
from collections import namedtuple
from typing import NamedTuple
P = namedtuple('P', 'x y')
class Q(NamedTuple):
    a: int
    b: str = 'b'
print(P(1, 2)._replace(x=5), P(1, 2)._asdict(), P._fields, Q(1), Q(1).b)
""",
    "typing": """
from typing import Optional, Callable, TypeVar, Generic, Protocol
T = TypeVar('T')
class Box(Generic[T]):
    def __init__(self, x: T) -> None:
        self.x = x
class Has(Protocol):
    x: int
def f(a: Optional[int] = None, *b: 'str', c: Callable[..., int] = len) -> dict[str, int]:
    return {}
print(Box[int](1).x, f(), list(f.__annotations__))
""",
    "class attributes and methods as values": """
class A:
    count = 0
    def __init__(self):
        A.count += 1
        type(self).last = self
A()
A()
m = A().__init__
print(A.count, m.__name__)
""",
}


@pytest.mark.parametrize("source", SNIPPETS.values(), ids=SNIPPETS.keys())
def test_prints_the_same_as_plain_python(compare: Callable[[str], None], source: str) -> None:
    compare(source)
