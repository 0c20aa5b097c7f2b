"""Input errors in words: which field, what is wrong, what would be right."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from fastapi.exceptions import RequestValidationError

from contracts.accounts import CREDENTIAL_KINDS

TAGS: frozenset[str] = frozenset().union(*CREDENTIAL_KINDS.values())
"""Kinds of credentials: pydantic puts the chosen one into the path of a field, people do not."""

SHAPES = {
    "regions": "A region is written like eu-west-1: lower-case letters, digits and dashes.",
    "services": "A name has letters, digits, dots, dashes and underscores, such as s3.",
    "checks": "A name has letters, digits, dots, dashes and underscores.",
    "frameworks": "A name has letters, digits, dots, dashes and underscores, such as CIS-5.0.",
    "role_arn": "Write it like arn:aws:iam::123456789012:role/name.",
    "profile": "Name a profile of the worker's AWS configuration.",
    "path": "Give an absolute path that exists on the workers.",
    "service_account": "Write it like name@project.iam.gserviceaccount.com.",
    "endpoint_url": "Write it like https://host:port, without user, password or spaces.",
    "Idempotency-Key": "Use 1 to 200 printable ASCII characters without spaces.",
    "first_seen_after": "Write it like 2026-01-31T00:00:00Z (a + in a URL is %2B).",
    "cursor": "Send the `next_cursor` of the page before, unchanged.",
    "tag": "Write it as key:value.",
}
"""What a field looks like, for the errors that a pattern or parser cannot put into words."""

INPUT_LIMIT = 80


def field_errors(error: RequestValidationError) -> list[tuple[str, str]]:
    """(field, message with the fix) of every wrong field, in the order they were found."""
    found = [(field_name(item["loc"], item["type"]), message_of(item)) for item in error.errors()]
    return list(dict.fromkeys(found))


def field_name(loc: tuple[Any, ...], kind: str = "") -> str:
    """`regions[0]` for ('body', 'regions', 0); list filters and the body itself have no index."""
    place, *path = loc
    if kind == "json_invalid" or not path:
        return "body"
    if place == "query":
        return str(path[0])
    name = ""
    for position, part in enumerate(path):
        if isinstance(part, int):
            name += f"[{part}]"
        elif part not in TAGS or position == len(path) - 1:
            name += f".{part}" if name else str(part)
    return name


def message_of(item: dict[str, Any]) -> str:
    """One sentence on what is wrong and one on what would be right."""
    words = MESSAGES.get(item["type"])
    return words(item) if words else f"{item['msg']}.{_shape(item)}"


def _shown(item: dict[str, Any]) -> str:
    text = str(item.get("input"))
    return f"`{text[:INPUT_LIMIT]}{'…' if len(text) > INPUT_LIMIT else ''}`"


def _names(expected: str) -> str:
    return ", ".join(re.findall(r"'([^']*)'", expected))


def _shape(item: dict[str, Any]) -> str:
    for part in reversed(item["loc"][1:]):
        if part in SHAPES:
            return f" {SHAPES[part]}"
    return ""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".")


def _extra(item: dict[str, Any]) -> str:
    known = (item.get("ctx") or {}).get("known")
    return f"There is no such parameter. Known: {known}." if known else "There is no such field."


def _length(item: dict[str, Any]) -> str:
    bounds = item["ctx"]
    least, most = bounds.get("min_length"), bounds.get("max_length")
    unit = "values" if item["type"] in ("too_short", "too_long") else "characters"
    limit = f"at least {least}" if least is not None else f"at most {most}"
    return f"It must have {limit} {unit}.{_shape(item)}"


MESSAGES: dict[str, Callable[[dict[str, Any]], str]] = {
    "missing": lambda item: "It is required.",
    "extra_forbidden": _extra,
    "enum": lambda item: (
        f"{_shown(item)} is not allowed. Allowed: {_names(item['ctx']['expected'])}."
    ),
    "literal_error": lambda item: (
        f"{_shown(item)} is not allowed. Allowed: {_names(item['ctx']['expected'])}."
    ),
    "union_tag_invalid": lambda item: (
        f"`{item['ctx']['tag']}` is not a kind of it. "
        f"Allowed as `kind`: {_names(item['ctx']['expected_tags'])}."
    ),
    "union_tag_not_found": lambda item: 'It needs a `kind`, such as {"kind": "environment"}.',
    "uuid_parsing": lambda item: f"{_shown(item)} is not a UUID.",
    "uuid_type": lambda item: f"{_shown(item)} is not a UUID.",
    "bool_parsing": lambda item: f"{_shown(item)} is neither true nor false.",
    "int_parsing": lambda item: f"{_shown(item)} is not a whole number.",
    "datetime_from_date_parsing": lambda item: f"{_shown(item)} is not a time.{_shape(item)}",
    "datetime_parsing": lambda item: f"{_shown(item)} is not a time.{_shape(item)}",
    "timezone_aware": lambda item: f"The time zone is missing.{_shape(item)}",
    "string_pattern_mismatch": lambda item: (
        f"{_shown(item)} is not in the right form.{_shape(item)}"
    ),
    "string_too_short": _length,
    "string_too_long": _length,
    "too_short": _length,
    "too_long": _length,
    "string_unicode": lambda item: "It is not valid Unicode.",
    "value_error": lambda item: f"{_sentence(str(item['msg']).removeprefix('Value error, '))}.",
    "json_invalid": lambda item: (
        f"It is not valid JSON: {item['ctx']['error']} at character {item['loc'][-1]}."
    ),
    "model_attributes_type": lambda item: (
        "It must be a JSON object, sent with Content-Type: application/json."
    ),
}
