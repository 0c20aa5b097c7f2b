"""The tables and diagrams of docs/vulnerabilities.md say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from contracts.sla import SlaDays
from contracts.vocabulary import FindingState, Severity, VulnerabilityStatus
from storage.vulnerabilities.decisions import FROM

PAGE = (Path(__file__).parents[2] / "docs" / "vulnerabilities.md").read_text()


def table(first: str) -> list[list[str]]:
    """The rows of the table whose first column has this heading; code marks are left out."""
    lines = PAGE.splitlines()
    start = lines.index(next(line for line in lines if line.startswith(f"| {first} |")))
    found = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip().replace("`", "") for cell in line.strip("|").split("|")])
    return found


def arrows(number: int) -> list[tuple[str, str, str]]:
    """(from, to, why) of one of the diagrams."""
    diagram = PAGE.split("```mermaid\n")[number + 1].split("```")[0]
    return re.findall(r"^ +(\S+) --> (\S+): (.+)$", diagram, re.MULTILINE)


def test_actions_are_possible_where_the_table_says() -> None:
    told = {action: states for action, states, *_ in table("action")}
    for action, allowed in FROM.items():
        assert told.pop(action) == ", ".join(status.value for status in allowed)
    assert set(told.values()) == {"any"}


def test_the_diagrams_know_every_state_and_the_arrows_of_every_action() -> None:
    assert {name for start, end, _ in arrows(0) for name in (start, end)} == {
        "[*]", *(state.value for state in FindingState),
    }  # fmt: skip
    told = arrows(1)
    assert {name for start, end, _ in told for name in (start, end)} == {
        "[*]", *(status.value for status in VulnerabilityStatus),
    }  # fmt: skip
    words = {"in_progress": "begin", "accept": "accept"}
    for action, allowed in FROM.items():
        begun = {start for start, _, why in told if why.startswith(words.get(action, action))}
        assert begun == {status.value for status in allowed}, action


def test_the_days_are_the_defaults() -> None:
    told = {row[0]: row[1] for row in table("severity")}
    days = SlaDays().model_dump()
    assert told == {
        severity.value: "never" if days[severity.value] is None else str(days[severity.value])
        for severity in Severity
    }
