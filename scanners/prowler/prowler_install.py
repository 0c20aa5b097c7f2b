"""Making the Prowler environment: its packages, and what Prowler knows of its checks."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from contracts.errors import ScannerMissing
from contracts.vocabulary import CLOUDS, Provider
from runtime.settings import Settings, get_settings
from scanners.processes.environments import Recipe, install
from scanners.prowler.prowler_catalogue import load_catalogue
from scanners.prowler.prowler_environment import PROWLER_VERSION, environment_of

_HERE = Path(__file__).parents[1]
_COMPILED = ("prowler/lib", "prowler/config", "prowler/providers/aws", "prowler/providers/common")


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

    async def prepare() -> None:
        for provider in CLOUDS if full else (Provider.AWS,):
            await load_catalogue(settings, provider)

    python = install_prowler(environment_of(settings.prowler_python), full=full)
    asyncio.run(prepare())
    return python


def main() -> None:
    """`python -m scanners.prowler.prowler_install`: set up where the settings expect it."""
    parser = argparse.ArgumentParser(prog="scanners.prowler.prowler_install", description=__doc__)
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
