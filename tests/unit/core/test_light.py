"""Values that are cheap to make are values all the same."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError, dataclass, field, fields

import pytest

from dataflow.core.light import light, replace


@light
@dataclass(frozen=True, slots=True)
class Place:
    """A value with every kind of field."""

    name: str
    height: int = 7
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plain:
    """The same value, made the usual way."""

    name: str
    height: int = 7
    labels: Mapping[str, str] = field(default_factory=dict)


class Summit(Place):
    """A kind of place."""

    __slots__ = ()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (("a",), {}),
        (("a", 1, {"x": "y"}), {}),
        ((), {"name": "a", "labels": {}}),
        (("a",), {"height": 0}),
    ],
)
def test_it_is_made_as_the_dataclass_would_be(
    given: tuple[object, ...], named: Mapping[str, object]
) -> None:
    """Every caller was written against the signature that ``dataclass`` gives."""
    made, usual = Place(*given, **named), Plain(*given, **named)  # type: ignore[arg-type]  # any of them
    assert [getattr(made, f.name) for f in fields(made)] == [
        getattr(usual, f.name) for f in fields(usual)
    ]


@pytest.mark.parametrize(
    ("given", "named"), [((), {}), (("a",), {"depth": 1}), (("a", 1, {}, 2), {})]
)
def test_fields_that_are_missing_or_unknown_are_refused(
    given: tuple[object, ...], named: Mapping[str, object]
) -> None:
    """A field forgotten must not be found out later."""
    with pytest.raises(TypeError):
        Place(*given, **named)  # type: ignore[arg-type]  # which is the point


@pytest.mark.parametrize("place", [Place("a"), replace(Place("a"), height=1)])
def test_it_is_frozen_once_it_is_made(place: Place) -> None:
    """States and events are shared between threads and versions; nobody may change one."""
    with pytest.raises(FrozenInstanceError):
        place.height = 2  # type: ignore[misc]  # which is the point


def test_each_has_its_own_default() -> None:
    """A factory's value that two shared would be one mutable default."""
    assert Place("a").labels is not Place("a").labels


def test_replacing_changes_only_what_is_named() -> None:
    """And leaves the original alone."""
    before = Place("a", 1, {"x": "y"})
    after = replace(before, height=2)
    assert (before, after) == (Place("a", 1, {"x": "y"}), Place("a", 2, {"x": "y"}))


def test_replacing_an_unknown_field_is_refused() -> None:
    """The type checker finds it first; this is for where it does not look."""
    with pytest.raises(AttributeError, match="depth"):
        replace(Place("a"), depth=1)  # type: ignore[call-arg]  # which is the point


def pickled(place: Place) -> Place:
    """Return a place that has been bytes in between."""
    copied: Place = pickle.loads(pickle.dumps(place))  # noqa: S301 - our own bytes
    return copied


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, pickled])
def test_it_can_be_copied_and_pickled(twin: Callable[[Place], Place]) -> None:
    """Its twin is a place like it, not the open class in which it was made."""
    place = twin(Place("a", 1))
    assert (type(place), place) == (Place, Place("a", 1))


def test_a_subclass_stays_one() -> None:
    """What is open for a moment comes back as what it was."""
    assert [type(Summit("a")), type(replace(Summit("a"), height=1))] == [Summit, Summit]


def test_a_class_that_does_more_than_take_its_fields_is_refused() -> None:
    """Its ``__post_init__`` would be left out."""

    @dataclass(frozen=True, slots=True)
    class Checked:
        name: str

        def __post_init__(self) -> None:
            raise ValueError

    with pytest.raises(TypeError, match="Checked"):
        light(Checked)
