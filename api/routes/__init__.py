"""One module per noun of the API."""

from __future__ import annotations

from typing import Final

BASE: Final = "/api/v1"
