"""Input errors in words: which field, what is wrong, what would be right."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from fastapi.exceptions import RequestValidationError

from contracts.accounts import CREDENTIAL_KINDS

FieldMessage = tuple[str, str]
"""A field, and what is wrong with it and how to put it right."""

_CREDENTIALS: Final = frozenset().union(*CREDENTIAL_KINDS.values())

TAGGED: Final[Mapping[str, frozenset[str]]] = {
    "credentials": _CREDENTIALS,
    "source": _CREDENTIALS,
    "trigger": frozenset({"cron", "interval", "one_time", "expiry"}),
    "target": frozenset({"cloud_scan", "job"}),
    "exclude": frozenset({"dates", "window", "period"}),
    "when": frozenset({"finding", "resource"}),
    "": frozenset({"assign", "comment", "in_progress", "accept", "false_positive", "reopen"}),
}
"""Fields of several kinds, and a body of several: pydantic puts the chosen one into the path,
people do not."""

SAMPLES: Final[Mapping[str, str]] = {
    "credentials": '{"kind": "environment"}',
    "source": '{"kind": "environment"}',
    "trigger": '{"type": "cron", "cron": "0 2 * * *", "timezone": "Europe/Berlin"}',
    "target": '{"kind": "cloud_scan", "account_id": "…"}',
    "exclude": '{"type": "dates", "dates": ["12-25"]}',
    "filter": '{"environment": "production"}',
    "attributes": '{"environment": "production"}',
    "params": '{"account_id": "…"}',
    "tags": '{"environment": "production"}',
    "allows": '{"kind": "cidr", "value": "203.0.113.0/24"}',
    "when": '{"on": "finding", "source": ["nmap"], "check_id": ["ssl-cert"]}',
}

NAMING: Final = "Lower-case letters, digits and underscores, such as certificate."

SHAPES: Final[Mapping[str, str]] = {
    "regions": "A region is written like eu-west-1: lower-case letters, digits and dashes.",
    "services": "A name has letters, digits, dots, dashes and underscores, such as s3.",
    "checks": "A name has letters, digits, dots, dashes and underscores.",
    "frameworks": "A name has letters, digits, dots, dashes and underscores, such as CIS-5.0.",
    "role_arn": "Write it like arn:aws:iam::123456789012:role/name.",
    "profile": "Name a profile of the worker's AWS configuration.",
    "path": "Give an absolute path that exists on the workers.",
    "service_account": "Write it like name@project.iam.gserviceaccount.com.",
    "endpoint_url": "Write it like https://host:port, without user, password or spaces.",
    "idempotency-key": "Use 1 to 200 printable ASCII characters without spaces.",
    "when.check_id": "Write it like ssl-cert; * stands for any characters.",
    "tools": "A tool is written like nmap or trivy_k8s.",
    "policy": "`GET /scan-policies` lists them.",
    "types": "Write it like ec2_*_load_balancer; * stands for any characters.",
    "cursor": "Send the `next_cursor` of the page before, unchanged.",
    "tag": "Write it as key:value.",
    "tags": "The name of a tag has no colon and no comma.",
    "cron": 'Write it like "0 2 * * *", or "@daily"; several as a list.',
    "timezone": "Use an IANA name, such as Europe/Berlin.",
    "dates": "Write it like 2026-12-25, or 12-25 for every year.",
    "days": "Name days as mon, tue, wed, thu, fri, sat, sun.",
    "item_kind": NAMING,
    "kind": NAMING,
    "job": "`GET /jobs` lists them.",
}
"""What a field looks like, for the errors that a pattern or parser cannot put into words."""

A_TIME: Final = "Write it like 2026-01-31T00:00:00Z"
A_TIME_OF_DAY: Final = "Write it like 22:30."

KEY: Final = "[key]"
LABELS: Final = (KEY, "list[", "function-", "constrained-")
"""How pydantic labels a form of a value within the path of a field."""

INPUT_LIMIT = 80

Item = Mapping[str, Any]


def field_errors(error: RequestValidationError) -> list[FieldMessage]:
    """(field, message with the fix) of every wrong field, in the order they were found."""
    return validation_errors(error.errors())


def validation_errors(items: Iterable[Any], place: tuple[str, ...] = ()) -> list[FieldMessage]:
    """The same of pydantic's own errors; `place` is where what was validated stands."""
    placed = [{**item, "loc": (*place, *item["loc"])} for item in items]
    found = [(field_name(item["loc"], item["type"]), message_of(item)) for item in _meant(placed)]
    return list(dict.fromkeys(found))


def _meant(items: Sequence[Item]) -> list[Item]:
    """Of what may be one text or a list of them pydantic says what is wrong with it as either:
    only what is said of the form that was given."""
    return [item for item in items if _is_of_given_form(item)]


def _is_of_given_form(item: Item) -> bool:
    for position, part in enumerate(item["loc"]):
        if _is_label(part) and part != KEY:
            inside = position < len(item["loc"]) - 1
            is_list = inside or isinstance(item["input"], list)
            return is_list is str(part).startswith("list[")
    return True


def _is_label(part: Any) -> bool:
    return isinstance(part, str) and part.startswith(LABELS)


