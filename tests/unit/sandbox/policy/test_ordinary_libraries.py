"""The allowed libraries work under the policy as they do without it."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest

from maia.sandbox.guest.policy import DEFAULT_IMPORTS

SNIPPETS = {
    "numpy arrays": """
import numpy as np
a = np.arange(12, dtype=np.float32).reshape(3, 4)
a[0, 1:3] = 9
a[a > 8] *= 2
a[:, 0] += 1
print(a, a.mean(axis=0), a.T.shape, a @ a.T, np.__version__ > '1', a.__class__.__name__)
""",
    "numpy submodules": """
import numpy as np
import numpy.linalg
from numpy.random import default_rng
r = default_rng(3)
print(r.normal(size=2), np.random.RandomState(1).randint(5), np.linalg.norm([3, 4]), numpy.linalg.det(np.eye(2)))
print(np.fft.rfft([1, 2, 3]).round(3), np.array2string(np.pi * np.ones(2), precision=2))
""",
    "numpy and functions of ours": """
import numpy as np
f = np.vectorize(lambda x: x + 1)
print(f([1, 2]), np.apply_along_axis(sum, 0, np.ones((2, 2))), np.percentile([1, 2, 3], 50), np.unique([1, 1, 2]))
try:
    np.ones(2) @ np.ones(3)
except ValueError as e:
    print(type(e).__name__)
with np.errstate(divide='ignore'):
    print(np.float64(1) / 0)
""",
    "structured and object arrays": """
import numpy as np
a = np.array([('a', 1.5)], dtype=[('name', 'U5'), ('score', float)])
print(a['score'], a.dtype.names, np.rec.array(a).score, np.array([{}, None], dtype=object))
""",
    "pillow": """
from io import BytesIO
from PIL import Image, ImageDraw, ImageFilter
import numpy as np
im = Image.new('RGB', (8, 6), 'red')
ImageDraw.Draw(im).rectangle((1, 1, 3, 3), fill=(0, 255, 0))
b = BytesIO()
im.filter(ImageFilter.BLUR).save(b, format='PNG')
b.seek(0)
back = Image.open(b)
print(back.size, back.mode, back.format, np.asarray(back).mean())
print(im.getpixel((2, 2)), im.crop((0, 0, 2, 2)).resize((4, 4)).size)
""",
    "base64 of a picture": """
import base64, io
from PIL import Image
b = io.BytesIO()
Image.new('L', (2, 2), 7).save(b, 'PNG')
text = base64.b64encode(b.getvalue()).decode('ascii')
print(text[:8], Image.open(io.BytesIO(base64.b64decode(text))).size)
""",
    "matplotlib": """
import matplotlib
matplotlib.use('Agg')
import matplotlib.pyplot as plt
import io
fig, ax = plt.subplots(1, 2, figsize=(3, 2))
ax[0].plot([1, 2], label='a')
ax[0].legend()
ax[1].bar(['x', 'y'], [1, 2], color='tab:blue')
ax[1].set_title('t')
plt.rcParams['font.size'] = 9
fig.tight_layout()
b = io.BytesIO()
plt.savefig(b, format='png')
plt.close(fig)
print(b.getvalue()[:4], len(fig.axes), ax[1].get_title())
""",
    "scipy": """
import scipy
from scipy import ndimage, stats
from scipy.spatial.distance import cdist
labels, n = ndimage.label([[1, 0, 1]])
print(labels, n, round(stats.pearsonr([1, 2, 3], [1, 2, 4])[0], 3))
print(cdist([[0, 0]], [[3, 4]]), scipy.ndimage.sum([1, 2]))
print(scipy.optimize.minimize(lambda x: (x[0] - 1) ** 2, [0.0]).x.round(3))
""",
    "statistics and random": """
import random, statistics
random.seed(4)
r = random.Random(1)
print(random.choice('abc'), random.sample(range(9), 2), r.random())
print(statistics.mean([1, 2]), statistics.stdev([1, 2, 4]))
""",
    "collections": """
import collections
from collections import Counter, OrderedDict, defaultdict, deque
import collections.abc
d = defaultdict(list)
d['a'].append(1)
print(Counter('aab').most_common(1), d, deque([1, 2], maxlen=1))
print(isinstance([], collections.abc.Sequence), OrderedDict(a=1))
class Stack(collections.abc.Sequence):
    def __init__(self, *xs):
        self._xs = xs
    def __getitem__(self, i):
        return self._xs[i]
    def __len__(self):
        return len(self._xs)
print(list(reversed(Stack(1, 2))), collections.ChainMap({'a': 1}, {'b': 2})['b'])
""",
    "itertools and functools": """
import itertools as it
from functools import cached_property, lru_cache, partial, reduce, singledispatch
@lru_cache(maxsize=None)
def f(n):
    return n if n < 2 else f(n - 1) + f(n - 2)
@singledispatch
def kind(x):
    return 'other'
@kind.register
def _(x: int):
    return 'int'
class A:
    @cached_property
    def big(self):
        return 10
print(list(it.product('ab', [1])), reduce(lambda a, b: a * b, [1, 2, 3]), f(30), partial(pow, 2)(3), kind(1), kind(''))
print(A().big, [(k, list(g)) for k, g in it.groupby('aab')], list(it.islice(it.count(), 2)), f.cache_info().hits)
""",
    "operator": """
import operator
from operator import attrgetter, itemgetter, methodcaller
class P:
    def __init__(self, x):
        self.x, self.inner = x, self
