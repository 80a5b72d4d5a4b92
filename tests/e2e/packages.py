"""Connectors of other people, as pip would have installed them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def installed(
    folder: Path, name: str, modules: Mapping[str, str], entry_points: Mapping[str, str]
) -> dict[str, str]:
    """Put a package into a folder; return the variable by which a program finds it there."""
    (folder / name).mkdir(parents=True)
    for module, text in modules.items():
        (folder / name / module).write_text(text)
    told = folder / f"{name}-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{entry} = {where}\n" for entry, where in entry_points.items()]
    (told / "entry_points.txt").write_text("".join(["[dataflow.connectors]\n", *lines]))
    path = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(path)}
