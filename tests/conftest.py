"""What holds for every test: none is judged by its time, which a busy machine decides."""

from __future__ import annotations

from hypothesis import settings

pytest_plugins = ["tests.servers", "tests.keyspaces", "tests.databases", "tests.flights"]

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
