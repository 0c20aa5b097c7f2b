"""Reports as somebody who means harm would write them: any value anywhere in a sound one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

HOSTILE = st.sampled_from(
    [
        "",
        "\x1b[2J",
        "\x00",
        "\ud800",
        "\u202e",
        "-x",
        "a" * 10_000,
        "CVE-2020-1",
        "http://[",
        "1e999",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | HOSTILE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def mutated(content: Any, data: st.DataObject) -> Any:
    """The same with one to three of its values replaced."""
    places = list(_places(content))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(places))
        try:
            content = _with(content, place, data.draw(VALUES))
        except (KeyError, IndexError, TypeError):
            continue  # an earlier value stands in the way
    return content


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, (dict, list)):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _places(each, (*path, key))


def _with(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    if not path:
        return other
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _with(value[path[0]], path[1:], other)
    return copy
