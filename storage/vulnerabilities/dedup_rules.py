"""What makes findings of several sources one vulnerability: the rule of each source, one table.

A vulnerability is a weakness on an asset. The asset is a resource of an account; the weakness is
what the source's rule makes of the check. A container image is no part of the cluster that runs it:
its vulnerabilities are the team's account of native scans', whichever account's scan found them.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final


class Rule(StrEnum):
    """What a source's check ids say of the weakness."""

    CHECK = "check"  # the check is the weakness
    CVE = "cve"  # the CVE that the check id holds, in upper case; the check id where it holds none


RULES: Final[dict[str, Rule]] = {
    "prowler": Rule.CHECK,
    "import": Rule.CHECK,
    "trivy": Rule.CVE,
    "trivy_image": Rule.CVE,
    "trivy_fs": Rule.CVE,
    "trivy_k8s": Rule.CVE,
    "nuclei": Rule.CVE,
}
"""Source -> rule. A source that is not here has the rule CHECK."""

CVE: Final = "CVE-[0-9]{4}-[0-9]{4,}"


def weakness(source: str, check_id: str) -> str:
    """The weakness that a check of a source finds."""
    if RULES.get(source) is Rule.CVE:
        found = re.search(CVE, check_id.upper())
        return found[0] if found else check_id
    return check_id


def weakness_sql(place: str) -> str:
    """The same of a row with `source` and `check_id`, in SQL."""
    sources = ", ".join(f"'{source}'" for source, rule in RULES.items() if rule is Rule.CVE)
    return (
        f"CASE WHEN {place}.source IN ({sources})"
        f" THEN coalesce(substring(upper({place}.check_id) FROM '{CVE}'), {place}.check_id)"
        f" ELSE {place}.check_id END"
    )


IMAGE: Final = "image"
"""The type of resource whose vulnerabilities have the account of native scans as their home."""

OF_IMAGES: Final = """(
        SELECT guest.id FROM account AS guest JOIN account AS home USING (team_id)
        WHERE home.id = :account_id AND home.provider = 'native' AND guest.provider = 'kubernetes'
    )"""
"""Clusters whose findings about images have `:account_id` as their home: none, or those of its
team."""

PLACES: Final = f"""(
        SELECT check_coverage.*, true AS is_own FROM check_coverage WHERE account_id = :account_id
        UNION ALL
        SELECT check_coverage.*, false FROM check_coverage
        WHERE source = 'trivy_k8s' AND account_id IN {OF_IMAGES}
    )"""  # noqa: S608 (our own names)
"""Where findings may be that become vulnerabilities of `:account_id`."""


def is_at_home(place: str, finding: str) -> str:
    """Whether a finding at one of the `PLACES` becomes a vulnerability of `:account_id`, in SQL."""
    return (
        f"({place}.source <> 'trivy_k8s'"
        f" OR ({finding}.resource_type = '{IMAGE}') <> {place}.is_own)"
    )
