"""Scanners that are Python packages: each in an environment of its own, made once.

Apart from ours, because they pin what we use too.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import ScannerMissing

_OWNED = ".cloudsweep-environment"  # written first: this directory is ours to remove
_STAMP = ".cloudsweep-installed"  # written last: everything before it is complete


@dataclass(frozen=True)
class Recipe:
    """What one environment holds. `serving` are requirements that do as well as its own."""

    label: str
    package: str
    version: str
    requirements: Path
    serving: tuple[Path, ...] = ()
    compiled: tuple[str, ...] = ()
    """Packages below site-packages to compile at once, or the first scans would each do it."""
    elsewhere: str = "Remove it, or move it away."
    """What helps when its place holds something else."""


def install(recipe: Recipe, target: Path) -> Path:
    """Make `target` such an environment and return its Python.

    Does nothing, and needs no network, when it is there already; one left half-made is made
    again. Raises ScannerMissing when it cannot be made.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target.with_name(target.name + ".lock")):
        if not is_installed(recipe, target):
            _make(recipe, target)
    return target / "bin" / "python"


def is_installed(recipe: Recipe, target: Path) -> bool:
    """True for a complete environment of this recipe, also one that somebody else made.

    Raises ScannerMissing for somebody else's environment with another version.
    """
    try:
        stamp = json.loads((target / _STAMP).read_text())
    except (OSError, ValueError):
        return not (target / _OWNED).exists() and _is_foreign(recipe, target)
    alive = (target / "bin" / "python").exists()  # false when the base interpreter was removed
    serving = (recipe.requirements, *recipe.serving)
    return alive and stamp in [{"digest": _digest(each)} for each in serving]


def _digest(requirements: Path) -> str:
    interpreter = f"{sys.version_info.major}.{sys.version_info.minor}"
    return hashlib.sha256(requirements.read_bytes() + interpreter.encode()).hexdigest()


def _is_foreign(recipe: Recipe, target: Path) -> bool:
    """True when somebody else's environment at `target` holds the right version."""
    python = target / "bin" / "python"
    if not python.exists():
        return False
    question = f"from importlib.metadata import version; print(version({recipe.package!r}))"
    answer = subprocess.run(  # noqa: S603 (the interpreter that the settings name)
        [python, "-I", "-c", question], capture_output=True, text=True, check=False
    )
    if answer.stdout.strip() != recipe.version:
        found = answer.stdout.strip() or "none"
        raise ScannerMissing(
            f"{python} holds {recipe.label} {found}, and {recipe.version} is needed",
            fix=f"Install {recipe.package}=={recipe.version} there, or: {recipe.elsewhere}",
        )
    return True


def _make(recipe: Recipe, target: Path) -> None:
    leftover = target.with_name(target.name + ".old")
    shutil.rmtree(leftover, ignore_errors=True)
    if target.exists() and any(target.iterdir()):
        if not (target / _OWNED).exists():
            raise ScannerMissing(
                f"{target} is not empty and was not made by Cloudsweep", fix=recipe.elsewhere
            )
        target.rename(leftover)  # at once: a removal cut short must not leave a broken `target`
        shutil.rmtree(leftover)
    target.mkdir(parents=True, exist_ok=True)
    (target / _OWNED).touch()
    venv.EnvBuilder(symlinks=True).create(target)  # no pip inside: ours installs into it, faster
    python = target / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install"]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    wanted = ["--no-deps", "--no-compile", "--requirement", str(recipe.requirements)]
    _run(recipe, [*pip, *quiet, *wanted])
    packages = target / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    places = (packages / "site-packages" / name for name in recipe.compiled)
    compiled = [str(path) for path in places if path.exists()]
    if compiled:  # on all cores
        _run(recipe, [str(python), "-m", "compileall", "-q", "-j", "0", *compiled])
    partial = target / f"{_STAMP}.{os.getpid()}"
    partial.write_text(json.dumps({"digest": _digest(recipe.requirements)}))
    partial.replace(target / _STAMP)


def _run(recipe: Recipe, command: list[str]) -> None:
    done = subprocess.run(  # noqa: S603 (a fixed command)
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise ScannerMissing(
            f"{recipe.label} could not be installed: {words}",
            fix="Check that pip reaches its package index, then install again.",
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two installs at once: the second waits, then finds the work done."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
