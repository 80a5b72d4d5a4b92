"""What the files of a log survive, and what they refuse to."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dataflow.core.errors import Code, Corrupted, Unavailable
from dataflow.core.ids import PipelineId
from dataflow.engine.ingest import frame, segment, window
from dataflow.engine.ingest.window import Taken, Window
from tests.unit.engine.ingest.pushing import Pushing, numbers_of


def flip(path: Path, at: int) -> None:
    """Change one byte of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 0x40
    path.write_bytes(data)


async def frames_of(pushing: Pushing, count: int) -> list[int]:
    """Push batches of two, one fsync each, into one segment; return where each ends."""
    ends = []
    for n in range(count):
        await pushing.push(f"b{n}", 2 * n, 2 * n + 1)
        ends.append(pushing.segments[-1].stat().st_size)
    assert len(pushing.segments) == 1
    return ends


@pytest.mark.parametrize("kept", [0, 1, 16, 55, 57, 200])
async def test_a_torn_tail_is_cut(pushing: Pushing, kept: int) -> None:
    """A write that a crash cut short was acknowledged to nobody."""
    ends = await frames_of(pushing, 2)
    await pushing.logs.close()
    data = pushing.segments[0].read_bytes()
    pushing.segments[0].write_bytes(data + data[ends[0] : ends[0] + kept])
    await pushing.reopen()
    assert await pushing.numbers() == [0, 1, 2, 3]
    assert pushing.segments[0].stat().st_size == ends[1]
    await pushing.push("next", 4)
    await pushing.reopen()
    assert await pushing.numbers() == [0, 1, 2, 3, 4]


async def test_what_was_not_acknowledged_and_is_half_there_is_gone(pushing: Pushing) -> None:
    """Its sender pushes it again, as a new batch."""
    ends = await frames_of(pushing, 3)
    await pushing.logs.close()
    os.truncate(pushing.segments[0], ends[2] - 1)
    await pushing.reopen()
    assert await pushing.numbers() == [0, 1, 2, 3]
    assert not (await pushing.push("b2", 4, 5)).duplicate
    assert (await pushing.push("b1", 2, 3)).duplicate


@pytest.mark.parametrize("place", [0, 5, 9, 17, 25, 40, 57, 120])
async def test_damage_before_a_later_write_stops_everything(pushing: Pushing, place: int) -> None:
    """What had been synchronised was acknowledged: to cut it would be to lose it."""
    ends = await frames_of(pushing, 3)
    await pushing.logs.close()
    flip(pushing.segments[0], ends[0] + place)
    await pushing.reopen()
    expected = f"0.log: damaged at byte {ends[0]}, before record 2: "
    with pytest.raises(Corrupted, match=expected):
        await pushing.push("next", 6)
    with pytest.raises(Corrupted, match=expected):
        await pushing.numbers()


async def test_a_damaged_file_may_be_put_right(pushing: Pushing) -> None:
    """The next call looks again, without a restart."""
    ends = await frames_of(pushing, 3)
    await pushing.logs.close()
    flip(pushing.segments[0], ends[0])
    with pytest.raises(Corrupted):
        await (await reopened(pushing)).push("next", 6)
    flip(pushing.segments[0], ends[0])
    await pushing.push("next", 6)
    assert await pushing.numbers() == [0, 1, 2, 3, 4, 5, 6]


async def reopened(pushing: Pushing) -> Pushing:
    """Return a log that has just been opened again."""
    await pushing.reopen()
    return pushing


async def test_a_record_that_looks_like_a_frame_is_none(pushing: Pushing) -> None:
    """Nobody can make a torn tail pass for damage, or the other way round."""
    ends = await frames_of(pushing, 1)
    await pushing.logs.close()
    forged = frame.encode(frame.Batch("x", bytes(16), 1, bytes(8)), 2, 1 << 30, 0)
    data = pushing.segments[0].read_bytes()
    pushing.segments[0].write_bytes(data + b"torn " + b"".join(forged))
    await pushing.reopen()
    assert await pushing.numbers() == [0, 1]
    assert pushing.segments[0].stat().st_size == ends[0]


async def test_a_number_that_does_not_follow_is_damage(pushing: Pushing) -> None:
    """Frames that are whole and in the wrong place would give records wrong offsets."""
    ends = await frames_of(pushing, 3)
    await pushing.logs.close()
    data = pushing.segments[0].read_bytes()
    pushing.segments[0].write_bytes(data[: ends[0]] + data[ends[1] :])
    await pushing.reopen()
    with pytest.raises(Corrupted, match="before record 2: the batch is numbered 4"):
        await pushing.numbers()


@pytest.mark.parametrize("place", [0, 10, 30, 60])
async def test_damage_to_the_head_of_a_segment_stops_everything(
    pushing: Pushing, place: int
) -> None:
    """It holds schema and batch ids; a segment is not there before its head is durable."""
    await frames_of(pushing, 1)
    await pushing.logs.close()
    flip(pushing.segments[0], place)
    await pushing.reopen()
    with pytest.raises(Corrupted, match=r"0\.log: the head of the file, at byte 0, is damaged"):
        await pushing.log.end()


