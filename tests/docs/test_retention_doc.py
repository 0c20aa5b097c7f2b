"""The tables of docs/retention.md say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from contracts.retention import CRITERIA, DEFAULT_DAYS
from contracts.vocabulary import RetentionKind
from runtime import policies
from runtime.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "retention.md").read_text()


def table(heading: str) -> list[list[str]]:
    """The rows of the table with this heading; code marks are left out."""
    _, _, rest = PAGE.partition(f"{heading} |\n")
    lines = rest.splitlines()[1:]
    end = next((n for n, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return [
        [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        for line in lines[:end]
    ]


def test_the_defaults_are_told_in_the_order_of_the_work() -> None:
    told = [
        (row[0], row[1]) for row in table("| kind | kept by default | what is deleted | as old as")
    ]
    assert told == [(kind.value, f"{DEFAULT_DAYS[kind]} days") for kind in RetentionKind]


def test_what_a_hold_may_name_is_told() -> None:
    told = {row[0]: set(row[1].split(", ")) for row in table("| kind | a hold may name")}
    assert told == {kind.value: set(names) for kind, names in CRITERIA.items()}


def test_the_setting_and_the_size_of_a_batch_are_the_real_ones() -> None:
    assert "archive_directory" in Settings.model_fields
    assert "CLOUDSWEEP_ARCHIVE_DIRECTORY" in PAGE
    assert re.search(rf"up to {policies.RETENTION_BATCH:,} rows", PAGE)
