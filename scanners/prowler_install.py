"""The Prowler environment: made once, apart from ours, because Prowler pins what we use too."""

from __future__ import annotations

import argparse
import asyncio
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
from pathlib import Path

from contracts.errors import ScannerMissing
from contracts.vocabulary import Provider
from runtime.settings import Settings, get_settings
from scanners.prowler_runner.check_texts import FORMAT as TEXTS_FORMAT

PROWLER_VERSION = "5.46.0"
_HERE = Path(__file__).parent
_TEXTS = "cloudsweep-texts"
_OWNED = ".cloudsweep-environment"  # written first: this directory is ours to remove
_STAMP = ".cloudsweep-installed"  # written last: everything before it is complete
_COMPILED = ("prowler/lib", "prowler/config", "prowler/providers/aws", "prowler/providers/common")


def environment_of(python: Path) -> Path:
    """The environment that an interpreter at `<environment>/bin/python` belongs to."""
    return python.parent.parent


def texts_directories(settings: Settings) -> list[Path]:
    """Where what Prowler knows of its checks may be kept, the best place first."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    beside = environment_of(settings.prowler_python) / _TEXTS
    return [beside.absolute(), cache / "cloudsweep" / _TEXTS]


def texts_name(provider: Provider) -> str:
    """The file in one of these directories that can be read without Prowler."""
    return f"{PROWLER_VERSION}-{provider.value}-{TEXTS_FORMAT}.json"


def install_prowler(target: Path, *, full: bool = False) -> Path:
    """Make `target` an environment with Prowler and return its Python.

    Light by default (AWS only); `full` adds what Azure, GCP and Kubernetes need. Does nothing, and
    needs no network, when the environment is there already; one left half-made is made again.
    Raises ScannerMissing when it cannot be made.
    """
    python = target / "bin" / "python"
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target.with_name(target.name + ".lock")):
        if not _is_installed(target, full=full):
            _make(target, full=full)
    return python


def _requirements(full: bool) -> Path:
    return _HERE / f"requirements-prowler-{'full' if full else 'aws'}.txt"


def _digest(full: bool) -> str:
    interpreter = f"{sys.version_info.major}.{sys.version_info.minor}"
    return hashlib.sha256(_requirements(full).read_bytes() + interpreter.encode()).hexdigest()


def _is_installed(target: Path, *, full: bool) -> bool:
    """True for a complete environment of this version; a full one serves as a light one too."""
    try:
        stamp = json.loads((target / _STAMP).read_text())
    except (OSError, ValueError):
        return not (target / _OWNED).exists() and _is_foreign(target)
    alive = (target / "bin" / "python").exists()  # false when the base interpreter was removed
    return alive and stamp in ({"digest": _digest(True)}, {"digest": _digest(full)})


def _is_foreign(target: Path) -> bool:
    """True when somebody else's environment at `target` holds the right Prowler."""
    python = target / "bin" / "python"
    if not python.exists():
        return False
    question = "from importlib.metadata import version; print(version('prowler'))"
    answer = subprocess.run(  # noqa: S603 (the interpreter that the settings name)
        [python, "-I", "-c", question], capture_output=True, text=True, check=False
    )
    if answer.stdout.strip() != PROWLER_VERSION:
        found = answer.stdout.strip() or "none"
        raise ScannerMissing(
            f"{python} holds Prowler {found}, and {PROWLER_VERSION} is needed",
            fix=f"Install prowler=={PROWLER_VERSION} there, or let CLOUDSWEEP_PROWLER_PYTHON "
            "name a path that does not exist yet.",
        )
    return True


def _make(target: Path, *, full: bool) -> None:
    leftover = target.with_name(target.name + ".old")
    shutil.rmtree(leftover, ignore_errors=True)
    if target.exists() and any(target.iterdir()):
        if not (target / _OWNED).exists():
            raise ScannerMissing(
                f"{target} is not empty and was not made by Cloudsweep",
                fix="Let CLOUDSWEEP_PROWLER_PYTHON name a path that does not exist yet.",
            )
        target.rename(leftover)  # at once: a removal cut short must not leave a broken `target`
        shutil.rmtree(leftover)
    target.mkdir(parents=True, exist_ok=True)
    (target / _OWNED).touch()
    venv.EnvBuilder(symlinks=True).create(target)  # no pip inside: ours installs into it, faster
    python = target / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install"]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    _run([*pip, *quiet, "--no-deps", "--no-compile", "--requirement", str(_requirements(full))])
    # Compiled here, on all cores, for otherwise the first scans would each do it again.
    packages = target / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    compiled = [path for name in _COMPILED if (path := packages / "site-packages" / name).exists()]
    if compiled:
        _run([str(python), "-m", "compileall", "-q", "-j", "0", *map(str, compiled)])
    partial = target / f"{_STAMP}.{os.getpid()}"
    partial.write_text(json.dumps({"digest": _digest(full)}))
    partial.replace(target / _STAMP)


def _run(command: list[str]) -> None:
    done = subprocess.run(  # noqa: S603 (a fixed command)
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise ScannerMissing(
            f"Prowler could not be installed: {words}",
            fix="Check that pip reaches its package index, then install again.",
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two installs at once: the second waits, then finds the work done."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def set_up(settings: Settings, *, full: bool = False) -> Path:
    """Install Prowler where the settings expect it and keep what it knows of its checks.

    Seconds when all is there. Raises ScannerMissing when it cannot be done.
    """
    from scanners.prowler_catalogue import load_catalogue  # it needs this module

    async def prepare() -> None:
        for provider in Provider if full else (Provider.AWS,):
            await load_catalogue(settings, provider)

    python = install_prowler(environment_of(settings.prowler_python), full=full)
    asyncio.run(prepare())
    return python


def main() -> None:
    """`python -m scanners.prowler_install`: set up where the settings expect it."""
    parser = argparse.ArgumentParser(prog="scanners.prowler_install", description=__doc__)
    parser.add_argument(
        "--all-providers", action="store_true", help="Azure, GCP and Kubernetes too, about 2 GB"
    )
    options = parser.parse_args()
    try:
        python = set_up(get_settings(), full=options.all_providers)
    except ScannerMissing as error:
        sys.exit(f"{error.message}\n{error.fix or ''}")
    sys.stdout.write(f"Prowler {PROWLER_VERSION} is ready: {python}\n")


if __name__ == "__main__":
    main()
