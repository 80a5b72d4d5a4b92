"""Inputs: orders whose every cell depends on the row's number alone, made once and kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import polars as pl

DATA = Path(__file__).parents[1] / "data" / "bench"
CHUNK_ROWS = 500_000
SEED = 0x9E3779B97F4A7C15

FIRST_NAMES = ("Ada", "Bo", "Chloe", "Dmitri", "Elif", "Femi", "Grace", "Hiro")
COUNTRIES = ("DE", "FR", "GB", "JP", "US", "BR")
TAGS_MAX = 5
STATES = ("new", "paid", "shipped", "returned")


def orders(rows: int, suffix: Literal["csv", "ndjson"]) -> Path:
    """Return a file of so many orders; a shorter file is the beginning of a longer one."""
    return _made(DATA / f"orders-{rows}.{suffix}", rows, _orders)


def readings(rows: int, keys: int) -> Path:
    """Return a CSV file of so many whole numbers, each with one of so many keys."""

    def chunk(first: int, rows: int) -> pl.DataFrame:
        number = pl.int_range(first, first + rows, dtype=pl.UInt64, eager=True).alias("number")
        draw = _draws(number)
        key, value = draw(1) % keys, draw(2) % 1_000
        return pl.DataFrame({"key": key.cast(pl.Int64), "value": value.cast(pl.Int64)})

    return _made(DATA / f"readings-{keys}-{rows}.csv", rows, chunk)


def tagged(rows: int) -> Path:
    """Return a CSV file of so many orders with up to five tags each, in one column."""

    def chunk(first: int, rows: int) -> pl.DataFrame:
        number = pl.int_range(first, first + rows, dtype=pl.UInt64, eager=True).alias("number")
        draw = _draws(number)
        tags = [_one_of(STATES + FIRST_NAMES, draw(at)).alias(f"t{at}") for at in range(TAGS_MAX)]
        many = draw(TAGS_MAX) % (TAGS_MAX + 1)
        there = [pl.when(pl.lit(many) > at).then(tag) for at, tag in enumerate(tags)]
        joined = pl.concat_str(there, separator=";", ignore_nulls=True).replace("", None)
        country = _one_of(COUNTRIES, draw(TAGS_MAX + 1))
        frame = pl.DataFrame({"id": number.cast(pl.Int64), "country": country})
        return frame.with_columns(joined.alias("tags"))

    return _made(DATA / f"tagged-{rows}.csv", rows, chunk)


def names(keys: int) -> Path:
    """Return a CSV file with a name for each of so many keys, the least ones."""

    def chunk(first: int, rows: int) -> pl.DataFrame:
        number = pl.int_range(first, first + rows, eager=True)
        return pl.DataFrame({"key": number, "name": pl.Series(["name "]) + number.cast(pl.String)})

    return _made(DATA / f"names-{keys}.csv", keys, chunk)


def _made(path: Path, rows: int, chunk_of: Callable[[int, int], pl.DataFrame]) -> Path:
    """Return a file of so many rows, made if it is not there."""
    if path.exists():
        return path
    DATA.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        for first in range(0, rows, CHUNK_ROWS):
            chunk = chunk_of(first, min(CHUNK_ROWS, rows - first))
            if path.suffix == ".csv":
                chunk.write_csv(file, include_header=first == 0)
            else:
                chunk.write_ndjson(file)
    part.rename(path)
    return path


def _orders(first: int, rows: int) -> pl.DataFrame:
    number = pl.int_range(first, first + rows, dtype=pl.UInt64, eager=True).alias("number")
    draw = _draws(number)
    return pl.DataFrame(
        {
            "id": number.cast(pl.Int64),
            "customer": _one_of(FIRST_NAMES, draw(1))
            + pl.Series([" "])
            + (draw(2) % 90_000 + 10_000).cast(pl.String),
            "country": _one_of(COUNTRIES, draw(3)),
            "state": _one_of(STATES, draw(4)),
            "quantity": (draw(5) % 20 + 1).cast(pl.Int64),
            "price": ((draw(6) % 200_000).cast(pl.Float64) / 100).round(2),
            "reference": draw(7).cast(pl.String),
        }
    )


def _draws(number: pl.Series) -> Callable[[int], pl.Series]:
    """Return a function from a column's number to a random whole number of 31 bits a row."""

    def draw(column: int) -> pl.Series:
        # Two rounds of a linear generator (Knuth's MMIX), whose upper half alone is good.
        mixed = number * 8 + column + SEED
        for _ in range(2):
            mixed = mixed * 6364136223846793005 + 1442695040888963407
            mixed = mixed // (1 << 33) + mixed % (1 << 33) * (1 << 31)
        return mixed // (1 << 33)

    return draw


def _one_of(words: tuple[str, ...], draw: pl.Series) -> pl.Series:
    return pl.Series(words).gather(draw % len(words))
