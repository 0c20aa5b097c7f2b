"""Policies of native scanners are read strictly and lie within their bounds."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from contracts.native import MAX_PORTS, POLICIES, ScanPolicy


def test_the_named_policies_are_as_fast_as_their_names_say() -> None:
    assert [
        (name, each.timing, each.rate) for name, each in POLICIES.items()
    ] == [("gentle", 2, 50), ("normal", 3, 300), ("fast", 4, 2_000)]  # fmt: skip


@pytest.mark.parametrize(
    "field",
    [
        {"rate": 0}, {"rate": 2_001}, {"rate": "50"}, {"rate": 5.0}, {"timing": 5}, {"nice": -1},
        {"parallelism": 51}, {"time_limit_seconds": 100_000}, {"memory_limit_mb": 1},
        {"output_limit_mb": 2_000}, {"checks": "all"}, {"flags": "--script=x"}, {"name": "-x"},
        {"ports": "-oN=/tmp/x"}, {"ports": "443,80"}, {"ports": "80,80"}, {"ports": "0"},
        {"ports": "1-65535"}, {"ports": "80,"}, {"ports": "٨٠"}, {"ports": "T:80"},
        {"ports": "90-80"}, {"ports": " 80"}, {"ports": "65536"}, {"ports": ""},
    ],
    ids=str,
)  # fmt: skip
def test_a_policy_out_of_bounds_or_of_another_type_is_refused(field: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ScanPolicy.model_validate({"name": "ours"} | field)


def test_a_teams_own_policy_within_the_bounds_is_read_from_json() -> None:
    policy = ScanPolicy.model_validate_json('{"name": "ours", "rate": 10, "ports": "22,8000-8010"}')
    assert (policy.rate, policy.ports, policy.checks) == (10, "22,8000-8010", "standard")
    assert ScanPolicy(name="all", ports=f"1-{MAX_PORTS}").ports == f"1-{MAX_PORTS}"
