# ruff: noqa: N802, N815  methods are found by the names of the syntax nodes
"""The rules that need only the text, and the rewriting of `a.b` into a guarded call.

RestrictedPython's transformer gives the frame: every kind of syntax needs a method that lets it pass, so that a future
Python's additions are refused until someone has looked at them. Its rewriting of item access, iteration, unpacking,
augmented assignment, calls with stars, class statements and `print` is left out: those guards would let everything
pass here, and without them the code runs faster and its tracebacks are the author's own.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from RestrictedPython.transformer import RestrictingNodeTransformer

from maia.sandbox.guest.policy.guards import READ, WRITE
from maia.sandbox.guest.policy.names import attribute_refusal, is_dunder, variable_refusal
from maia.sandbox.guest.policy.violation import PolicyViolation

if TYPE_CHECKING:
    from collections.abc import Iterable

_Node = TypeVar("_Node", bound=ast.AST)
_Function = TypeVar("_Function", bound=ast.FunctionDef | ast.Lambda)
_Named = TypeVar("_Named", bound=ast.ExceptHandler | ast.MatchAs | ast.MatchStar)
_Scope = TypeVar("_Scope", bound=ast.Global | ast.Nonlocal)
_Import = TypeVar("_Import", bound=ast.Import | ast.ImportFrom)

_LEAVES = frozenset(
    {
        *(ast.Load, ast.Store, ast.Del, ast.Constant, ast.Pass, ast.Break, ast.Continue),
        *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.MatMult),
        *(ast.LShift, ast.RShift, ast.BitOr, ast.BitXor, ast.BitAnd),
        *(ast.And, ast.Or, ast.Not, ast.Invert, ast.UAdd, ast.USub),
        *(ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Is, ast.IsNot, ast.In, ast.NotIn),
    }
)
"""Nodes without anything to check inside: half of a tree, skipped for speed."""

_ASYNC = "async code is not available: write an ordinary function; a tool returns its result directly"
_CLASS_PATTERN = (
    "class patterns with fields are not available: write `case Point() as p if p.x == 0:`, "
    "or test with isinstance() and compare the attributes"
)
_EXCEPT_STAR = "`except*` is not available: write `except ExceptionGroup as group:` and look at group.exceptions"


class BlockTransformer(RestrictingNodeTransformer):
    """Checks one block's tree and rewrites it in place; `visit` raises `PolicyViolation` at the first refusal."""

    def __init__(self, filename: str) -> None:
        super().__init__()
        self._filename = filename
        self._classes: list[str] = []
        self._annotations_are_text = False

    # The frame

    def error(self, node: ast.AST, info: str) -> NoReturn:
        """Refuse a node."""
        raise PolicyViolation(info, getattr(node, "lineno", None), self._filename)

    def not_allowed(self, node: ast.AST) -> NoReturn:
        """Refuse a kind of syntax that has no method here."""
        self.error(node, f"{type(node).__name__} syntax is not available: write it in plainer Python")

    def node_contents_visit(self, node: _Node) -> _Node:
        """Visit what lies inside a node, in the order of the source."""
        for field in node._fields:
            value = getattr(node, field, None)
            if isinstance(value, list):
                for index, item in enumerate(value):
                    if isinstance(item, ast.AST) and type(item) not in _LEAVES:
                        value[index] = getattr(self, f"visit_{type(item).__name__}", self.generic_visit)(item)
            elif isinstance(value, ast.AST) and type(value) not in _LEAVES:
                setattr(node, field, getattr(self, f"visit_{type(value).__name__}", self.generic_visit)(value))
        return node

    def visit_Module(self, node: ast.Module) -> ast.Module:
        """A block."""
        self._annotations_are_text = any(
            isinstance(statement, ast.ImportFrom)
            and statement.module == "__future__"
            and any(alias.name == "annotations" for alias in statement.names)
            for statement in node.body
        )
        return self.node_contents_visit(node)

    # Names

    def _check_names(self, node: ast.AST, names: Iterable[str | None]) -> None:
        for name in names:
            refusal = variable_refusal(name) if name else None
            if refusal is not None:
                self.error(node, refusal)

    def visit_Name(self, node: ast.Name) -> ast.Name:
        """A variable, read or bound."""
        if node.id.startswith("__"):
            self._check_names(node, [node.id])
        return node

    def _visit_named(self, node: _Named) -> _Named:
        """A node that binds a name."""
        self._check_names(node, [node.name])
        return self.node_contents_visit(node)

    def _visit_scope(self, node: _Scope) -> _Scope:
        """`global` and `nonlocal`."""
        self._check_names(node, node.names)
        return node

    def _visit_import(self, node: _Import) -> _Import:
        """The names that an import binds; which modules there are is decided when it runs."""
        for alias in node.names:
            self._check_names(node, [*alias.name.split("."), alias.asname])
        return node

    visit_ExceptHandler = _visit_named
    visit_Global = _visit_scope
    visit_Nonlocal = _visit_scope
    visit_Import = _visit_import
    visit_ImportFrom = _visit_import

    # Attributes

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        """`a.b` becomes a call of the session's getattr; stores stay as they are, but for the name."""
        refusal = attribute_refusal(node.attr)
        if refusal is not None:
            self.error(node, refusal)
        node.value = self.visit(node.value)
        if isinstance(node.ctx, ast.Load):
            return self._guard(READ, node, node.value, ast.Constant(self._mangled(node.attr)))
        if is_dunder(node.attr):
            node.value = self._guard(WRITE, node.value, node.value)
        return node

    def _guard(self, name: str, place: ast.expr, *args: ast.expr) -> ast.Call:
        call = ast.Call(ast.copy_location(ast.Name(name, ast.Load()), place), list(args), [])
        for arg in args:
            if not hasattr(arg, "lineno"):
                ast.copy_location(arg, place)
        return ast.copy_location(call, place)

    def _mangled(self, attribute: str) -> str:
        """The name that the compiler would give to `self.__private` in a class: it does not look into strings."""
        if not self._classes or not attribute.startswith("__") or attribute.endswith("__"):
            return attribute
        owner = self._classes[-1].lstrip("_")
        return f"_{owner}{attribute}" if owner else attribute

    # Functions and classes

    def _visit_function(self, node: _Function) -> _Function:
        """`def` and `lambda`: the names of the parameters, then the inside."""
        arguments = node.args
        parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        if arguments.vararg:
            parameters.append(arguments.vararg)
        if arguments.kwarg:
            parameters.append(arguments.kwarg)
        self._check_names(node, [parameter.arg for parameter in parameters])
        return self.node_contents_visit(node)

    visit_Lambda = _visit_function

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        """A function; in a class body any special method may be defined."""
        self._check_names(node, [node.name])
        if self._annotations_are_text and node.returns is not None:
            returns, node.returns = node.returns, None
            self._check_text(returns)
            node = self._visit_function(node)
            node.returns = returns
            return node
        return self._visit_function(node)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        """A parameter and its annotation."""
        if node.annotation is not None:
            node.annotation = self._annotation(node.annotation)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AnnAssign:
        """`x: int = 1`, on names, attributes and items."""
        node.target = self.visit(node.target)
        node.annotation = self._annotation(node.annotation)
        if node.value is not None:
            node.value = self.visit(node.value)
        return node

    def _annotation(self, node: ast.expr) -> ast.expr:
        if self._annotations_are_text:
            self._check_text(node)
            return node
        rewritten: ast.expr = self.visit(node)
        return rewritten

    def _check_text(self, node: ast.expr) -> None:
        """Check an expression that must keep its form."""
        for part in ast.walk(node):
            if isinstance(part, ast.Attribute):
                refusal = attribute_refusal(part.attr)
                if refusal is not None:
                    self.error(part, refusal)
            elif isinstance(part, ast.Name):
                self.visit_Name(part)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        """A class, with whatever keywords and decorators it has."""
        self._check_names(node, [node.name])
        outside: list[list[Any]] = [node.bases, node.keywords, node.decorator_list, getattr(node, "type_params", [])]
        for field in outside:
            for index, item in enumerate(field):
                field[index] = self.visit(item)
        self._classes.append(node.name)
        node.body = [self.visit(statement) for statement in node.body]
        self._classes.pop()
        return node

    # What passes as it is, and what does not

    # Some of these the base class lets pass as well; by way of its method each level of nesting would cost two frames.
    visit_If = node_contents_visit
    visit_Try = node_contents_visit
    visit_BinOp = node_contents_visit
    visit_BoolOp = node_contents_visit
    visit_UnaryOp = node_contents_visit
    visit_Compare = node_contents_visit
    visit_List = node_contents_visit
    visit_Tuple = node_contents_visit
    visit_Dict = node_contents_visit
    visit_Expr = node_contents_visit
    visit_keyword = node_contents_visit
    visit_Subscript = node_contents_visit
    visit_For = node_contents_visit
    visit_Assign = node_contents_visit
    visit_AugAssign = node_contents_visit
    visit_With = node_contents_visit
    visit_Call = node_contents_visit
    visit_NamedExpr = node_contents_visit
    visit_ListComp = node_contents_visit
    visit_SetComp = node_contents_visit
    visit_DictComp = node_contents_visit
    visit_GeneratorExp = node_contents_visit
    visit_Match = node_contents_visit
    visit_match_case = node_contents_visit
    visit_MatchSequence = node_contents_visit
    visit_MatchOr = node_contents_visit
    visit_MatchSingleton = node_contents_visit
    visit_MatchAs = _visit_named
    visit_MatchStar = _visit_named
    visit_TypeAlias = node_contents_visit  # Python 3.12: `type Pair = tuple[int, int]` and `def first[T](xs: list[T])`
    visit_TypeVar = _visit_named
    visit_ParamSpec = _visit_named
    visit_TypeVarTuple = _visit_named

    def visit_MatchValue(self, node: ast.MatchValue) -> ast.MatchValue:
        """`case 1` and `case Colour.RED`; the grammar wants a dotted name to stay one."""
        self._check_text(node.value)
        return node

    def visit_MatchMapping(self, node: ast.MatchMapping) -> ast.MatchMapping:
        """`case {"kind": k, **rest}`."""
        self._check_names(node, [node.rest])
        for key in node.keys:
            self._check_text(key)
        node.patterns = [self.visit(pattern) for pattern in node.patterns]
        return node

    def visit_MatchClass(self, node: ast.MatchClass) -> ast.MatchClass:
        """`case int():` is an isinstance test; fields would be read past the guards."""
        if node.patterns or node.kwd_patterns:
            self.error(node, _CLASS_PATTERN)
        self._check_text(node.cls)
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.comprehension:
        """`for x in xs if ...` inside a comprehension."""
        if node.is_async:
            self.error(node.target, _ASYNC)
        return self.node_contents_visit(node)

    def visit_TryStar(self, node: ast.AST) -> NoReturn:
        """Several CPython versions confuse types here."""
        self.error(node, _EXCEPT_STAR)

    def _refuse_async(self, node: ast.AST) -> NoReturn:
        self.error(node, _ASYNC)

    visit_AsyncFunctionDef = _refuse_async
    visit_Await = _refuse_async
    visit_AsyncFor = _refuse_async
    visit_AsyncWith = _refuse_async
