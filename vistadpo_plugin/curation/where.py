"""An expression over a row's fields, in Python's syntax: `kind == "action" and event_seconds > 2`.

The text is parsed by `ast` and walked by us; nothing is compiled or run, and only what stands here has a meaning. A
field that a row lacks is None. What compares, counts or computes with None is unknown, and `and`, `or`, `not` follow
from that as in SQL: a row for which the whole is unknown does not fulfil it, and is told apart from those that fail it.
"""

from __future__ import annotations

import ast
import difflib
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from vistadpo_plugin.curation.entries import Entry
from vistadpo_plugin.data.rows.schema import FIELDS
from vistadpo_plugin.layouts.fields import TO_NATIVE

WHOLE_ROW = "row"
DERIVED = ("event_seconds", "box_area")
"""Seconds that the row's events cover together; square pixels of its largest box. None without an event or a box."""

_ORDER = {ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge}
_SAME = {ast.Eq: operator.eq, ast.NotEq: operator.ne}
_ARITHMETIC = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Mod: operator.mod,
}  # fmt: skip
_SIGNS = {ast.UAdd: operator.pos, ast.USub: operator.neg}


class WhereError(ValueError):
    """What is wrong with an expression, or with a row for it; the message has the expression and marks the place."""


class Where:
    """A parsed expression. Raises WhereError for one that is not understood."""

    def __init__(self, text: str):
        self.text = text.replace("\n", " ").strip()
        if not self.text:
            raise WhereError("--where is empty.")
        try:
            self._tree = ast.parse(self.text, mode="eval").body
            self._check(self._tree)
        except SyntaxError as error:
            raise self._error((error.offset or len(self.text) + 1) - 1, f"not an expression: {error.msg}") from None
        except (ValueError, RecursionError, MemoryError) as error:
            if isinstance(error, WhereError):
                raise
            raise WhereError(f"--where cannot be read: {error or 'it is too deeply nested'}.") from None

    def check_names(self, known: Iterable[str]) -> None:
        """Raises WhereError for a name that is neither a field of ours nor among `known`, the rows' own."""
        names = {*FIELDS, *DERIVED, *known}
        for node in ast.walk(self._tree):
            name = _field_name(node)
            if name is not None and name not in {*names, *_FUNCTIONS, WHOLE_ROW}:
                near = difflib.get_close_matches(name, sorted(names), n=1)
                quoted = f"; text goes into quotes: {name!r}" if isinstance(node, ast.Name) else ""
                hint = f"; did you mean {near[0]}?" if near else quoted
                raise self._error(node, f"no row has a field {name}{hint}")

    def __call__(self, entry: Entry) -> bool | None:
        """Whether the row fulfils it; None where that is unknown. Raises WhereError for values that do not go."""
        try:
            value = self._value(self._tree, _names(entry))
        except _RowFault as fault:
            raise self._error(fault.node, f"{entry.where}: {fault}") from None
        except RecursionError:
            raise WhereError("--where cannot be read: it is too deeply nested.") from None
        return None if value is UNKNOWN else bool(value)

    def _error(self, place: ast.AST | int, message: str) -> WhereError:
        if isinstance(place, ast.AST):  # counts bytes of UTF-8
            place = len(self.text.encode()[: place.col_offset].decode())
        place = max(0, min(place, len(self.text)))
        return WhereError(f"--where, character {place + 1}: {message}\n  {self.text}\n  {' ' * place}^")

    def _check(self, node: ast.AST) -> None:
        """Only nodes that `_value` knows, with functions that there are."""
        if isinstance(node, ast.Call):
            self._check_call(node)
        elif isinstance(node, ast.Constant):
            if not isinstance(node.value, str | int | float | None):
                raise self._error(node, f"{type(node.value).__name__} values have no meaning here")
        elif isinstance(node, ast.Compare):
            for one, right in zip(node.ops, node.comparators, strict=True):
                is_none = isinstance(right, ast.Constant) and right.value is None
                if isinstance(one, ast.Is | ast.IsNot) and not is_none:
                    raise self._error(right, "`is` is only for None; compare with ==")
        elif isinstance(node, ast.Name) and node.id in _FUNCTIONS:
            raise self._error(node, f"{node.id} is a function: {node.id}(...)")
        elif not isinstance(node, _KNOWN):
            raise self._error(
                node,
                f"{_words(type(node).__name__)} is not allowed; there are fields, text, numbers, comparisons, "
                f"and, or, not, in, + - * / % and {', '.join(_FUNCTIONS)}",
            )
        operation = getattr(node, "op", None)
        if isinstance(operation, ast.operator) and type(operation) not in _ARITHMETIC:
            raise self._error(node, "of arithmetic there are + - * / % only")
        if isinstance(operation, ast.Invert):
            raise self._error(node, "~ has no meaning here; write not")
        for child in _parts(node):
            self._check(child)

    def _check_call(self, node: ast.Call) -> None:
        if not isinstance(node.func, ast.Name) or node.func.id not in _FUNCTIONS:
            raise self._error(node, f"only these can be called: {', '.join(_FUNCTIONS)}")
        wanted = 2 if node.func.id == "matches" else 1
        if node.keywords or len(node.args) != wanted:
            raise self._error(node, f"{node.func.id} takes {wanted} value{'s' * (wanted > 1)}")
        if node.func.id == "matches":
            pattern = node.args[1]
            if not isinstance(pattern, ast.Constant) or not isinstance(pattern.value, str):
                raise self._error(pattern, "the pattern is a text in quotes")
            try:
                re.compile(pattern.value)
            except re.error as error:
                raise self._error(pattern, f"no regular expression: {error}") from None

    def _value(self, node: ast.AST, names: Mapping[str, Any]) -> Any:
        def value(part: ast.AST) -> Any:
            return self._value(part, names)

        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return names.get(node.id)
            case ast.List() | ast.Tuple():
                items = [value(item) for item in node.elts]
                return UNKNOWN if any(item is UNKNOWN for item in items) else items
            case ast.Attribute():
                return _item(node, value(node.value), node.attr)
            case ast.Subscript():
                return _item(node, value(node.value), value(node.slice))
            case ast.BoolOp():
                return _all_or_any(isinstance(node.op, ast.And), map(value, node.values))
            case ast.UnaryOp(op=ast.Not()):
                inner = value(node.operand)
                return UNKNOWN if inner is UNKNOWN else not inner
            case ast.UnaryOp():
                return _compute(node, _SIGNS[type(node.op)], value(node.operand))
            case ast.BinOp():
                return _compute(node, _ARITHMETIC[type(node.op)], value(node.left), value(node.right))
            case ast.Compare():
                values = [value(part) for part in (node.left, *node.comparators)]
                pairs = zip(node.ops, values, values[1:], strict=False)
                return _all_or_any(True, (_compare(node, one, left, right) for one, left, right in pairs))
            case ast.Call():
                return _call(node, [value(part) for part in node.args])
        raise AssertionError(f"{ast.dump(node)} was let through")