async def test_a_short_head_is_damage_too(pushing: Pushing) -> None:
    """Segments appear by rename, whole."""
    await frames_of(pushing, 1)
    await pushing.logs.close()
    os.truncate(pushing.segments[0], 10)
    await pushing.reopen()
    with pytest.raises(Corrupted, match="the head of the file"):
        await pushing.log.end()


async def many_segments(pushing: Pushing) -> list[Path]:
    """Push until there are some segments, and return them."""
    for n in range(40):
        await pushing.push(f"b{n}", n)
    found: list[Path] = pushing.segments
    assert len(found) > 3
    return found


@pytest.mark.parametrize("place", [0, 20, 70, 200])
async def test_damage_in_an_older_segment_stops_the_reader(pushing: Pushing, place: int) -> None:
    """It is found when it is read, and says where."""
    older = (await many_segments(pushing))[1]
    await pushing.logs.close()
    begin = segment.load(older).begin
    flip(older, begin + place)
    await pushing.reopen()
    with pytest.raises(Corrupted, match=rf"{older.name}: damaged at byte {begin}, before record"):
        await pushing.numbers()


async def test_damage_is_found_by_a_reader_that_only_passes_over_it(pushing: Pushing) -> None:
    """Where the place of a record is looked for frame by frame."""
    older = (await many_segments(pushing))[1]
    await pushing.logs.close()
    flip(older, segment.load(older).begin)
    await pushing.reopen()
    with pytest.raises(Corrupted, match=f"{older.name}: damaged at byte"):
        await pushing.numbers(int(older.stem) + 1)


async def test_damage_after_whole_frames_is_found_by_the_next_read(pushing: Pushing) -> None:
    """The frames before it are good."""
    await many_segments(pushing)
    older = pushing.segments[1]
    last = int(pushing.segments[2].stem) - 1
    flip(older, older.stat().st_size - 10)
    found: list[int] = []
    with pytest.raises(Corrupted, match=rf"{older.name}: damaged at byte"):  # noqa: PT012 - the reading is what raises
        async for batch in pushing.batches(0):
            found += numbers_of(batch)
    assert found == list(range(last))


async def test_a_missing_segment_stops_the_reader(pushing: Pushing) -> None:
    """Records that were acknowledged are not there."""
    older = (await many_segments(pushing))[1]
    await pushing.logs.close()
    older.unlink()
    await pushing.reopen()
    with pytest.raises(Corrupted, match="batches are missing"):
        await pushing.numbers()


async def test_segments_of_two_logs_are_refused(pushing: Pushing, tmp_path: Path) -> None:
    """Whoever restores a backup may mix files up."""
    last = (await many_segments(pushing))[-1]
    other = Pushing(tmp_path / "other", segment_bytes=1)
    await other.send("a", b'{"x": 1}')
    await other.logs.close()
    await pushing.logs.close()
    shutil.copy(other.segments[0], last.with_name(f"{10**6:020d}.log"))
    await pushing.reopen()
    with pytest.raises(Corrupted, match="its schema is not that of"):
        await pushing.log.end()


async def test_what_was_being_made_when_it_crashed_is_removed(pushing: Pushing) -> None:
    """A segment without its name holds nothing."""
    await pushing.push("a", 1)
    await pushing.logs.close()
    left = pushing.folder / "00000000000000000001.new"
    left.write_bytes(b"half a head")
    await pushing.reopen()
    assert await pushing.numbers() == [1]
    assert not left.exists()


def failing(code: int, times: int, work: Callable[..., object]) -> Callable[..., object]:
    """Return ``work``, failing the first times it is called."""
    left = [times]

    def call(*args: object, **named: object) -> object:
        if left[0]:
            left[0] -= 1
            raise OSError(code, os.strerror(code))
        return work(*args, **named)

    return call


FULL = (errno.ENOSPC, "the disk is full; make room; nothing")
FAILING = (errno.EIO, "Input/output error; ")


@pytest.mark.parametrize("name", ["fsync", "pwrite"])
@pytest.mark.parametrize("fault", [FULL, FAILING])
async def test_a_failed_write_takes_nothing(
    pushing: Pushing, monkeypatch: pytest.MonkeyPatch, name: str, fault: tuple[int, str]
) -> None:
    """The batch may be pushed again under its id, and is taken then."""
    await pushing.push("a", 1)
    size = pushing.segments[0].stat().st_size
    code, message = fault
    monkeypatch.setattr(os, name, failing(code, 1, getattr(os, name)))
    with pytest.raises(Unavailable, match=message) as failed:
        await pushing.push("b", 2)
    assert failed.value.code is Code.STORAGE
    assert pushing.segments[0].stat().st_size == size
    assert await pushing.numbers() == [1]
    assert not (await pushing.push("b", 2)).duplicate
    await pushing.reopen()
    assert await pushing.numbers() == [1, 2]


