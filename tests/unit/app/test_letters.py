"""What nodes ask each other of dead letters arrives as it was asked."""

from __future__ import annotations

from dataflow.app import questions as q
from dataflow.app.letters import AboutLetters, LetterCauses, LettersPurged
from dataflow.core.ids import PipelineId
from dataflow.server import backend as b


def test_a_question_about_letters_arrives_whole() -> None:
    """A filter or a patch that is lost on the way would replay, or purge, something else."""
    wanted = b.Wanted(("a/1", "a/2"), "step", "no number")
    patch = b.Patch((b.Setting("a", "1"), b.Setting("b", "2")), "{}")
    asked = AboutLetters(PipelineId("p"), "a/3", 7, wanted, b.ReplayLetters("r", wanted, patch))
    for question in (q.DEAD_LETTERS, q.LETTER_CAUSES, q.PURGE_LETTERS, q.REPLAY_LETTERS):
        assert question.question.read(question.question.write(asked)) == asked


def test_an_answer_about_letters_arrives_whole() -> None:
    """The one who asked is told how many are left."""
    causes = LetterCauses((b.Cause("step", "no number", 3, "a/1"),))
    assert q.LETTER_CAUSES.reply.read(q.LETTER_CAUSES.reply.write(causes)) == causes
    purged = LettersPurged(3)
    assert q.PURGE_LETTERS.reply.read(q.PURGE_LETTERS.reply.write(purged)) == purged
    replay = b.Replay("r", 3, 2)
    assert q.REPLAY_LETTERS.reply.read(q.REPLAY_LETTERS.reply.write(replay)) == replay
