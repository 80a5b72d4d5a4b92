"""What went wrong at the brokers, in the engine's words: who can mend it, and whether to retry."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock

from confluent_kafka import KafkaError, KafkaException

from dataflow.connect import Rejected, Unavailable

UNKNOWN = "OUTCOME_UNKNOWN"

_UNKNOWN_TOPIC = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC)  # noqa: SLF001 - its name
_FENCED = (
    KafkaError._FENCED,  # noqa: SLF001 - the driver's names of its own codes
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
)
_PASSING = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.UNSTABLE_OFFSET_COMMIT,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError._TRANSPORT,  # noqa: SLF001 - its name
    KafkaError._WAIT_COORD,  # noqa: SLF001 - its name
)
"""What a broker says that has just started, or is no longer the one to ask."""

_NO_TLS = (
    "no TLS with the brokers: name who signed their certificate in caFile, and give a"
    " certificateFile with its keyFile if they want one"
)

_REMEDIES: Mapping[int, tuple[str, str]] = {
    KafkaError._AUTHENTICATION: (  # noqa: SLF001 - its name
        "options.security",
        "the brokers refuse this login",
    ),
    KafkaError.SASL_AUTHENTICATION_FAILED: ("options.security", "the brokers refuse this login"),
    KafkaError._SSL: ("options.security", _NO_TLS),  # noqa: SLF001 - its name
    KafkaError.TOPIC_AUTHORIZATION_FAILED: (
        "options.topic",
        "not allowed: grant this login READ (source) or READ and WRITE (sink) on the topic",
    ),
    KafkaError.GROUP_AUTHORIZATION_FAILED: (
        "options.group",
        "not allowed: grant this login READ on the consumer group",
    ),
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: (
        "options.security.username",
        "not allowed: grant this login WRITE and DESCRIBE on the transactional id",
    ),
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: (
        "options.security.username",
        "not allowed: grant this login IDEMPOTENT_WRITE on the cluster",
    ),
    KafkaError.INVALID_TRANSACTION_TIMEOUT: (
        "options.transactionTimeout",
        "longer than the brokers allow (transaction.max.timeout.ms); choose a shorter one",
    ),
}


class Heard:
    """What a client told of its connections; its calls only time out, and do not say why."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._last: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        """Take note of an error; called by the client's own threads."""
        if (
            "tls alert" in error.str()
        ):  # the driver takes a refused certificate for a lost connection
            error = KafkaError(KafkaError._SSL, error.str())  # noqa: SLF001 - its name
        tells_nothing = error.code() == KafkaError._ALL_BROKERS_DOWN  # noqa: SLF001 - its name
        with self._lock:
            if not tells_nothing and (self._last is None or self._last.code() not in _REMEDIES):
                self._last = error

    def forget(self) -> None:
        """Take note that the brokers have answered: what was refused before has been mended."""
        with self._lock:
            self._last = None

    @property
    def last(self) -> str:
        """Return what was heard last, if anything was since the brokers answered."""
        with self._lock:
            return f" ({self._last.str()})" if self._last is not None else ""

    @property
    def refusal(self) -> KafkaError | None:
        """Return what somebody has to mend, if anything is."""
        with self._lock:
            last = self._last
        return last if last is not None and last.code() in _REMEDIES else None


def error_of(raised: KafkaException) -> KafkaError:
    """Return what an exception of the driver carries."""
    found: KafkaError = raised.args[0]
    return found


def is_passing(error: KafkaError) -> bool:
    """Tell whether the same request may soon succeed."""
    return error.retriable() or error.code() in _PASSING


def is_fenced(error: KafkaError) -> bool:
    """Tell whether another producer has taken the transactional id."""
    return error.code() in _FENCED


def _refused(error: KafkaError) -> bool:
    """Tell whether it is a record that brokers do not take, whoever sends it and when."""
    return error.code() in {
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.MSG_SIZE_TOO_LARGE,
    }


def translated(
    raised: KafkaException, what: str, heard: Heard | None = None, code: str = ""
) -> Rejected | Unavailable:
    """Return an error as the engine knows it.

    Args:
        raised: by the driver.
        what: was being done, and where.
        heard: what the client told before.
        code: of the error, where it is one to try again.
    """
    error = error_of(raised)
    if heard is not None and error.code() not in _REMEDIES:
        error = heard.refusal or error
    if error.code() in _UNKNOWN_TOPIC:
        message = f"{what}: there is no such topic; create it, or mend its name"
        return Rejected(message, field="connectionString")
    if _refused(error):
        message = f"{what}: the brokers refuse a record: {error.str()}"
        return Rejected(message, code="RECORD_REJECTED")
    if error.code() in _REMEDIES:
        field, remedy = _REMEDIES[error.code()]
        return Rejected(f"{what}: {remedy} ({error.str()})", field=field)
    message = f"{what}: {error.str()}{heard.last if heard is not None else ''}"
    return Unavailable(message, code=code) if code else Unavailable(message)
