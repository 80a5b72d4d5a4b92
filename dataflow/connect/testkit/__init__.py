"""The suites that a source, transform or sink must pass, for its author's tests.

Subclass the suite in a test module and say how to build what is tested; pytest (in asyncio's auto
mode) finds the tests by their names. Nothing here imports pytest, so they run anywhere:

* ``SourceSuite``
* ``TransformSuite``, or ``OperatorSuite`` for a step with a memory
* ``LookupSuite``
* ``StagingSinkSuite``, or ``InPlaceSinkSuite`` where readers may see rows before their decision
* ``TransactionalSinkSuite``
* ``IdempotentSinkSuite``
* ``AtLeastOnceSinkSuite``

Every test asks for a new place to read from or write to. What a sink leaves there is judged by
what its readers see.
"""

from dataflow.connect.testkit.at_least_once import AtLeastOnceSinkSuite
from dataflow.connect.testkit.crashes import Crashes, Died
from dataflow.connect.testkit.idempotent import IdempotentSinkSuite
from dataflow.connect.testkit.lookup import LookupSuite
from dataflow.connect.testkit.operator import OperatorSuite
from dataflow.connect.testkit.places import SinkPlace, context, ids_in, rows, task
from dataflow.connect.testkit.source import SourceSuite
from dataflow.connect.testkit.staging import InPlaceSinkSuite, StagingSinkSuite
from dataflow.connect.testkit.transactional import TransactionalSinkSuite
from dataflow.connect.testkit.transform import TransformSuite

__all__ = [
    "AtLeastOnceSinkSuite",
    "Crashes",
    "Died",
    "IdempotentSinkSuite",
    "InPlaceSinkSuite",
    "LookupSuite",
    "OperatorSuite",
    "SinkPlace",
    "SourceSuite",
    "StagingSinkSuite",
    "TransactionalSinkSuite",
    "TransformSuite",
    "context",
    "ids_in",
    "rows",
    "task",
]
