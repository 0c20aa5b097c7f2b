"""Running totals: many appended rows become one for each key, and still say the same."""

from __future__ import annotations

from storage.findings.finding_counts import fold_counts
from tests.storage.lab import Lab, make_lab, observed

APPENDED = """
    INSERT INTO finding_count
        (coverage_id, team_id, account_id, source, check_id, service, region,
         severity, status, state, n)
    SELECT number % 5000, :team_id, :account_id, 'prowler', 'check', 's3', 'r1', 'high', 'fail',
           'open', CASE WHEN number % 5000 = 0 THEN (-1) ^ (number / 5000) ELSE 1 END
    FROM generate_series(1, 20000) AS number
"""
KEPT = "SELECT count(*), sum(n), min(n), max(n) FROM finding_count WHERE account_id = :account_id"


async def test_folding_many_appended_rows_leaves_one_of_each_key_and_none_of_zero(
    lab: Lab,
) -> None:
    """20,000 rows in a table that nobody has analysed: a join of them with themselves takes half a
    minute."""
    other = await make_lab(lab.database, lab.team_id)
    for each in (lab, other):
        await each.sql(APPENDED, team_id=each.team_id, account_id=each.account_id)
    async with lab.database.transaction() as session:
        await fold_counts(session, lab.team_id, lab.account_id)
    assert await lab.sql(KEPT, account_id=lab.account_id) == [(4999, 19996, 4, 4)]
    assert await lab.sql(KEPT, account_id=other.account_id) == [(20000, 19996, -1, 1)]


async def test_folding_sums_up_the_totals_of_a_team(lab: Lab) -> None:
    totals = "SELECT n FROM finding_total WHERE team_id = :team_id"
    for number in range(3):
        scan_id = await lab.begin("a", "b")
        for key in ("a", "b"):
            check = f"s3_{key}{number}"
            await lab.stage(scan_id, [observed(check_id=check)], key=key)
            await lab.merge(scan_id, key)
        assert len(await lab.sql(totals, team_id=lab.team_id)) > 1
        await lab.end(scan_id)
        assert await lab.sql(totals, team_id=lab.team_id) == [(2 * (number + 1),)]
