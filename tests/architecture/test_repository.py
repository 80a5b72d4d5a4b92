"""Rules about what is checked in: programs, targets, the lock file, and no trace of a machine."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = CONFIG["project"]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
TARGETS = (
    *("setup", "run", "test", "check", "bench", "stack-up", "stack-down"),
    *("lock", "proto"),
)
LAUNCHERS = {"dataflow": "dataflow-standalone"}
"""Program -> its launcher, where the names differ: cmd/dataflow.py would shadow the package."""
MACHINE_PATH = re.compile(r"(?<![\w./-])/(?:home|root|Users|work)/\w")

SHORT_PATH_PARTS = 2
"""A checkout in /app or /src, as in a container, has a path that other files may well name."""


def checked_in() -> list[Path]:
    """List the text files that git has or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def package_name(requirement: str) -> str:
    """Return the name in a requirement the way that package indexes compare names."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0]).lower()


def test_cmd_never_shadows_the_standard_library() -> None:
    """A package named cmd would break pdb, and with it python -m pytest."""
    assert list((ROOT / "cmd").rglob("__init__.py")) == []


def test_every_installed_program_has_a_launcher() -> None:
    """The folder cmd is the list of programs, for a checkout and for a wheel alike."""
    expected = {LAUNCHERS.get(name, name) for name in PROJECT["scripts"]}
    assert {path.stem for path in (ROOT / "cmd").glob("*.py")} == expected


@pytest.mark.parametrize("program", PROJECT["scripts"])
def test_a_launcher_starts_what_the_installed_program_starts(program: str) -> None:
    """Two ways to start one program must not drift apart."""
    module, function = PROJECT["scripts"][program].split(":")
    launcher = ROOT / "cmd" / f"{LAUNCHERS.get(program, program)}.py"
    assert f"from {module} import {function}" in launcher.read_text(encoding="utf-8").splitlines()


def test_no_launcher_shadows_the_package() -> None:
    """Python puts a script's folder first: cmd/dataflow.py would hide the package from all."""
    assert not (ROOT / "cmd" / "dataflow.py").exists()


@pytest.mark.parametrize("target", TARGETS)
def test_make_knows_the_target(target: str) -> None:
    """Scripts rely on these names, and a file of the same name must not stop one of them."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^[\w -]*\b{target}\b[\w -]*:(?!=)", makefile, re.MULTILINE)
    assert re.search(rf"^\.PHONY:.*\s{target}(\s|$)", makefile, re.MULTILINE)


def test_the_lock_names_versions_and_hashes_only() -> None:
    """An address or a path in the lock would send every installation to one machine."""
    allowed = re.compile(
        r"[A-Za-z0-9][\w.-]*==[\w.+!]+( ; [^\\]+)? \\"
        r"|    --hash=sha256:[0-9a-f]{64}( \\)?"
        r"|    # via( [\w.()-]+)*|    #   [\w. ()-]+|# [\w :]+|"
    )
    assert [line for line in LOCK if not allowed.fullmatch(line)] == []


def test_the_lock_holds_everything_the_project_asks_for() -> None:
    """A dependency that is missing from the lock would be missing after make setup."""
    locked = {package_name(line) for line in LOCK if line[:1].isalnum()}
    asked = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    assert {package_name(requirement) for requirement in asked} - locked == set()


def test_nothing_checked_in_names_a_machine() -> None:
    """A path of the machine that a file was written on works nowhere else."""
    own = f"{ROOT}{os.sep}" if len(ROOT.parts) > SHORT_PATH_PARTS else "\0"
    naming = []
    for path in checked_in():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if own in text or MACHINE_PATH.search(text):
            naming.append(path.relative_to(ROOT).as_posix())
    assert naming == []


def test_no_private_key_is_checked_in() -> None:
    """One that everybody has protects nobody, and somebody will use it; tests make their own."""
    begins = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
    assert [path for path in checked_in() if begins.search(path.read_bytes())] == []


def test_generated_code_is_not_checked_in() -> None:
    """A checked-in copy of what make proto writes can go stale; one that is made cannot."""
    assert [path for path in checked_in() if path.is_relative_to(ROOT / "dataflow" / "v1")] == []


def test_types_are_checked_wherever_there_is_python() -> None:
    """Mypy reads the folders it is told, so a new one would go unchecked in silence."""
    python = {path.relative_to(ROOT).parts[0] for path in checked_in() if path.suffix == ".py"}
    assert python == set(CONFIG["tool"]["mypy"]["files"])
