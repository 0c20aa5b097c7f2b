"""From the AWS API to rows of the stand-in's tables, in the shape that Steampipe gives them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import jmespath  # type: ignore[import-untyped]  # comes with botocore, without types
from botocore.exceptions import BotoCoreError, ClientError

from demo.steampipe_standin_sources import Item, Source
from demo.steampipe_standin_tables import SOURCES

GLOBAL: Final = "global"
SDK_VERSION: Final = "5.13.1"

# Columns that are no text, by name: the plugin's own types.
_KINDS: Final = {
    "boolean": "encrypted enable is_default is_attached is_aws_managed public publicly_accessible "
    "storage_encrypted multi_az deletion_protection rotation_enabled private_zone enabled "
    "map_public_ip_on_launch is_multi_region_trail log_file_validation_enabled "
    "at_rest_encryption_enabled transit_encryption_enabled sqs_managed_sse_enabled",
    "bigint": "size volume_size memory_size timeout min_size max_size desired_capacity "
    "desired_count running_tasks_count number_of_recovery_points number_of_archives "
    "size_in_bytes latest_version_number port resource_record_set_count attachment_count "
    "allocated_storage number_of_nodes retention_in_days stored_bytes max_session_duration",
    "timestamp with time zone": "launch_time start_time create_date creation_date created_at "
    "created_on create_time created last_modified last_modified_date last_rotated_date "
    "valid_until password_last_used created_date subscribed_at",
    "inet": "public_ip_address private_ip_address public_ip association_public_ip",
    "cidr": "cidr_block",
    "jsonb": "akas tags account_aliases command sp_ctx _ctx",
}
TYPES: Final = {name: kind for kind, names in _KINDS.items() for name in names.split()}

COMMON: Final = ("title", "akas", "tags", "region", "partition", "account_id")
STEAMPIPE: Final = ("sp_connection_name", "sp_ctx", "_ctx")
"""The last columns of every table."""

_TAG_FORMS: Final = (("Key", "Value"), ("key", "value"), ("TagKey", "TagValue"))

ClientOf = Callable[[str, str], Any]
"""A boto3 client by service and region."""


class TableRows(NamedTuple):
    """What one table holds, or why it could not be read."""

    table: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    error: str | None


def columns_of(source: Source) -> tuple[str, ...]:
    """The columns of a table, in Steampipe's order: own, common, then Steampipe's."""
    own = [pair.partition("=")[0] for pair in source.columns.split()]
    return tuple(dict.fromkeys((*own, *COMMON, *STEAMPIPE)))


def read_everything(
    connection: str, account_uid: str, regions: Sequence[str], client_of: ClientOf
) -> Iterator[TableRows]:
    """Every table of one account; a call that fails, fails its table only."""
    for source in SOURCES:
        columns = columns_of(source)
        rows: list[tuple[Any, ...]] = []
        error = None
        for region in regions[:1] if source.is_global else regions:
            try:
                items = list(source.fetch(client_of(source.service, region)))
            except (ClientError, BotoCoreError) as failure:
                error = f"{connection}: {failure}"
                break
            place = GLOBAL if source.is_global else region
            rows += [_row(source, columns, item, place, account_uid, connection) for item in items]
        yield TableRows(source.table, columns, rows, error)


def _row(
    source: Source,
    columns: tuple[str, ...],
    item: Item,
    region: str,
    account_uid: str,
    connection: str,
) -> tuple[Any, ...]:
    aka = _filled(source.aka, item, region, account_uid)
    context = {"connection_name": connection, "steampipe": {"sdk_version": SDK_VERSION}}
    title = aka.rpartition(":")[2] if source.title == "@last" else _find(source.title, item)
    values: dict[str, Any] = {
        "title": title or aka,
        "akas": [aka],
        "tags": _tags(_find(source.tags, item)),
        "region": region,
        "partition": "aws",
        "account_id": account_uid,
        "sp_connection_name": connection,
        "sp_ctx": context,
        "_ctx": context,
    }
    for pair in source.columns.split():
        name, _, expression = pair.partition("=")
        values[name] = aka if expression == "@aka" else _find(expression, item)
    return tuple(_value(name, values[name]) for name in columns)


def _filled(template: str, item: Item, region: str, account_uid: str) -> str:
    if not template.startswith("arn:"):
        return str(_find(template, item))
    return template.format_map({**item, "region": region, "account": account_uid})


def _find(expression: str, item: Item) -> Any:
    return jmespath.search(expression, item)


def _tags(tags: Any) -> dict[str, str] | None:
    """Tags as one object, from whichever form the service has."""
    if isinstance(tags, list):
        key, value = next(
            (names for names in _TAG_FORMS if tags and names[0] in tags[0]), _TAG_FORMS[0]
        )
        tags = {tag[key]: tag.get(value, "") for tag in tags}
    return tags or None


def _value(name: str, value: Any) -> Any:
    """The value as asyncpg wants it for the column's type."""
    kind = TYPES.get(name, "text")
    if value is None:
        return None
    if kind == "jsonb":
        return json.dumps(value, default=str, sort_keys=True)
    if kind == "bigint":
        return int(value)
    if kind == "boolean":
        return value if isinstance(value, bool) else str(value).lower() == "true"
    if kind == "timestamp with time zone":
        return _time(value)
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _time(value: Any) -> datetime | None:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value if value.tzinfo else None
