"""The table of docs/targets.md names every rule and every network that the code refuses."""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path

from contracts.vocabulary import TargetRule
from scanners.targets.address_policy import FORBIDDEN, PRIVATE

PAGE = (Path(__file__).parents[2] / "docs" / "targets.md").read_text()


def test_every_rule_is_told_with_exactly_its_networks() -> None:
    rows = dict(
        re.findall(r"^\| `(\w+)` \| (.+?) \|", PAGE.partition("\n| rule |")[2], re.MULTILINE)
    )
    assert set(rows) == set(TargetRule)
    refused: dict[str, set[str]] = {}
    for row in FORBIDDEN:
        refused.setdefault(row.rule, set()).update(map(str, row.networks))
    refused[TargetRule.PRIVATE] = set(map(str, PRIVATE))
    for rule, networks in refused.items():
        told = re.findall(r"[0-9a-f.:]+/[0-9]+", rows[rule])
        assert {str(ip_network(each)) for each in told} == networks, rule
