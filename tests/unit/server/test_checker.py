"""Steps that were found good are not checked again; everything else is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from dataflow.core.errors import Invalid, Problem
from dataflow.core.spec import PipelineSpec, canonical
from dataflow.server import checker
from dataflow.server.backend import Verdict
from dataflow.server.checker import Checker
from dataflow.server.specs import spec_of
from dataflow.v1 import pipeline_pb2, spec_pb2


class Validation:
    """Counts what it is asked, and finds what it is told to find."""

    def __init__(self) -> None:
        self.asked = 0
        self.problems: Sequence[Problem] = ()

    def __call__(self, _: PipelineSpec) -> Verdict:
        """Return the problems that are set."""
        self.asked += 1
        return Verdict(self.problems)


def _request(**texts: str) -> pipeline_pb2.CreatePipelineRequest:
    return pipeline_pb2.CreatePipelineRequest(
        source=spec_pb2.Source(source_type="file", options='{"a":1}'),
        transforms=[spec_pb2.Transform(transform_type="filter", options='{"x":1}')],
        sink=spec_pb2.Sink(sink_type="console"),
        labels={"team": "x"},
        **texts,  # type: ignore[arg-type]  # names and descriptions
    )


def test_the_same_steps_are_checked_once() -> None:
    """Whatever the pipeline is called; and the result is what a check would have returned."""
    validation = Validation()
    check = Checker(validation)
    first = check(_request(name="a", description="b", pipeline_id="p1"))
    second = check(_request(name="c", description="d", pipeline_id="p2"))
    assert validation.asked == 1
    assert first == canonical(spec_of(_request(name="a", description="b")))
    assert second == canonical(spec_of(_request(name="c", description="d")))


@pytest.mark.parametrize(
    "change",
    [
        lambda r: setattr(r.source, "connection_string", "/x"),
        lambda r: setattr(r.source, "options", '{"a":2}'),
        lambda r: setattr(r.transforms[0], "options", '{"x":2}'),
        lambda r: r.transforms.add(transform_type="filter"),
        lambda r: setattr(r.sink, "batch_size", 2),
        lambda r: setattr(r.options, "max_attempts", 2),
        lambda r: setattr(r.options, "on_error", spec_pb2.ON_ERROR_SKIP),
    ],
)
def test_other_steps_are_checked_anew(
    change: Callable[[pipeline_pb2.CreatePipelineRequest], None],
) -> None:
    """A step that is not looked at could be anything."""
    validation = Validation()
    check = Checker(validation)
    check(_request())
    request = _request()
    change(request)
    assert check(request) == canonical(spec_of(request))
    assert validation.asked == 2


def test_two_ends_that_changed_their_names_are_checked_anew() -> None:
    """Of a graph, names belong to the steps."""
    validation = Validation()
    check = Checker(validation)
    for name in ("a", "b"):
        request = pipeline_pb2.CreatePipelineRequest()
        request.sources[name].source_type = "file"
        request.sinks["out"].sink_type = "console"
        assert check(request) == canonical(spec_of(request))
    assert validation.asked == 2


def test_texts_are_looked_at_each_time() -> None:
    """Good steps excuse no name that is too long."""
    check = Checker(Validation())
    check(_request())
    with pytest.raises(Invalid, match="name"):
        check(_request(name="n" * 201))
    request = _request()
    request.labels.update({str(n): "" for n in range(32)})
    with pytest.raises(Invalid, match="labels"):
        check(request)
    with pytest.raises(Invalid, match="description"):
        check(_request(description="d" * 10_001))
    request = _request()
    request.labels["team"] = "x" * 201
    with pytest.raises(Invalid, match="labels"):
        check(request)


def test_steps_that_were_refused_are_checked_anew() -> None:
    """Only what is good is kept."""
    validation = Validation()
    validation.problems = (Problem("source.options.a", "unknown"),)
    check = Checker(validation)
    for _ in range(2):
        with pytest.raises(Invalid):
            check(_request())
    assert validation.asked == 2


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps used last stay, and large specs are never kept."""
    monkeypatch.setattr(checker, "KEPT_MAX", 2)
    validation = Validation()
    check = Checker(validation)

    def asked(path: str) -> int:
        before = validation.asked
        request = _request()
        request.source.connection_string = path
        check(request)
        return validation.asked - before

    assert [asked(path) for path in ("a", "b", "a", "c", "a", "b")] == [1, 1, 0, 1, 0, 1]
    assert [asked("x" * 5_000) for _ in range(2)] == [1, 1]
