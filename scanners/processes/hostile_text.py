"""Text that a scanned system could have chosen, made harmless once: where it is parsed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

SHORT: Final = 300
LONG: Final = 4_000
MANY: Final = 50

_CUT: Final = "…"
_LARGEST: Final = 10**30
_CVE: Final = re.compile(r"CVE-(?:19|20)\d\d-\d{4,7}(?!\d)")


def line(value: object, limit: int = SHORT) -> str:
    """One line of at most `limit` characters; nothing in it moves a cursor or turns text around."""
    return _visible(_text(value, limit).strip(), limit, keeps_lines=False)


def lines(value: object, limit: int = LONG) -> str:
    """The same, but line breaks stay."""
    text = _text(value, limit).replace("\r\n", "\n").strip()
    return _visible(text, limit, keeps_lines=True)


def cves(values: Iterable[object]) -> tuple[str, ...]:
    """The CVE numbers in these texts, each once, at most MANY."""
    found: dict[str, None] = {}
    for value in values:
        for number in _CVE.findall(_text(value, LONG).upper()):
            found[number] = None
    return tuple(found)[:MANY]


def links(values: object) -> tuple[str, ...]:
    """The web addresses among these values: http and https alone, for people may follow them."""
    if isinstance(values, str):
        values = [values]
    if not isinstance(values, (list, tuple)):
        return ()
    plain = (line(value, 500) for value in values[:MANY] if isinstance(value, str))
    return tuple(dict.fromkeys(x for x in plain if x.startswith(("https://", "http://"))))


def _text(value: object, limit: int) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value[: limit + 1]  # before any work: it may be of many megabytes
    if isinstance(value, int) and abs(value) > _LARGEST:
        return "a very large number"  # Python refuses to write one of thousands of digits
    return str(value)[: limit + 1] if isinstance(value, (int, float)) else ""


def _visible(text: str, limit: int, *, keeps_lines: bool) -> str:
    if not text.isprintable():  # rare: spaces are printable, line breaks are not
        text = "".join(
            each if _is_harmless(each, keeps_lines=keeps_lines) else _escaped(each) for each in text
        )
    return text if len(text) <= limit else text[: limit - 1] + _CUT


def _is_harmless(each: str, *, keeps_lines: bool) -> bool:
    return each.isprintable() or (keeps_lines and each in "\n\t")


def _escaped(each: str) -> str:
    """A character as Python writes it in a string, except spaces of other kinds."""
    if unicodedata.category(each) == "Zs":
        return " "
    number = ord(each)
    if each in "\n\t\r":
        return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}[each]
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x1_0000 else f"\\U{number:08x}"