def field_name(loc: tuple[Any, ...], kind: str = "") -> str:
    """`regions[0]` for ('body', 'regions', 0); list filters and the body itself have no index."""
    place, *path = loc
    if kind == "json_invalid" or not path:
        return "body"
    if place == "query":
        return str(path[0])
    name, above = "", ""
    for position, part in enumerate(path):
        if isinstance(part, int):
            name += f"[{part}]"
        elif _is_label(part):
            continue
        elif part in TAGGED.get(above, ()) and position < len(path) - 1:
            above = ""
        else:
            name += f".{part}" if name else str(part)
            above = part
    return name


def message_of(item: Item) -> str:
    """One sentence on what is wrong and one on what would be right."""
    words = MESSAGES.get(item["type"])
    return words(item) if words else f"{item['msg']}.{_shape(item)}"


def _shown(item: Item) -> str:
    given = item.get("input")
    text = "null" if given is None else str(given).encode("utf-8", "replace").decode()
    return f"`{text[:INPUT_LIMIT]}{'…' if len(text) > INPUT_LIMIT else ''}`"


def _names(expected: str) -> str:
    return ", ".join(re.findall(r"'([^']*)'", expected))


def _shape(item: Item) -> str:
    within = "when." if "when" in item["loc"] else ""
    for part in reversed(item["loc"][1:]):
        if words := SHAPES.get(f"{within}{part}", SHAPES.get(part)):
            return f" {words}"
    return ""


def _form(item: Item) -> str:
    return _shape(item) or f" Its form is `{item['ctx']['pattern']}`, a regular expression."


def _sample(item: Item) -> str:
    named = [part for part in item["loc"] if part in SAMPLES]
    return f", such as {SAMPLES[named[-1]]}" if named else ""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".")


def _extra(item: Item) -> str:
    known = (item.get("ctx") or {}).get("known")
    return f"There is no such parameter. Known: {known}." if known else "There is no such field."


def _length(item: Item) -> str:
    bounds = item["ctx"]
    least, most = bounds.get("min_length"), bounds.get("max_length")
    is_text = item["type"].startswith("string_") or isinstance(item.get("input"), str)
    number, limit = (most, "at most") if least is None else (least, "at least")
    unit = ("character" if is_text else "value") + ("" if number == 1 else "s")
    return f"It must have {limit} {number} {unit}.{_shape(item)}"


def _bound(words: str, name: str) -> Callable[[Item], str]:
    return lambda item: f"It must be {words} {item['ctx'][name]}."


def _a_time(item: Item) -> str:
    return f"{A_TIME} (a + in a URL is %2B)." if item["loc"][0] == "query" else f"{A_TIME}."


def _no_time(item: Item) -> str:
    return f"{_shown(item)} is not a time. {_a_time(item)}"


def _no_time_of_day(item: Item) -> str:
    return f"{_shown(item)} is not a time of day. {A_TIME_OF_DAY}"


def _no_number(item: Item) -> str:
    return f"{_shown(item)} is not a whole number."


def _not_allowed(item: Item) -> str:
    return f"{_shown(item)} is not allowed. Allowed: {_names(item['ctx']['expected'])}."


def _unknown_tag(item: Item) -> str:
    name = _names(item["ctx"]["discriminator"])
    tag = str(item["ctx"]["tag"]).encode("utf-8", "replace").decode()[:INPUT_LIMIT]
    allowed = _names(item["ctx"]["expected_tags"])
    return f"`{tag}` is not allowed as `{name}`. Allowed: {allowed}."


def _no_tag(item: Item) -> str:
    return f"It needs `{_names(item['ctx']['discriminator'])}`{_sample(item)}."


def _no_object(item: Item) -> str:
    if len(item["loc"]) > 1:
        return f"It must be a JSON object{_sample(item)}."
    return "It must be a JSON object, sent with Content-Type: application/json."


MESSAGES: Final[Mapping[str, Callable[[Item], str]]] = {
    "missing": lambda item: "It is required.",
    "extra_forbidden": _extra,
    "enum": _not_allowed,
    "literal_error": _not_allowed,
    "union_tag_invalid": _unknown_tag,
    "union_tag_not_found": _no_tag,
    "uuid_parsing": lambda item: f"{_shown(item)} is not a UUID.",
    "uuid_type": lambda item: f"{_shown(item)} is not a UUID.",
    "bool_parsing": lambda item: f"{_shown(item)} is neither true nor false.",
    "bool_type": lambda item: f"{_shown(item)} is neither true nor false.",
    "int_parsing": _no_number,
    "int_type": _no_number,
    "int_from_float": _no_number,
    "int_parsing_size": lambda item: "It is too large a number.",
    "greater_than_equal": _bound("at least", "ge"),
    "greater_than": _bound("more than", "gt"),
    "less_than_equal": _bound("at most", "le"),
    "less_than": _bound("less than", "lt"),
    "string_type": lambda item: f"It must be a string.{_shape(item)}",
    "list_type": lambda item: f"It must be a list.{_shape(item)}",
    "dict_type": _no_object,
    "datetime_from_date_parsing": _no_time,
    "datetime_parsing": _no_time,
    "datetime_type": _no_time,
    "timezone_aware": lambda item: f"The time zone is missing. {_a_time(item)}",
    "time_parsing": _no_time_of_day,
    "time_type": _no_time_of_day,
    "string_pattern_mismatch": lambda item: (
        f"{_shown(item)} is not in the right form.{_form(item)}"
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
    "model_type": _no_object,
    "model_attributes_type": _no_object,
}
