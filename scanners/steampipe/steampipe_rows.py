"""From one row of a Steampipe table to one observed resource."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from contracts.observations import ObservedResource
from scanners.steampipe.steampipe_tables import GLOBAL, TableSpec


def observe(spec: TableSpec, row: Mapping[str, Any]) -> ObservedResource | None:
    """The resource in a row; None when nothing in the row identifies it."""
    uid = _uid(spec, row)
    if uid is None:
        return None
    region = row.get(spec.region) if spec.region else None
    return ObservedResource(
        uid=uid,
        type=spec.type,
        name=str(row.get(spec.name) or uid),
        region=str(region or GLOBAL).lower(),
        tags=_tags(row.get(spec.tags)),
        attributes={
            column: _plain(row[column]) for column in spec.attributes if row.get(column) is not None
        },
    )


def _uid(spec: TableSpec, row: Mapping[str, Any]) -> str | None:
    own = None if spec.uid == "akas" else row.get(spec.uid)
    if own:
        return str(own)
    akas = row.get("akas")
    return str(akas[0]) if isinstance(akas, list) and akas and akas[0] else None


def _tags(tags: Any) -> dict[str, str]:
    if not isinstance(tags, dict):
        return {}
    return {str(key): "" if value is None else str(value) for key, value in tags.items()}


def _plain(value: Any) -> Any:
    """A value as JSON has it: times in RFC 3339, addresses and networks as text."""
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, date):  # datetimes too
        return value.isoformat()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return None if value is None else str(value)
