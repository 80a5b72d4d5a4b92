"""What each operation of a bound tree computes: one table, one module for each family.

A module maps the names of operations to builders. A builder is called once, when the expression
is compiled; what it returns is called for every batch and does nothing but call kernels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dataflow.expressions.kernels.casts import CASTS
from dataflow.expressions.kernels.choices import CHOICES
from dataflow.expressions.kernels.comparisons import COMPARISONS
from dataflow.expressions.kernels.moments import MOMENTS
from dataflow.expressions.kernels.nested import NESTED
from dataflow.expressions.kernels.numbers import NUMBERS
from dataflow.expressions.kernels.step import Builder
from dataflow.expressions.kernels.texts import TEXTS

KERNELS: Final[Mapping[str, Builder]] = {
    **CASTS,
    **CHOICES,
    **COMPARISONS,
    **MOMENTS,
    **NESTED,
    **NUMBERS,
    **TEXTS,
}
