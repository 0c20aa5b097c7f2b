"""`cloudsweep finding export`: findings as a file."""

from __future__ import annotations

from commands import downloads, findings
from commands.client import connected


@findings.app.command("export")
def export_findings(
    format: downloads.Format,
    output: downloads.Output = None,
    account: findings.Account = None,
    scan: findings.Scan = None,
    source: findings.Source = None,
    status: findings.Status = None,
    state: findings.State = None,
    severity: findings.Severities = None,
    service: findings.Service = None,
    region: findings.Region = None,
    check_id: findings.CheckId = None,
    resource_uid: findings.ResourceUid = None,
    q: findings.Query = None,
    first_seen_after: findings.Since = None,
) -> None:
    """Write all findings that match as CSV, NDJSON, or Prowler's OCSF one a line.

    A file appears under its name only once it is whole.
    """
    with connected() as api:
        parameters = findings.filters(
            api,
            account,
            scan,
            source=source,
            status=findings.values(status),
            state=findings.values(state),
            severity=severity,
            service=service,
            region=region,
            check_id=check_id,
            resource_uid=resource_uid,
            q=q,
            first_seen_after=first_seen_after,
        )
        downloads.save(api, "findings/export", parameters, format, output)