async def test_what_cannot_be_taken_back_at_once_is_before_the_next_write(
    pushing: Pushing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next batch would stand behind one that nobody acknowledged."""
    await pushing.push("a", 1)
    size = pushing.segments[0].stat().st_size
    monkeypatch.setattr(os, "fsync", failing(errno.EIO, 1, os.fsync))
    monkeypatch.setattr(os, "ftruncate", failing(errno.EIO, 2, os.ftruncate))
    for _ in range(2):
        with pytest.raises(Unavailable, match="Input/output error"):
            await pushing.push("b", 2, 2, 2, 2)
    assert pushing.segments[0].stat().st_size > size
    await pushing.push("c", 3)
    await pushing.reopen()
    assert await pushing.numbers() == [1, 3]


async def test_a_segment_that_cannot_be_made_takes_nothing(
    pushing: Pushing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first batch of a log, and the first of each segment, need one."""
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC, 1, os.fsync))
    with pytest.raises(Unavailable, match="the disk is full"):
        await pushing.push("a", 1)
    assert await pushing.log.schema() is None
    await pushing.send("a", b'{"n": "another type"}')
    await pushing.reopen()
    assert [row async for batch in pushing.batches() for row in batch.to_pylist()] == [
        {"n": "another type"}
    ]


async def test_a_folder_that_is_a_file_says_so(tmp_path: Path) -> None:
    """The same for one without permission."""
    (tmp_path / "blocked").write_text("")
    blocked = Pushing(tmp_path / "blocked")
    with pytest.raises(Unavailable, match=r"blocked/p: .*must be able to read and write") as failed:
        await blocked.push("a", 1)
    assert failed.value.code is Code.STORAGE
    await blocked.logs.close()


@pytest.mark.parametrize(("name", "call"), [("unlink", "cut"), ("rmtree", "remove")])
async def test_what_cannot_be_deleted_says_so(
    pushing: Pushing, monkeypatch: pytest.MonkeyPatch, name: str, call: str
) -> None:
    """The next cut tries again."""
    await many_segments(pushing)
    where = Path if name == "unlink" else shutil
    monkeypatch.setattr(where, name, failing(errno.EACCES, 1, getattr(where, name)))
    work = pushing.log.cut(40) if call == "cut" else pushing.logs.remove(PipelineId("p"))
    with pytest.raises(Unavailable, match="Permission denied"):
        await work
    await pushing.log.cut(40)
    assert len(pushing.segments) == 1


async def test_a_file_that_cannot_be_read_at_the_moment_is_no_damage(
    pushing: Pushing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is tried again."""
    await pushing.push("a", 1)
    monkeypatch.setattr(os, "pread", failing(errno.EIO, 1, os.pread))
    with pytest.raises(Unavailable, match="Input/output error") as failed:
        await pushing.numbers()
    assert failed.value.code is Code.STORAGE
    assert await pushing.numbers() == [1]


async def test_a_batch_larger_than_a_read_comes_whole(
    pushing: Pushing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads are as large as the frame they find."""
    monkeypatch.setattr("dataflow.engine.ingest.reader.READ_BYTES", 100)
    await pushing.push("a", *range(500))
    await pushing.push("b", 500)
    assert await pushing.numbers() == list(range(501))
    assert await pushing.numbers(250) == list(range(250, 501))


async def test_places_are_known_without_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sparse index leads to a frame near each record, also after a restart."""
    monkeypatch.setattr(segment, "MARK_EVERY_BYTES", 1_000)
    large = Pushing(tmp_path / "large")
    for n in range(40):
        await large.push(f"b{n}", n)
    for _ in range(2):
        for start in (0, 1, 17, 39, 40):
            assert await large.numbers(start) == list(range(start, 40))
        _, whole = await large.log.behind(0)
        _, half = await large.log.behind(20)
        assert 0.4 * whole < half < 0.6 * whole
        await large.reopen()
    await large.logs.close()


def test_the_window_forgets_the_oldest() -> None:
    """And survives being packed, in order."""
    few = Window(batches_max=2)
    for n in range(3):
        few.add(f"b{n} ü", Taken(bytes([n]) * 16, n, 1))
    again = Window(batches_max=2)
    again.unpack(few.pack())
    assert few.get("b0 ü") is again.get("b0 ü") is None
    assert again.get("b1 ü") == Taken(b"\x01" * 16, 1, 1)
    again.add("b3", Taken(bytes(16), 3, 1))
    assert again.get("b1 ü") is None
    assert again.get("b2 ü")
    assert window.WINDOW_BATCHES == 10_000


def test_a_frame_survives_any_flipped_bit_only_by_being_refused() -> None:
    """The checksum covers all of it."""
    whole = b"".join(frame.encode(frame.Batch("id", b"d" * 16, 3, b"body" * 2), 5, 64, 9))
    found = frame.decode(memoryview(whole), 9)
    assert (found.batch_id, found.first, found.next_offset, found.group) == ("id", 5, 8, 64)
    assert bytes(found.body) == b"body" * 2
    for bit in range(len(whole) * 8):
        torn = bytearray(whole)
        torn[bit // 8] ^= 1 << bit % 8
        with pytest.raises(frame.Damaged):
            frame.decode(memoryview(torn), 9)
    with pytest.raises(frame.Damaged):
        frame.decode(memoryview(whole), 10)
