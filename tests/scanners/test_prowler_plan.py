"""Shards: every planned check in every region exactly once, and clear words for unknown names."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.errors import ScopeInvalid
from contracts.vocabulary import Provider, Severity
from runtime.settings import Settings
from scanners.prowler.prowler_catalogue import Catalogue, load_catalogue
from scanners.prowler.prowler_plan import ProwlerShard, plan_shards
from scanners.prowler.prowler_services import REGIONAL_SERVICES

FEW = ["eu-central-1", "eu-west-1", "us-east-1", "us-east-2"]
MANY = [*FEW, *(f"ap-region-{number}" for number in range(1, 14))]


def plan(
    catalogue: Catalogue,
    regions: list[str],
    *,
    size: int = 5,
    services: list[str] | None = None,
    checks: list[str] | None = None,
    frameworks: list[str] | None = None,
) -> list[ProwlerShard]:
    return plan_shards(
        catalogue,
        regions=regions,
        home_region="us-east-1",
        services=services,
        checks=checks,
        frameworks=frameworks,
        region_batch_size=size,
    )


def pairs(shards: list[ProwlerShard]) -> Counter[tuple[str, str]]:
    return Counter(
        (check, region) for shard in shards for check in shard.checks for region in shard.regions
    )


def test_few_regions_make_few_shards_without_batches(catalogue: Catalogue) -> None:
    shards = plan(catalogue, FEW)
    assert 3 <= len(shards) <= 4
    assert all(shard.regions == FEW and shard.batch == 0 for shard in shards)
    assert "compute/eu-central-1+3" in [shard.key for shard in shards]


def test_many_regions_split_what_is_regional_and_nothing_else(catalogue: Catalogue) -> None:
    shards = plan(catalogue, MANY)
    for shard in shards:
        regional = {check.split("_")[0] in REGIONAL_SERVICES for check in shard.checks}
        assert len(regional) == 1
        assert len(shard.regions) <= 5 if regional == {True} else shard.regions == sorted(MANY)
    assert {shard.batch for shard in shards} == {0, 1, 2, 3}
    assert len(shards) < 15


def test_a_few_checks_in_many_regions_are_one_shard(catalogue: Catalogue) -> None:
    checks = ["ec2_ebs_default_encryption", "iam_avoid_root_usage", "rds_instance_multi_az"]
    (shard,) = plan(catalogue, MANY, checks=checks)
    assert (shard.checks, shard.regions) == (checks, sorted(MANY))
    assert len(plan(catalogue, MANY, services=["ec2"])) == 4


@given(
    regions=st.sets(st.sampled_from(MANY), min_size=1),
    size=st.integers(1, 20),
    services=st.none()
    | st.sets(st.sampled_from(["s3", "iam", "ec2", "sqs", "kms", "rds", "glue"]), min_size=1),
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_each_check_is_planned_once_in_each_region(
    catalogue: Catalogue, regions: set[str], size: int, services: set[str] | None
) -> None:
    chosen = sorted(services) if services else None
    shards = plan(catalogue, sorted(regions), size=size, services=chosen)
    planned = pairs(shards)
    checks = {
        check.check_id
        for check in catalogue.checks
        if (services is None or check.service in services)
        and check.check_id not in catalogue.on_request
    }
    assert planned == Counter((check, region) for check in checks for region in regions)
    assert len({shard.key for shard in shards}) == len(shards)
    backwards = sorted(regions, reverse=True)
    assert plan(catalogue, backwards, size=size, services=chosen) == shards


def test_one_service_is_one_shard(catalogue: Catalogue) -> None:
    (shard,) = plan(catalogue, FEW, services=["sqs"])
    assert shard.checks == catalogue.services["sqs"]
    assert shard.title.startswith("Applications:")


def test_a_framework_is_known_by_its_name_and_by_prowlers_key(catalogue: Catalogue) -> None:
    expected = pairs(plan(catalogue, FEW, frameworks=["CIS-5.0"]))
    assert expected
    assert pairs(plan(catalogue, FEW, frameworks=["cis_5.0_aws"])) == expected
    assert {check for check, _ in expected} == set(catalogue.frameworks["CIS-5.0"])


def test_services_checks_and_frameworks_are_united(catalogue: Catalogue) -> None:
    shards = plan(
        catalogue, FEW, services=["sqs"], checks=["iam_avoid_root_usage"], frameworks=["CISA"]
    )
    found = {check for check, _ in pairs(shards)}
    assert found >= {*catalogue.services["sqs"], "iam_avoid_root_usage"}
    assert found >= set(catalogue.frameworks["CISA"]) - catalogue.on_request


def test_slow_checks_run_only_when_they_are_named(catalogue: Catalogue) -> None:
    name = "cloudtrail_threat_detection_enumeration"
    assert name in catalogue.on_request
    assert name not in {check for check, _ in pairs(plan(catalogue, FEW, services=["cloudtrail"]))}
    assert name in {check for check, _ in pairs(plan(catalogue, FEW, checks=[name]))}


@pytest.mark.parametrize(
    ("scope", "field", "near"),
    [
        ({"services": ["s33"]}, "services", "s3"),
        ({"checks": ["s3_bucket_public_acces"]}, "checks", "s3_bucket_public_access"),
        ({"frameworks": ["CIS-5.O"]}, "frameworks", "CIS-5.0"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(
    catalogue: Catalogue, scope: dict[str, list[str]], field: str, near: str
) -> None:
    with pytest.raises(ScopeInvalid) as failure:
        plan_shards(
            catalogue,
            regions=FEW,
            home_region="us-east-1",
            services=scope.get("services"),
            checks=scope.get("checks"),
            frameworks=scope.get("frameworks"),
            region_batch_size=5,
        )
    assert failure.value.field == field
    assert near in (failure.value.fix or "")


def test_no_region_at_all_is_refused(catalogue: Catalogue) -> None:
    with pytest.raises(ScopeInvalid, match="no region"):
        plan(catalogue, [])


def test_a_catalogue_holds_texts_and_universal_frameworks(catalogue: Catalogue) -> None:
    assert len(catalogue.checks) > 600
    check = next(c for c in catalogue.checks if c.check_id == "iam_avoid_root_usage")
    assert check.title
    assert check.risk
    assert check.remediation
    assert check.severity in Severity
    assert any(link.startswith("https://") for link in check.references)
    assert {"CIS-5.0", "DORA-2022/2554"} <= set(check.frameworks)
    universal = {"CIS-Controls-8.1", "CMMC-2.0", "CSA-CCM-4.0", "DORA-2022/2554"}
    assert universal <= set(catalogue.frameworks)


async def test_a_catalogue_is_read_once_in_a_process(
    catalogue: Catalogue, prowler_settings: Settings
) -> None:
    assert await load_catalogue(prowler_settings, Provider.AWS) is catalogue
