"""The Prowler environment: where it is, what is in it, and what is kept beside it."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from contracts.errors import ScannerMissing
from contracts.vocabulary import CLOUDS, Provider
from runtime.settings import Settings, get_settings
from scanners.environments import Recipe, install
from scanners.prowler_runner.check_texts import FORMAT as TEXTS_FORMAT

PROWLER_VERSION = "5.46.0"
_HERE = Path(__file__).parent
_TEXTS = "cloudsweep-texts"
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

    Light by default (AWS only); `full` adds what Azure, GCP and Kubernetes need, and serves as a
    light one too. Raises ScannerMissing when it cannot be made.
    """
    recipe = Recipe(
        label="Prowler",
        package="prowler",
        version=PROWLER_VERSION,
        requirements=_requirements(full),
        serving=(_requirements(True),),
        compiled=_COMPILED,
        elsewhere="Let CLOUDSWEEP_PROWLER_PYTHON name a path that does not exist yet.",
    )
    return install(recipe, target)


def _requirements(full: bool) -> Path:
    return _HERE / f"requirements-prowler-{'full' if full else 'aws'}.txt"


def set_up(settings: Settings, *, full: bool = False) -> Path:
    """Install Prowler where the settings expect it and keep what it knows of its checks.

    Seconds when all is there. Raises ScannerMissing when it cannot be done.
    """
    from scanners.prowler_catalogue import load_catalogue  # it needs this module

    async def prepare() -> None:
        for provider in CLOUDS if full else (Provider.AWS,):
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
