"""JSON as people expect it: what is written, what is accepted, and how an error finds its place."""

from __future__ import annotations

import orjson
import pytest

from dataflow.core.errors import Invalid
from dataflow.v1 import event_pb2, pipeline_pb2, spec_pb2
from dataflow.wire import json

EXAMPLE = b"""{"name": "My Pipeline", "description": "Test pipeline",
 "source": {"sourceType": "file", "connectionString": "/data/input.csv", "batchSize": 100},
 "transforms": [],
 "sink": {"sinkType": "console", "connectionString": "", "batchSize": 10}}"""


def _create(text: bytes) -> pipeline_pb2.CreatePipelineRequest:
    return json.parse(text, pipeline_pb2.CreatePipelineRequest)


def _problems(text: bytes) -> list[tuple[str, str]]:
    with pytest.raises(Invalid) as caught:
        _create(text)
    return [(problem.field, problem.message) for problem in caught.value.problems]


def test_the_example_request_is_read_as_it_stands() -> None:
    """It is the first request anybody sends."""
    request = _create(EXAMPLE)
    assert request.name == "My Pipeline"
    assert request.source.connection_string == "/data/input.csv"
    assert request.sink.batch_size == 10
    assert request.HasField("sink")


def test_options_keep_the_order_of_their_keys_and_their_large_integers() -> None:
    """A protobuf Struct would lose both; the order of computed columns matters."""
    text = b'{"source": {"options": {"z": 9007199254740993, "a": {"y": 1, "b": 2.5}}}}'
    request = _create(text)
    assert request.source.options == '{"z":9007199254740993,"a":{"y":1,"b":2.5}}'
    assert request.source.options in json.dump(request).decode()


def test_empty_options_are_no_options() -> None:
    """What is shown as {} and sent back is no change of the spec."""
    assert _create(b'{"source": {"options": {}}}').source.options == ""
    shown = orjson.loads(json.dump(spec_pb2.Source(source_type="push")))
    assert shown["options"] == {}


def test_an_integer_beyond_64_bits_in_options_is_refused() -> None:
    """It would be rounded silently on its way to the connector."""
    [(field, message)] = _problems(b'{"source": {"options": {"n": 18446744073709551616}}}')
    assert field == "source.options"
    assert "64 bits" in message


def test_zero_scalars_and_empty_lists_are_shown_and_unset_messages_are_not() -> None:
    """A reader of `total` should not have to know that it is missing when it is 0."""
    shown = orjson.loads(json.dump(pipeline_pb2.ListPipelinesResponse()))
    assert shown == {"pipelines": [], "total": 0, "nextPageToken": ""}
    assert b"createdAt" not in json.dump(pipeline_pb2.PipelineSummary())


def test_enums_are_the_words_of_the_product() -> None:
    """STATUS_RUNNING is how protobuf names it, not how people do."""
    options = spec_pb2.PipelineOptions(on_error=spec_pb2.ON_ERROR_DEAD_LETTER)
    assert orjson.loads(json.dump(options))["onError"] == "dead-letter"
    assert _create(b'{"options": {"onError": "dead-letter"}}').options == options


@pytest.mark.parametrize("word", [b'"dead_letter"', b'"DEAD_LETTER"', b'"unspecified"', b"3"])
def test_another_word_for_an_enum_is_refused_with_those_there_are(word: bytes) -> None:
    """One spelling each: a document means the same to every reader."""
    [(field, message)] = _problems(b'{"options": {"onError": ' + word + b"}}")
    assert field == "options.onError"
    assert message.endswith("one of fail, skip, dead-letter")


def test_an_unspecified_enum_is_left_out() -> None:
    """Nothing was said, so nothing is shown."""
    assert b"onError" not in json.dump(spec_pb2.PipelineOptions())


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("1s", "1s"),
        ("500ms", "0.5s"),
        ("5m", "300s"),
        ("1h", "3600s"),
        ("1d", "86400s"),
        ("1.5h", "5400s"),
        ("250us", "0.00025s"),
        ("0s", "0s"),
    ],
)
def test_durations_are_read_in_units_and_shown_in_seconds(written: str, shown: str) -> None:
    """People write 5m; programs compare seconds."""
    request = _create(b'{"options": {"batchTimeout": "' + written.encode() + b'"}}')
    assert orjson.loads(json.dump(request.options))["batchTimeout"] == shown


@pytest.mark.parametrize("text", ["1", "1 s", "-1s", "s", "1w", "", "400000000000s", "1e3s"])
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    """A bare number has no unit, and a guess would be wrong by a thousand."""
    [(field, message)] = _problems(b'{"options": {"batchTimeout": "' + text.encode() + b'"}}')
    assert field == "options.batchTimeout"
    assert "500ms" in message


