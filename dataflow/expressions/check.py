"""Types of an expression against a schema: a parsed tree goes in, a bound one comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dataflow.expressions.bound import Bound, Constant, Reference
from dataflow.expressions.conversions import castable, remedy
from dataflow.expressions.errors import ExpressionError, Source, listing, shown, suggestion
from dataflow.expressions.functions import FUNCTIONS
from dataflow.expressions.operators import OPERATORS, field
from dataflow.expressions.tree import (
    COMPARISONS,
    Call,
    Cast,
    Column,
    Expression,
    Field,
    Literal,
    Node,
    bare_word,
)
from dataflow.expressions.types import INTERVAL, STRING, Kind, StructType, Type
from dataflow.expressions.widen import cast


def check(expression: Expression, schema: Mapping[str, Type], expect: Type | None = None) -> Type:
    """Return the type of an expression.

    Args:
        expression: from ``parse``.
        schema: the columns there are, in their order.
        expect: the type the place needs (``BOOL`` for a filter); NULL fits every type.

    Raises:
        ExpressionError: an unknown column, types that don't go together, or another result
            than expected.
    """
    found = bind(expression, schema).type
    if expect is not None and found not in {expect, Type(Kind.NULL)}:
        root = expression.root
        hint = "compare it with something, as in … <> 0" if expect.kind is Kind.BOOL else ""
        raise Source(expression.text).error(
            f"this is {found}, where {expect} is needed",
            root.at,
            width=root.width,
            remedy=hint or f"convert it: CAST(… AS {expect})",
        )
    return found


def bind(expression: Expression, schema: Mapping[str, Type]) -> Bound:
    """Return the tree with every type and conversion explicit, ready to compile.

    Raises:
        ExpressionError: an unknown column, or types that don't go together.
    """
    root = _Binder(Source(expression.text), schema).bind(expression.root)
    if root.type == INTERVAL:
        problem = "an interval of months is no value of its own"
        raise Source(expression.text).error(problem, root.at, remedy="add it to a date")
    return root


class _Binder:
    def __init__(self, source: Source, schema: Mapping[str, Type]) -> None:
        self._source = source
        self._schema = schema

    def bind(self, node: Node) -> Bound:
        match node:
            case Literal():
                return Constant(node.type, node.value, node.at, node.text or None)
            case Column():
                return self._column(node)
            case Field():
                return self._field(node)
            case Cast():
                return self._cast(node)
            case Call():
                return self._call(node)

    def _column(self, node: Column) -> Bound:
        found = self._schema.get(node.name)
        if found is None:
            raise self._unknown(node)
        return Reference(found, node.name, node.at)

    def _unknown(self, node: Column) -> ExpressionError:
        hint = suggestion(node.name, self._schema)
        columns = f"columns: {listing(self._schema)}" if self._schema else "there are no columns"
        quoted = self._source.text[node.at : node.at + 1] == '"'
        text = f"for a text write {shown(node.name)} in single quotes" if quoted else ""
        return self._source.error(
            f"unknown column {shown(node.name)}",
            node.at,
            width=node.width,
            remedy="; ".join(part for part in (hint, text, columns) if part),
        )

    def _field(self, node: Field) -> Bound:
        base = self.bind(node.base)
        if not isinstance(base.type, StructType):
            remedy = ""
            if isinstance(node.base, Column):
                remedy = f'a name with a dot is quoted: "{node.base.name}.{node.name}"'
            problem = f"{base.type} has no fields, so no {shown(node.name)}"
            raise self._source.error(problem, node.at, width=node.width, remedy=remedy)
        item = base.type.get(node.name)
        if item is None:
            names = [name for name, _ in base.type.fields]
            hint = suggestion(node.name, names)
            raise self._source.error(
                f"no field {shown(node.name)}",
                node.at,
                width=node.width,
                remedy="; ".join(part for part in (hint, f"fields: {listing(names)}") if part),
            )
        return field(base, node.name, node.at, item)

    def _cast(self, node: Cast) -> Bound:
        base = self.bind(node.base)
        if not castable(base.type, node.target):
            problem = f"can't convert {base.type} to {node.target}"
            raise self._source.error(
                problem, node.at, width=node.width, remedy=remedy(base.type, node.target)
            )
        if isinstance(base, Constant):
            base = replace(base, literal=None)  # it has been given its type
        return cast(base, node.target, lenient=node.lenient, at=node.at)

    def _call(self, node: Call) -> Bound:
        if node.name in COMPARISONS:
            return OPERATORS[node.name](self._source, node, self._sides(*node.args))
        args = tuple(self.bind(child) for child in node.args)
        rule = OPERATORS.get(node.name) or FUNCTIONS[node.name.lower()].rule
        return rule(self._source, node, args)

    def _sides(self, left: Node, right: Node) -> tuple[Bound, Bound]:
        """Bind the sides of a comparison; a bare word on the right may be a text."""
        bound = self.bind(left)
        word = bare_word(left, right)
        if word is not None and word.name not in self._schema and bound.type == STRING:
            return bound, Constant(STRING, word.name, word.at, word.name)
        return bound, self.bind(right)
