"""What docs/scanners.md says of scan policies is what their contract holds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, get_args

from contracts.native import MAX_PORTS, POLICIES, USUAL_PORTS, PolicyLimits

DOC: Final = Path(__file__).parents[2] / "docs" / "scanners.md"
UNITS: Final = {"": 1, "s": 1, "min": 60, "h": 3_600, "MB": 1}
HEAD: Final = ["field", "", "gentle", "normal", "fast", "bounds"]


def test_every_limit_is_told_with_its_values_and_bounds() -> None:
    table = _table()
    assert set(table) == set(PolicyLimits.model_fields)
    for name in set(table) - {"checks", "ports"}:
        _, *values, bounds = table[name]
        told = [_number(value) for value in values]
        assert told == [getattr(POLICIES[policy], name) for policy in HEAD[2:5]], name
        unit = bounds.split()[-1] if bounds.split()[-1] in UNITS else ""
        low, high = (_number(part, unit) for part in bounds.split(" to "))
        assert (low, high) == _bounds(name), name


def test_words_are_told_as_they_are() -> None:
    _, *checks, words = _table()["checks"]
    assert checks == [POLICIES[policy].checks for policy in HEAD[2:5]]
    assert words.split(", ") == list(get_args(PolicyLimits.model_fields["checks"].annotation))
    _, *ports, most = _table()["ports"]
    assert (ports, most) == (["usual ones"] * 3, f"at most {MAX_PORTS:,}")
    assert {policy.ports for policy in POLICIES.values()} == {USUAL_PORTS}


def _table() -> dict[str, list[str]]:
    """The cells of each row of the table of limits, by the name of its field."""
    lines = DOC.read_text().splitlines()
    begin = lines.index(f"| {' | '.join(HEAD)} |".replace("|  |", "| |"))
    rows = dict[str, list[str]]()
    for line in lines[begin + 2 :]:
        if not line.startswith("|"):
            break
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        rows[name.strip("`")] = cells
    return rows


def _number(text: str, unit: str = "") -> int:
    """`2 h` in seconds, `1,024 MB` in MB, `2` in the unit that is given."""
    found = re.fullmatch(r"([\d,]+) ?([A-Za-z]*)", text)
    assert found, text
    return int(found[1].replace(",", "")) * UNITS[found[2] or unit]


def _bounds(name: str) -> tuple[int, int]:
    metadata = PolicyLimits.model_fields[name].metadata
    low = next(each.ge for each in metadata if hasattr(each, "ge"))
    high = next(each.le for each in metadata if hasattr(each, "le"))
    return low, high
