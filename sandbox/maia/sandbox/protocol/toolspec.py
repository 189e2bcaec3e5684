"""What a guest is told about a tool: its name, its signature, its documentation."""

from __future__ import annotations

import ast
import inspect
import keyword
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["ToolSpec", "check_names"]

_GUEST_NAMES = (("ImageRef", "Image"), ("Namespace", "object"))


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """One function that guest code may call.

    Attributes:
        name: Dotted: "tools.text2image" is `text2image` of an object `tools`; "search" is a plain function.
        signature: As Python writes it, "(prompts: list[str], size: int = 512) -> list[Image]"; defaults are literals.
        doc: What `help()` shows below the signature.

    Raises:
        ValueError: A name or signature that Python would not take; the message says which and why.
    """

    name: str
    signature: str
    doc: str = ""

    def __post_init__(self) -> None:
        check_dotted(self.name)
        try:
            tree = ast.parse(f"def tool{self.signature}: ...")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # the last two for nesting too deep
            raise ValueError(f"tool {self.name}: {self.signature[:200]!r} is no signature") from error
        function = tree.body[0]
        if len(tree.body) != 1 or not isinstance(function, ast.FunctionDef) or len(function.body) != 1:
            raise ValueError(f"tool {self.name}: {self.signature[:200]!r} is more than a signature")
        for default in (*function.args.defaults, *function.args.kw_defaults):
            if default is not None:
                try:
                    ast.literal_eval(default)
                except ValueError as error:
                    text = ast.unparse(default)
                    raise ValueError(f"tool {self.name}: default {text} is no literal; use None instead") from error

    @classmethod
    def of(cls, function: Callable[..., object], name: str | None = None) -> ToolSpec:
        """Describe a typed Python function.

        Args:
            function: Sync or async; every parameter annotated. A type named ImageRef is shown to guests as Image, the
                name by which they know it.
            name: Dotted name in the guest; the function's own by default.

        Raises:
            ValueError: A parameter without annotation, or a default that is no literal.
        """
        name = name or function.__name__
        signature = inspect.signature(function)
        for parameter in signature.parameters.values():
            if parameter.annotation is inspect.Parameter.empty:
                raise ValueError(f"tool {name}: parameter {parameter.name!r} has no type hint")
        return cls(name, _signature_text(signature), inspect.getdoc(function) or "")


def _signature_text(signature: inspect.Signature) -> str:
    """The signature with every annotation as its source text, in the words that guests know."""
    parameters = [p.replace(annotation=_Bare(p.annotation)) for p in signature.parameters.values()]
    if signature.return_annotation is inspect.Signature.empty:
        return str(inspect.Signature(parameters))
    return str(inspect.Signature(parameters, return_annotation=_Bare(signature.return_annotation)))


class _Bare:
    """An annotation that shows as text without quotes."""

    __slots__ = ("_text",)

    def __init__(self, annotation: object) -> None:
        text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
        text = re.sub(r"\b(?:maia|typing|collections)\.(?:\w+\.)*(?=\w)", "", text)
        for ours, theirs in _GUEST_NAMES:
            text = re.sub(rf"\b{ours}\b", theirs, text)
        self._text = text

    def __repr__(self) -> str:
        return self._text


def check_dotted(name: str) -> None:
    """Refuse a name that guest code could not write, or that the protocol keeps for itself.

    Raises:
        ValueError: Parts that are no identifiers, keywords, or begin with an underscore; more than three parts.
    """
    parts = name.split(".")
    for part in parts:
        if not part.isidentifier() or keyword.iskeyword(part) or part.startswith("_"):
            raise ValueError(f"{name!r} is no name for a tool or constant: {part!r} is no public identifier")
    if len(parts) > 3:
        raise ValueError(f"{name!r} has {len(parts)} parts; at most three are allowed")


def check_names(names: Iterable[str]) -> None:
    """Refuse names that clash: given twice, or one that is both a function and an object ("a" and "a.b").

    Raises:
        ValueError: The message names the clash.
    """
    seen: set[str] = set()
    for name in names:
        check_dotted(name)
        if name in seen:
            raise ValueError(f"{name!r} is given twice")
        seen.add(name)
    for name in seen:
        parts = name.split(".")
        for length in range(1, len(parts)):
            prefix = ".".join(parts[:length])
            if prefix in seen:
                raise ValueError(f"{prefix!r} cannot be both a tool or constant and the object that holds {name!r}")