ps = [P(2), P(1)]
print([p.x for p in sorted(ps, key=attrgetter('x'))], attrgetter('x', 'inner.x')(ps[0]), itemgetter(1)('ab'))
print(methodcaller('upper')('a'), methodcaller('split', ',')('a,b'), operator.attrgetter('real')(3), operator.add(1, 2))
print(methodcaller('format', 1)('<{}>'))
""",
    "json and csv": """
import csv, io, json
print(json.loads('{"a": [1, null]}'), json.dumps({'b': 1.5, 'a': 'é'}, indent=1, sort_keys=True))
w = io.StringIO()
csv.writer(w).writerow([1, 'a,b'])
print(repr(w.getvalue()), list(csv.DictReader(io.StringIO('x,y\\n1,2'))))
try:
    json.loads('{')
except json.JSONDecodeError as e:
    print(e.pos)
""",
    "regular expressions": r"""
import re
m = re.match(r'(?P<n>\d+)-(\w+)', '12-ab')
print(m.group('n'), m.groups(), re.sub(r'\d', lambda m: m.group() * 2, 'a1'))
print(re.compile('b').pattern, re.findall('a|b', 'cab'))
""",
    "dates": """
import datetime as dt, time, calendar
from datetime import datetime, timedelta, timezone
d = datetime.strptime('2024-02-28', '%Y-%m-%d') + timedelta(days=1)
print(d, d.isoformat(), d.strftime('%d/%m'), dt.date(2024, 1, 1).weekday(), calendar.isleap(2024), timezone.utc)
print(time.strptime('10:30', '%H:%M').tm_hour, time.perf_counter() > 0, time.strftime('%Y', time.gmtime(0)))
""",
    "copy": """
import copy
class A:
    def __init__(self):
        self.xs = [1]
a = A()
b, c = copy.copy(a), copy.deepcopy(a)
a.xs.append(2)
print(b.xs, c.xs, copy.deepcopy({'a': [a.xs]}))
""",
    "numbers": """
import cmath, math
from decimal import Decimal, getcontext
from fractions import Fraction
import numbers
getcontext().prec = 5
print(math.sqrt(2), math.isclose(0.1 + 0.2, 0.3), Decimal(1) / Decimal(3), Fraction(1, 3) + 1, cmath.phase(1j))
print(isinstance(1, numbers.Integral), math.comb(5, 2), math.inf > 1)
""",
    "star import": """
from math import *
from string import *
print(round(sqrt(pi), 3), ascii_lowercase, Formatter().format('{}', 1))
""",
    "hashes and bytes": """
import binascii, hashlib, struct, uuid, zlib
print(hashlib.sha256(b'a').hexdigest()[:8], zlib.crc32(b'a'), zlib.decompress(zlib.compress(b'aa')))
print(struct.pack('<I', 1))
print(binascii.hexlify(b'a'), uuid.UUID(int=5))
""",
    "text": """
import difflib, html, textwrap, unicodedata
from pprint import pformat, pprint
pprint({'a': [1] * 30})
print(textwrap.fill('a bb ccc', 4), textwrap.dedent('  a'), unicodedata.name('é'))
print(html.escape('<'), pformat((1,)))
print(difflib.get_close_matches('appel', ['apple', 'pear']))
""",
    "heap, bisect, array": """
import array, bisect, heapq
h = [3, 1, 2]
heapq.heapify(h)
print(heapq.heappop(h), heapq.nlargest(2, [1, 5, 3]), bisect.bisect([1, 3], 2), array.array('i', [1]))
""",
    "contextlib and io": """
import contextlib, io
@contextlib.contextmanager
def tag(name):
    print('<', name)
    try:
        yield name.upper()
    finally:
        print('>')
with tag('a') as t, contextlib.suppress(ValueError):
    print(t)
    raise ValueError
out = io.StringIO()
with contextlib.redirect_stdout(out):
    print('hidden')
with contextlib.ExitStack() as stack:
    stack.enter_context(tag('b'))
print(out.getvalue())
""",
    "types, colours, graphs": """
import colorsys, types
from graphlib import TopologicalSorter
from types import SimpleNamespace
s = SimpleNamespace(a=1)
s.b = 2
print(s, colorsys.rgb_to_hsv(1, 0, 0), list(TopologicalSorter({'b': ['a']}).static_order()))
print(types.MappingProxyType({1: 2}))
print(isinstance(lambda: 0, types.FunctionType))
""",
    "warnings": """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    warnings.warn('careful')
print([str(w.message) for w in caught])
""",
}


@pytest.mark.parametrize("source", SNIPPETS.values(), ids=SNIPPETS.keys())
def test_prints_the_same_as_plain_python(compare: Callable[[str], None], source: str) -> None:
    compare(source)


@pytest.mark.parametrize("package", sorted(DEFAULT_IMPORTS))
def test_every_allowed_package_is_there(run: Callable[..., str], package: str) -> None:
    with warnings.catch_warnings():  # a library's own deprecations are not the subject
        warnings.simplefilter("ignore", DeprecationWarning)
        assert run(f"import {package}\nprint({package}.__name__)") == f"{package}\n"


def test_a_bound_module_may_be_used_where_it_may_not_be_imported(run: Callable[..., str]) -> None:
    import platform

    assert (
        run("print(callable(p.machine))\ntry:\n    import platform\nexcept ImportError:\n    print('no')", p=platform)
        == "True\nno\n"
    )
