"""Which names a block may use as attributes and variables, and the sentence for each that it may not.

One leading underscore is ordinary Python (`self._cache`, `_` in a loop, `point._replace(...)`), so it passes everywhere
but on modules, whose private names are mostly other modules. Names with two underscores on both sides are refused
unless listed: the listed ones are the data model's methods, which classes define and call through `super()`, and plain
descriptions of a thing such as `__name__`.
"""

from __future__ import annotations

from RestrictedPython.transformer import INSPECT_ATTRIBUTES

_OPERATORS = "add sub mul matmul truediv floordiv mod divmod pow lshift rshift and xor or"
_METHODS = """
    init new post_init init_subclass set_name class_getitem
    repr str bytes format hash bool int float complex index round trunc floor ceil neg pos abs invert
    lt le eq ne gt ge len length_hint getitem setitem delitem missing contains iter next reversed
    call enter exit getattr setattr delattr get set delete dir copy deepcopy
    del sizeof getstate setstate fspath array array_ufunc instancecheck subclasscheck
"""
_DESCRIPTIONS = """
    name qualname doc module class version author all slots match_args annotations members dataclass_fields
    notes cause context suppress_context traceback wrapped abstractmethods array_priority debug
"""

ALLOWED_DUNDERS = frozenset(
    f"__{name}__"
    for name in (
        *_METHODS.split(),
        *_DESCRIPTIONS.split(),
        *(prefix + operator for prefix in ("", "r", "i") for operator in _OPERATORS.split()),
    )
)
"""Names with two underscores on both sides that a block may read, write and bind."""

_FRAMES = 'the insides of frames, generators and code objects ("{name}") are out of reach; '
_CLASS_TREE = '"{name}" walks the class tree, which is out of reach; use isinstance() or issubclass()'
_FUNCTION = '"{name}" opens up a function, which is out of reach; pass what you need as an argument'
_HINTS = {
    "__dict__": '"__dict__" is out of reach; read attributes by name with getattr(), '
    "or make the class a dataclass and use dataclasses.asdict()",
    "__bases__": _CLASS_TREE,
    "__base__": _CLASS_TREE,
    "__mro__": _CLASS_TREE,
    "__subclasses__": _CLASS_TREE,
    "__globals__": _FUNCTION,
    "__code__": _FUNCTION,
    "__closure__": _FUNCTION,
    "__func__": _FUNCTION,
    "__self__": _FUNCTION,
    "__builtins__": '"__builtins__" is out of reach; the built-in functions are there under their own names',
    "__import__": '"__import__" is out of reach; write an import statement',
    "__loader__": '"__loader__" is out of reach; write an import statement',
    "__spec__": '"__spec__" is out of reach; write an import statement',
    "__file__": '"__file__" does not exist: a block is not a file',
    "__getattribute__": '"__getattribute__" is out of reach; use getattr()',
    "__reduce__": '"__reduce__" is out of reach; use copy.copy() or copy.deepcopy()',
    "__reduce_ex__": '"__reduce_ex__" is out of reach; use copy.copy() or copy.deepcopy()',
}


def is_dunder(name: str) -> bool:
    """Whether a name has two underscores on both sides."""
    return name.startswith("__") and name.endswith("__") and len(name) > 4


def attribute_refusal(name: str) -> str | None:
    """The sentence that refuses an attribute of this name on any object, or None where it may be used."""
    if name in INSPECT_ATTRIBUTES:
        return _FRAMES.format(name=name) + "use the traceback module to describe an error"
    return variable_refusal(name)


def variable_refusal(name: str) -> str | None:
    """The sentence that refuses a variable of this name, or None where it may be used."""
    if not is_dunder(name) or name in ALLOWED_DUNDERS:
        return None
    hint = _HINTS.get(name)
    if hint is not None:
        return hint.format(name=name)
    return f'"{name}" is out of reach; use the operator or built-in function that stands for it'