def _field_name(node: ast.AST) -> str | None:
    """The field that `name`, `row["name"]` or `row.name` speaks of."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Subscript(value=ast.Name(id=whole), slice=ast.Constant(value=str(name))) if whole == WHOLE_ROW:
            return name
        case ast.Attribute(value=ast.Name(id=whole), attr=name) if whole == WHOLE_ROW:
            return name
    return None


class _Unknown:
    """What no value can be given to, since a field is missing."""


UNKNOWN = _Unknown()
_KINDS = {
    str: "a text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object",
}  # fmt: skip


class _RowFault(Exception):
    def __init__(self, node: ast.AST, message: str):
        super().__init__(message)
        self.node = node


def _names(entry: Entry) -> dict[str, Any]:
    """The row's fields, also under our names for the released ones, and what is derived; a row's own name wins."""
    row = entry.row
    derived = {
        "event_seconds": sum(end - start for start, end in row.events) if row.events else None,
        "box_area": max((w * h for _, _, w, h in row.boxes), default=None),
    }
    native = {TO_NATIVE[name]: value for name, value in entry.fields.items() if name in TO_NATIVE}
    return {WHOLE_ROW: entry.fields, **derived, **native, **entry.fields}


def _is_missing(value: Any) -> bool:
    return value is None or value is UNKNOWN


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _all_or_any(all_of: bool, values: Iterable[Any]) -> Any:
    """`and` (or `or`) of three-valued logic: the first that decides it, else unknown if one is, else the other."""
    unknown = False
    for value in values:
        if value is UNKNOWN:
            unknown = True
        elif bool(value) is not all_of:
            return not all_of
    return UNKNOWN if unknown else all_of


def _item(node: ast.AST, container: Any, key: Any) -> Any:
    if _is_missing(container) or _is_missing(key):
        return container if _is_missing(container) else UNKNOWN
    if isinstance(container, dict) and isinstance(key, str):
        return container.get(key)
    if isinstance(container, list | str) and isinstance(key, int):
        return container[key] if -len(container) <= key < len(container) else None
    raise _RowFault(node, f"{_kind(container)} has no item {key!r}")


def _compute(node: ast.AST, operation: Callable[..., Any], *values: Any) -> Any:
    if any(map(_is_missing, values)):
        return UNKNOWN
    for value in values:
        if not _is_number(value):
            raise _RowFault(node, f"arithmetic is for numbers, and here is {_kind(value)}")
    try:
        return operation(*values)
    except ArithmeticError as error:
        raise _RowFault(node, str(error)) from None


def _compare(node: ast.AST, operation: ast.cmpop, left: Any, right: Any) -> Any:
    if isinstance(operation, ast.Is | ast.IsNot):
        return _is_missing(left) == isinstance(operation, ast.Is)
    if left is UNKNOWN or right is UNKNOWN:
        return UNKNOWN
    if type(operation) in _SAME:
        return _SAME[type(operation)](left, right)
    if right is None or (left is None and not isinstance(right, list)):
        return UNKNOWN
    if isinstance(operation, ast.In | ast.NotIn):
        if not isinstance(right, list | dict) and not (isinstance(right, str) and isinstance(left, str)):
            raise _RowFault(node, f"{_kind(left)} cannot be looked for in {_kind(right)}")
        found = left in list(right) if isinstance(right, dict) else left in right
        return found == isinstance(operation, ast.In)
    if not (_is_number(left) and _is_number(right)) and not (isinstance(left, str) and isinstance(right, str)):
        raise _RowFault(node, f"{_kind(left)} cannot be ordered against {_kind(right)}")
    return _ORDER[type(operation)](left, right)


def _call(node: ast.Call, values: list[Any]) -> Any:
    name = node.func.id
    kinds, function = _FUNCTIONS[name]
    if any(map(_is_missing, values)):
        return UNKNOWN
    if not isinstance(values[0], kinds):
        raise _RowFault(node, f"{name} does not take {_kind(values[0])}")
    return function(*values)


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "nothing")


def _parts(node: ast.AST) -> list[ast.AST]:
    """The sub-expressions of a node: no operators, contexts or names of functions."""
    if isinstance(node, ast.Call):
        return list(node.args)
    return [part for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)]


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


_FUNCTIONS: dict[str, tuple[tuple[type, ...], Callable[..., Any]]] = {
    "len": ((str, list, dict), len),
    "words": ((str,), lambda text: len(text.split())),
    "lower": ((str,), str.lower),
    "abs": ((int, float), abs),
    "matches": ((str,), lambda text, pattern: re.search(pattern, text) is not None),
}
"""What each takes first, and what it does; `matches(text, "pattern")` looks for a regular expression anywhere."""

_KNOWN = (
    ast.Constant, ast.Name, ast.List, ast.Tuple, ast.Attribute, ast.Subscript, ast.BoolOp, ast.UnaryOp, ast.BinOp,
    ast.Compare, ast.Call,
)  # fmt: skip
