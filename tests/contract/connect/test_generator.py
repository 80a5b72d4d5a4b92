"""The generator passes the suite, with an end and without one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from dataflow.connect import Pinned, SourceStep
from dataflow.connect.spec import parse
from dataflow.connect.testkit import SourceSuite, context
from dataflow.connectors.generator import GeneratorOptions, GeneratorPosition
from dataflow.connectors.generator_source import Generator, open_source


class TestGenerator(SourceSuite[GeneratorPosition, Pinned]):
    """Fifty rows, seven a batch."""

    position = GeneratorPosition
    pinned = Pinned
    options: ClassVar[Mapping[str, Any]] = {"rows": 50, "seed": 7}

    def source(self) -> Generator:
        step = SourceStep("generator", batch_size=7)
        return open_source(step, parse(GeneratorOptions, json.dumps(dict(self.options))), context())


class TestEndlessGenerator(TestGenerator):
    """Rows for ever; the suite reads fifty of them."""

    options: ClassVar[Mapping[str, Any]] = {"seed": 7}
    records_max = 50
