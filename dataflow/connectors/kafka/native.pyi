# Records of Kafka to columns and back; native.c says how, and `make setup` builds it.
#
# A column is three buffers: a bit a record, or None where all are there; 64-bit ends with a 0 in
# front; and bytes.

from collections.abc import Sequence
from typing import Literal, TypeAlias

from typing_extensions import Buffer, CapsuleType

Column: TypeAlias = tuple[Buffer | None, Buffer, Buffer]
Headers: TypeAlias = Sequence[tuple[str, bytes | None]]
Group: TypeAlias = tuple[
    str,
    int,
    bytes,
    Column,
    Column | None,
    bytes | None,
    Sequence[Headers | Literal[False] | None] | None,
]
Error: TypeAlias = tuple[str | None, int, int, int, str]

def newest() -> CapsuleType: ...
def failure(client: CapsuleType, /) -> int: ...
def queue(client: CapsuleType, owner: object, /) -> CapsuleType: ...
def forward(client: CapsuleType, queue: CapsuleType, topic: str, partition: int, /) -> None: ...
def drain(
    queue: CapsuleType, most: int, wait_ms: int, wanted: int, /
) -> tuple[Sequence[Group], Sequence[Error]]: ...
def produce(
    client: CapsuleType,
    topic: str,
    values: Column,
    gap: int,
    keys: Column | None,
    times_ms: Buffer | None,
    /,
) -> int: ...
