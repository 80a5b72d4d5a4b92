"""The ``python`` transform as people configure it. Imports no Arrow."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue

from dataflow.connect import Duration, Options, Problem, TransformSpec, TransformStep
from dataflow.connect.expressions import ExpressionError, typed
from dataflow.connect.types import parse_type
from dataflow.transforms.naming import Name, named_badly, unknown

LIMIT_MIN, LIMIT_MAX = timedelta(milliseconds=10), timedelta(hours=1)

MEMORY_MIN, MEMORY_MAX = 128 << 20, 1 << 42
"""Python with Arrow and Polars takes some 100 MiB before the function has done anything."""


def _limit(given: timedelta) -> timedelta:
    if not LIMIT_MIN <= given <= LIMIT_MAX:
        raise ValueError("a limit is from 10ms to 1h")
    return given


def _function(given: str) -> str:
    module, colon, name = given.partition(":")
    parts = [*module.split("."), *name.split(".")]
    if not colon or not all(part.isidentifier() for part in parts):
        raise ValueError("write module:function, as in orders.prices:add_total")
    return given


def _variable(given: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", given):
        raise ValueError("is no name of a variable")
    return given


def _by_name(given: object) -> object:
    """Take the list form, whose order no JSON library can lose, as a mapping."""
    if not isinstance(given, list):
        return given
    if not all(isinstance(item, dict) and item.keys() == {"name", "type"} for item in given):
        raise ValueError("use an object of name: type, or a list of {name, type}")
    names = [str(item["name"]) for item in given]
    if len(set(names)) != len(names):
        raise ValueError("a name is used twice")
    return {item["name"]: item["type"] for item in given}


Limit = Annotated[Duration, AfterValidator(_limit)]


class PythonOptions(Options):
    """Which function, what it is given, what it returns, and how much it may take."""

    function: Annotated[str, AfterValidator(_function)] = Field(
        max_length=1_000,
        description="module:function. It is called with each batch and the args, and returns a"
        " batch: an Arrow RecordBatch or Table, or a Polars DataFrame.",
    )
    frame: Literal["arrow", "polars"] = Field(
        default="arrow", description="What it is given: a RecordBatch or a DataFrame."
    )
    args: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Its keyword arguments. A text may hold ${env:NAME} and ${file:/path}.",
    )
    columns: tuple[Name, ...] | None = Field(
        default=None,
        min_length=1,
        description="The columns that it is given; all by default. The others need not be carried"
        " to it, and go out beside the rows that it returns: as many as it was given, or with"
        " rowNumber.",
    )
    returned: Annotated[dict[Name, Name] | None, BeforeValidator(_by_name)] = Field(
        default=None,
        alias="schema",
        min_length=1,
        description="The columns that it returns and their types. Without, those of the first"
        " batch that it returns; a batch with others is refused.",
    )
    row_number: Name | None = Field(
        default=None,
        description="A column with which the function is given the number of each row in the"
        " batch, from 0. A result that has it tells by it which row each of its rows comes from;"
        " it does not go out.",
    )
    time_limit: Limit = Field(
        default=timedelta(minutes=1),
        description="For one batch; then the process is killed, and the rows of the batch go as"
        " onError says.",
    )
    import_limit: Limit = Field(
        default=timedelta(minutes=1),
        description="For the process to begin and to import the function.",
    )
    memory_limit: int = Field(
        default=2 << 30,
        ge=MEMORY_MIN,
        le=MEMORY_MAX,
        description="Bytes of memory that its process and those which it begins may hold at once;"
        " looked at 20 times a second while it works. Beyond, they are killed as at timeLimit.",
    )
    python_path: tuple[Name, ...] = Field(
        (),
        max_length=20,
        description="Folders to import from, before the packages of the platform's own Python;"
        " within the folders that the node allows.",
    )
    environment: tuple[Annotated[Name, AfterValidator(_variable)], ...] = Field(
        (),
        max_length=100,
        description="Variables of the node's environment that the function may see; it sees no"
        " others.",
    )


def _check(
    _: TransformStep, options: PythonOptions, columns: Mapping[str, str] | None
) -> Sequence[Problem]:
    problems: list[Problem] = []
    for name, of in (options.returned or {}).items():
        path = f"options.schema.{name}"
        problems += named_badly(path, name)
        try:
            parse_type(of)
        except ExpressionError as error:
            problems.append(Problem(path, error.message))
    types = typed(columns)
    for name in options.columns or ():
        problems += unknown("options.columns", name, types)
    problems += [
        Problem(f"options.args.{name}", "is no name that a function can be called with")
        for name in options.args
        if not name.isidentifier()
    ]
    if (number := options.row_number) is not None:
        problems += named_badly("options.rowNumber", number)
        if number in {*(columns or {}), *(options.returned or {})}:
            problems.append(Problem("options.rowNumber", f"there is a column {number!r} already"))
    return problems


def _schema(options: PythonOptions, columns: Mapping[str, str]) -> Mapping[str, str] | None:
    if options.returned is None:
        return None
    made = {name: str(parse_type(of)) for name, of in options.returned.items()}
    names = going_out(list(columns), options.columns, list(made))
    return {name: made.get(name) or columns[name] for name in names}


def going_out(
    come_in: Sequence[str], given: Sequence[str] | None, returned: Sequence[str]
) -> Sequence[str]:
    """Return the columns that go out: those a function was not given stay where they are.

    What it was given and has returned stays, too, and what is new comes behind.
    """
    if given is None:
        return returned
    stay = [name for name in come_in if name not in given or name in returned]
    return [*stay, *(name for name in returned if name not in come_in)]


SPEC = TransformSpec(
    name="python",
    summary="A function of your own over batches, in a process of its own.",
    options=PythonOptions,
    open="dataflow.transforms.python.step:open_python",
    check=_check,
    schema=_schema,
    lanes=True,
)