def _replay(time: str) -> pipeline_pb2.ReplayPipelineRequest:
    return json.parse(orjson.dumps({"time": time}), pipeline_pb2.ReplayPipelineRequest)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("2026-05-01T12:00:00Z", "2026-05-01T12:00:00Z"),
        ("2026-05-01T12:00:00.250+02:00", "2026-05-01T10:00:00.250000Z"),
        ("1969-12-31t23:59:59.999999z", "1969-12-31T23:59:59.999999Z"),
    ],
)
def test_moments_are_shown_in_utc(written: str, shown: str) -> None:
    """RFC 3339 in any offset is read; one form is shown."""
    assert orjson.loads(json.dump(_replay(written)))["time"] == shown


@pytest.mark.parametrize("text", ["2026-05-01", "2026-05-01T12:00:00", "2026-13-01T00:00:00Z", "x"])
def test_a_moment_without_a_date_a_time_and_an_offset_is_refused(text: str) -> None:
    """A local time would mean something else on each machine."""
    with pytest.raises(Invalid, match="time: expected an RFC 3339 time"):
        _replay(text)


def test_an_unknown_field_names_its_path_and_what_was_meant() -> None:
    """A misspelt option that is ignored is the worst of errors."""
    assert _problems(b'{"soruce": {}}')[0][0] == "soruce"
    assert "did you mean 'source'?" in _problems(b'{"soruce": {}}')[0][1]
    [(field, message)] = _problems(b'{"transforms": [{}, {"transformTyp": "filter"}]}')
    assert field == "transforms[1].transformTyp"
    assert "there are id, inputs, options, transformType" in message


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        (b'{"name": 1}', "name", "expected a text, not a number"),
        (b'{"source": []}', "source", "expected an object, not a list"),
        (b'{"transforms": {}}', "transforms", "expected a list, not an object"),
        (b'{"labels": [1]}', "labels", "expected an object, not a list"),
        (b'{"labels": {"a": 1}}', "labels.a", "expected a text, not a number"),
        (b'{"sources": {"a": 1}}', "sources.a", "expected an object, not a number"),
        (b'{"source": {"batchSize": "1"}}', "source.batchSize", "expected a whole number, not '1'"),
        (b'{"source": {"batchSize": true}}', "source.batchSize", "not true or false"),
        (b'{"source": {"batchSize": 2147483648}}', "source.batchSize", "2147483647"),
        (b'{"source": {"options": "{}"}}', "source.options", "expected an object, not a text"),
        (b'{"transforms": [{"inputs": [null]}]}', "transforms[0].inputs[0]", "not null"),
        (b"[]", "", "expected an object, not a list"),
    ],
)
def test_a_wrong_type_names_its_path(text: bytes, field: str, said: str) -> None:
    """The path is what one searches for in the document."""
    [(found, message)] = _problems(text)
    assert found == field
    assert said in message


def test_every_problem_is_reported_at_once() -> None:
    """A document is mended in one go."""
    found = _problems(b'{"nam": "x", "source": {"batchSize": "1"}, "sink": 3}')
    assert [field for field, _ in found] == ["nam", "source.batchSize", "sink"]


@pytest.mark.parametrize(
    "document",
    [
        {f"unknown{n}": 1 for n in range(10_000)},
        {"transforms": [1] * 10_000},
        {"labels": {str(n): 1 for n in range(10_000)}},
    ],
)
def test_a_document_of_nothing_but_mistakes_is_not_read_to_its_end(document: object) -> None:
    """A suggestion for each of a million keys would take minutes, in which nobody is served."""
    assert len(_problems(orjson.dumps(document))) == 100


def test_lists_and_maps_have_a_limit() -> None:
    """Each entry becomes a message, at a microsecond each."""
    assert len(_create(orjson.dumps({"transforms": [{}] * 100_000})).transforms) == 100_000
    [(field, said)] = _problems(orjson.dumps({"transforms": [{}] * 100_001}))
    assert (field, said) == ("transforms", "use at most 100000 entries")
    [(field, _)] = _problems(orjson.dumps({"labels": {str(n): "" for n in range(100_001)}}))
    assert field == "labels"


def test_the_largest_batch_size_is_read() -> None:
    """Limits hold at the last number, not before it."""
    assert _create(b'{"source": {"batchSize": 2147483647}}').source.batch_size == 2147483647


@pytest.mark.parametrize(
    "text",
    [
        b'{"name": NaN}',
        b'{"name": Infinity}',
        b'{"name": "\xff"}',
        b'{"name": "\\ud800"}',
        b'{"source": {"options": {"x": 1e999}}}',
        b'{"source": {"options": {"x": ' + b"9" * 5000 + b"}}}",
        b'{"name": "a",}',
        b"",
        b"[" * 100_000,
    ],
)
def test_what_is_no_json_is_refused_with_its_position(text: bytes) -> None:
    """Some parsers take these; then two readers of one document disagree."""
    [(field, message)] = _problems(text)
    assert field == ""
    assert "not JSON" in message
    assert "line 1 column" in message


