"""From whatever was raised to the error that a pipeline shows."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from dataflow.core import messages as m
from dataflow.core.errors import Corrupted, DataFlowError, Rejected
from dataflow.core.events import ErrorType, PipelineError

STACK_TRACE_MAX = 8_000
"""Characters, from the end: the journal keeps every failure for ever."""

MESSAGE_MAX = 10_000
"""Characters, from the beginning; some drivers quote all that they were given."""


class StepFailed(Exception):
    """An error, and whose it was."""

    def __init__(self, error_type: ErrorType, step: str) -> None:
        super().__init__(f"{error_type} {step!r} failed")
        self.error_type = error_type
        self.step = step


@contextmanager
def blaming(error_type: ErrorType, step: str) -> Iterator[None]:
    """Say of every error in the block whose it was; the innermost block wins."""
    try:
        yield
    except StepFailed:
        raise
    except Exception as error:
        raise StepFailed(error_type, step) from error


def pipeline_error(error: BaseException) -> PipelineError:
    """Return the error of a failed run.

    What a connector did not foresee is retried like what passes: a bug is reported with its
    stack trace, and ends the pipeline after its attempts.
    """
    failed = first_of(error)
    cause = failed.__cause__ if isinstance(failed, StepFailed) and failed.__cause__ else failed
    cause = first_of(cause)
    expected = isinstance(cause, DataFlowError)
    return PipelineError(
        error_type=failed.error_type if isinstance(failed, StepFailed) else ErrorType.SYSTEM,
        code=cause.code if isinstance(cause, DataFlowError) else type(cause).__name__,
        message=str(cause) if expected else f"{type(cause).__name__}: {cause}",
        stack_trace="" if expected else _stack_trace(cause),
        retryable=not isinstance(cause, Rejected | Corrupted),
        step=failed.step if isinstance(failed, StepFailed) else "",
    )


def shortened(error: PipelineError) -> PipelineError:
    """Return an error as long as may be kept, AFTER its secrets were hidden: half of one is one."""
    message, trace = error.message[:MESSAGE_MAX], error.stack_trace[-STACK_TRACE_MAX:]
    return replace(error, message=message, stack_trace=trace)


def unsaid(message: m.ToOwner, hide: Callable[[str], str]) -> m.ToOwner:
    """Return what a worker says, which is journalled and shown, without the secrets in it."""
    match message:
        case m.Failed():
            told = message.error
            told = replace(told, message=hide(told.message), stack_trace=hide(told.stack_trace))
            return replace(message, error=shortened(told))
        case m.Progress() if message.detail:
            return replace(message, detail=hide(message.detail))
        case _:
            return message


def hidden_in(error: DataFlowError, hide: Callable[[str], str]) -> DataFlowError:
    """Return the same error, with its message rid of secrets."""
    error.message = hide(error.message)
    error.args = (hide(str(error)),)
    return error


def first_of(error: BaseException) -> BaseException:
    """Return the error itself, or the first that a group of tasks has gathered."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _stack_trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
