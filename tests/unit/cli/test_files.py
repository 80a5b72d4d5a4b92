"""YAML as it is read: no surprise becomes a spec."""

from __future__ import annotations

import yaml

from dataflow.cli.files import Loader


def test_moments_stay_text() -> None:
    """They are passed on as JSON, which has no dates."""
    assert yaml.load("at: 2026-05-01", Loader) == {"at": "2026-05-01"}  # noqa: S506 - a SafeLoader


def test_the_order_of_keys_is_kept() -> None:
    """Computed columns are computed in it."""
    assert list(yaml.load("{b: 1, a: 2}", Loader)) == ["b", "a"]  # noqa: S506 - a SafeLoader


def test_the_library_s_own_loader_is_left_alone() -> None:
    """Its tables are shared by every user in the process."""
    assert yaml.safe_load("at: 2026-05-01")["at"].year == 2026
