"""Whether Temporal is somewhere else; apart from `temporal.py`, which loads the whole SDK."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

FILE_SELECTORS: Final = ("TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE")
SELECTORS: Final = ("TEMPORAL_ADDRESS", *FILE_SELECTORS)


def is_external(environment: Mapping[str, str] = os.environ) -> bool:
    """True when the environment names a Temporal of its own, so that none is started here."""
    return any(environment.get(name) for name in SELECTORS)
