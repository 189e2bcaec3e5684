"""Functions that look like the tools they stand for: their signature, their documentation, their name."""

from __future__ import annotations

import ast
import inspect
from typing import TYPE_CHECKING

from maia.sandbox.guest.images import from_host

if TYPE_CHECKING:
    from collections.abc import Callable

    from maia.sandbox.guest.images import Call

__all__ = ["make_stub"]


class _Hint:
    """A type hint that is only ever read by people."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def make_stub(name: str, signature_text: str, documentation: str, call: Call) -> Callable[..., object]:
    """Make the function that calls a tool.

    Calling it with arguments that do not fit the signature is a TypeError, as for any function.

    Args:
        name: Dotted, as the host knows it.
        signature_text: As in `ToolSpec.signature`.
        documentation: What `help()` shows.
        call: Takes name, arguments and keywords outside.
    """
    signature = _signature(signature_text)
    short = name.rpartition(".")[2]

    def stub(*arguments: object, **keywords: object) -> object:
        try:
            bound = signature.bind(*arguments, **keywords)
        except TypeError as error:
            raise TypeError(f"{name}{signature}: {error}") from None
        return from_host(call(name, bound.args, bound.kwargs), call)

    stub.__name__ = short
    stub.__qualname__ = name
    stub.__module__ = "tools"
    stub.__doc__ = documentation
    vars(stub)["__signature__"] = signature  # where inspect looks for it
    return stub


def _signature(text: str) -> inspect.Signature:
    """Build a signature from its text; hints stay text and defaults are literals, so nothing is evaluated."""
    function = ast.parse(f"def tool{text}: ...").body[0]
    assert isinstance(function, ast.FunctionDef)
    spec = function.args
    kinds = inspect.Parameter
    positional: list[tuple[ast.arg, inspect._ParameterKind]] = [(a, kinds.POSITIONAL_ONLY) for a in spec.posonlyargs]
    positional += [(a, kinds.POSITIONAL_OR_KEYWORD) for a in spec.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(spec.defaults)) + list(spec.defaults)
    parameters = [
        _parameter(argument, kind, default) for (argument, kind), default in zip(positional, defaults, strict=True)
    ]
    if spec.vararg:
        parameters.append(_parameter(spec.vararg, kinds.VAR_POSITIONAL, None))
    parameters += [
        _parameter(argument, kinds.KEYWORD_ONLY, default)
        for argument, default in zip(spec.kwonlyargs, spec.kw_defaults, strict=True)
    ]
    if spec.kwarg:
        parameters.append(_parameter(spec.kwarg, kinds.VAR_KEYWORD, None))
    returns = inspect.Signature.empty if function.returns is None else _Hint(ast.unparse(function.returns))
    return inspect.Signature(parameters, return_annotation=returns)


def _parameter(argument: ast.arg, kind: inspect._ParameterKind, default: ast.expr | None) -> inspect.Parameter:
    return inspect.Parameter(
        argument.arg,
        kind,
        default=inspect.Parameter.empty if default is None else ast.literal_eval(default),
        annotation=inspect.Parameter.empty if argument.annotation is None else _Hint(ast.unparse(argument.annotation)),
    )
