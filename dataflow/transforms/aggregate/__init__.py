"""``aggregate``: groups of rows to one row each, whole or by windows of event time.

``spec`` and what it imports (``options``, ``calls``) know no Arrow. ``operator`` is the step:
``intake`` turns a batch into the columns that are grouped, ``table`` keeps partial aggregates,
``windows`` and ``sessions`` say which of them belong together and when they are complete.
"""
