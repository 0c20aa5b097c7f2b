"""The Prowler environment: which version is in it, where it is, and what is kept beside it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from contracts.vocabulary import Provider
from runtime.settings import Settings
from scanners.prowler_runner.check_texts import FORMAT as TEXTS_FORMAT

PROWLER_VERSION: Final = "5.46.0"
_TEXTS: Final = "cloudsweep-texts"


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
