"""Names of enum values and of classes, as people and fields write them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from google.protobuf.descriptor import EnumDescriptor


def word(enum: EnumDescriptor, number: int) -> str:
    """Return an enum value as people write it: ``ON_ERROR_DEAD_LETTER`` is ``dead-letter``."""
    return _words(enum)[0].get(number, str(number))


def number(enum: EnumDescriptor, text: str) -> int | None:
    """Return the number of an enum's word; None if it has no such word."""
    return _words(enum)[1].get(text)


@cache
def _words(enum: EnumDescriptor) -> tuple[Mapping[int, str], Mapping[str, int]]:
    prefix = snake(enum.name).upper() + "_"
    words = {
        value.number: value.name.removeprefix(prefix).lower().replace("_", "-")
        for value in enum.values
    }
    return words, {text: number for number, text in words.items()}


def snake(name: str) -> str:
    """Return a class's name as a field is named."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