def test_a_key_given_twice_is_refused_at_any_depth() -> None:
    """The last one would win here and the first elsewhere."""
    assert _problems(b'{"name": "a", "name": "b"}') == [("name", "given twice in one object")]
    [(field, _)] = _problems(b'{"source": {"options": {"a": {"b": 1, "b": 2}}}}')
    assert field == "b"


def _nested(depth: int) -> bytes:
    inner = b"[" * (depth - 3) + b"]" * (depth - 3)
    return b'{"source": {"options": {"x": ' + inner + b"}}}"


def test_documents_may_be_64_deep_and_no_deeper() -> None:
    """A recursive reader further down must not meet its limit."""
    assert _create(_nested(64)).source.options
    assert _problems(_nested(65)) == [("", "more than 64 objects or lists within each other")]


def test_brackets_inside_texts_are_no_depth() -> None:
    """An expression may hold many."""
    assert _create(b'{"name": "' + b"[" * 200 + b'"}').name == "[" * 200


def test_connectors_texts_in_a_checkpoint_are_shown_as_objects() -> None:
    """A position inside a string would be JSON in JSON."""
    checkpoint = event_pb2.Checkpoint(pinned={"source": '{"a": "int64"}'})
    checkpoint.positions["s"].position = '{"offset": 7}'
    checkpoint.positions["t"].position = "no json"
    shown = orjson.loads(json.dump(checkpoint))
    assert shown["positions"]["s"]["position"] == {"offset": 7}
    assert shown["positions"]["t"]["position"] == "no json"
    assert shown["pinned"] == {"source": {"a": "int64"}}


def test_fields_are_shown_in_the_order_of_proto() -> None:
    """The order in which they were thought of is the one in which they are best read."""
    spec = spec_pb2.PipelineSpec(name="n")
    spec.source.SetInParent()
    spec.sink.SetInParent()
    shown = list(orjson.loads(json.dump(spec)))
    fields = spec_pb2.PipelineSpec.DESCRIPTOR.fields
    assert shown == [entry.json_name for entry in fields if entry.name != "options"]


def test_only_the_field_that_is_set_of_a_oneof_is_shown() -> None:
    """An event has one body."""
    event = event_pb2.Event(sequence=1 << 60, command_digest=b"\x00\xff")
    event.pipeline_started.SetInParent()
    shown = orjson.loads(json.dump(event))
    assert shown["pipelineStarted"] == {}
    assert "pipelineStopped" not in shown
    assert shown["sequence"] == 1 << 60
    assert shown["commandDigest"] == "AP8="


def test_what_is_shown_is_read_back_the_same() -> None:
    """`get -o json` edited and applied again must change what was edited and nothing else."""
    spec = spec_pb2.PipelineSpec(name="n", labels={"a": "b"})
    spec.source.CopyFrom(spec_pb2.Source(source_type="file", options='{"b":1,"a":[1.5,null]}'))
    spec.transforms.add(id="t", inputs=["source"], transform_type="filter")
    spec.options.checkpoint_interval.FromMilliseconds(1500)
    spec.sinks["x"].batch_size = 4
    assert json.parse(json.dump(spec), spec_pb2.PipelineSpec) == spec


def test_query_parameters_become_fields_of_their_types() -> None:
    """An URL holds only text."""
    request = pipeline_pb2.ListPipelinesRequest()
    json.fill_from_query(request, [("status", "running"), ("pageSize", "7"), ("q", "7")])
    assert request.status == event_pb2.STATUS_RUNNING
    assert request.page_size == 7
    assert request.q == "7"


def test_repeated_query_parameters_are_gathered() -> None:
    """`?inputs=a&inputs=b` is how an URL writes a list."""
    step = spec_pb2.Transform()
    json.fill_from_query(step, [("inputs", "a"), ("inputs", "b")])
    assert list(step.inputs) == ["a", "b"]


@pytest.mark.parametrize(
    ("parameters", "field", "said"),
    [
        ([("pagesize", "7")], "pagesize", "did you mean 'pageSize'?"),
        ([("pageSize", "x")], "pageSize", "expected a whole number"),
        ([("pageSize", "9" * 50)], "pageSize", "2147483647"),
        ([("q", "a"), ("q", "b")], "q", "given twice"),
        ([("status", "runing")], "status", "one of empty, configured, running"),
    ],
)
def test_a_wrong_query_parameter_is_named(
    parameters: list[tuple[str, str]], field: str, said: str
) -> None:
    """An ignored filter would list everything."""
    with pytest.raises(Invalid) as caught:
        json.fill_from_query(pipeline_pb2.ListPipelinesRequest(), parameters)
    [problem] = caught.value.problems
    assert problem.field == field
    assert said in problem.message
