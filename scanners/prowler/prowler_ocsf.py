"""Prowler's OCSF: findings read from its Detection Findings (class 2004), and written as such."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from contracts.errors import ReportMalformed
from contracts.findings import CheckText, Finding
from contracts.observations import ObservedFinding
from contracts.vocabulary import FindingState, FindingStatus, Provider, Severity
from scanners import ocsf
from scanners.processes import hostile_text

SOURCE: Final = "prowler"
CLASS_UID: Final = 2004

DETAIL_LIMIT: Final = 50_000
"""As the runner cuts it, so that a long detail is the same whichever way it came."""
TEXT_LIMIT: Final = 20_000
LIST_LIMIT: Final = 200


class Reported(NamedTuple):
    """One record of a file: a verdict, and whose it is."""

    finding: ObservedFinding
    provider: str
    account_uid: str
    is_gone: bool
    """Its resource is not there any more: it is history, not a verdict of today."""


def read(record: Mapping[str, Any]) -> Reported:
    """The finding of a Detection Finding; ReportMalformed names the field that it lacks."""
    if record.get("class_uid", CLASS_UID) != CLASS_UID:
        other = hostile_text.line(record["class_uid"], 40)
        raise ReportMalformed(f"it is of class {other}, not {CLASS_UID}")
    unmapped = _object(record, "unmapped", optional=True)
    cloud = _object(record, "cloud", optional=True)
    resource = _resource(record)
    check = _text(_object(record, "metadata"), "event_code", "metadata.")
    if cloud:
        account = _text(_object(cloud, "account"), "uid", "cloud.account.")
        provider = _text(cloud, "provider", "cloud.")
        region = _text(resource, "region", "resources[0].", default=str(cloud.get("region") or ""))
    else:  # a cluster
        account = _text(unmapped, "provider_uid", "unmapped.")
        provider = _text(unmapped, "provider", "unmapped.")
        region = ocsf.NAMESPACE + _text(resource, "namespace", "resources[0].", default="")
    return Reported(
        ObservedFinding(
            check_id=check,
            service=check.split("_", 1)[0],
            region=region,
            resource_uid=_text(resource, "uid", "resources[0]."),
            resource_name=_text(resource, "name", "resources[0].", default=""),
            resource_type=_text(resource, "type", "resources[0].", default=""),
            severity=_word(Severity, record, "severity"),
            status=_word(FindingStatus, record, "status_code"),
            detail=_text(record, "status_detail", "", default="")[:DETAIL_LIMIT],
        ),
        provider.lower(),
        account,
        record.get("status_id") == ocsf.RESOLVED[0],
    )


def read_text(record: Mapping[str, Any], finding: ObservedFinding, provider: Provider) -> CheckText:
    """What the record says of its check, which it repeats in every finding of it."""
    unmapped = _object(record, "unmapped", optional=True)
    info = _object(record, "finding_info", optional=True)
    remediation = _object(record, "remediation", optional=True)
    links = [
        unmapped.get("related_url"),
        *_list(remediation, "references"),
        *_list(unmapped, "additional_urls"),
    ]
    compliance = _object(unmapped, "compliance", optional=True)
    return CheckText(
        source=SOURCE,
        provider=provider,
        check_id=finding.check_id,
        title=_plain(info.get("title")) or finding.check_id,
        severity=finding.severity,
        service=finding.service,
        description=_plain(info.get("desc")),
        risk=_plain(record.get("risk_details")),
        remediation=_plain(remediation.get("desc")),
        references=list(dict.fromkeys(_plain(link) for link in links if link)),
        categories=[_plain(word) for word in _list(unmapped, "categories")],
        frameworks={
            _plain(name): [_plain(number) for number in _list(compliance, name)]
            for name in list(compliance)[:LIST_LIMIT]
        },
    )


def write(
    finding: Finding, check: CheckText | None, *, is_gone: bool, at: datetime
) -> dict[str, Any]:
    """The Detection Finding that Prowler would write of it."""
    seen = finding.last_seen_at
    status_id, status = _status(finding, is_gone)
    return {
        **ocsf.classified(CLASS_UID, "Detection Finding", ocsf.CREATE),
        "message": finding.detail,
        "metadata": ocsf.metadata(
            finding.check_id, finding.source, [ocsf.profile(finding.provider), "datetime"]
        ),
        "finding_info": {
            "uid": str(finding.id),
            "title": finding.title,
            "desc": check.description if check else "",
            "created_time": int(finding.first_seen_at.timestamp()),
            "created_time_dt": finding.first_seen_at.isoformat(),
            "types": [],
        },
        "severity_id": ocsf.SEVERITY_IDS[finding.severity],
        "severity": finding.severity.capitalize(),
        "status_id": status_id,
        "status": status,
        "status_code": finding.status.upper(),
        "status_detail": finding.detail,
        "time": int(seen.timestamp()),
        "time_dt": seen.isoformat(),
        "risk_details": check.risk if check else "",
        "remediation": {
            "desc": check.remediation if check else "",
            "references": check.references if check else [],
        },
        "resources": [
            ocsf.resource(
                finding.provider,
                uid=finding.resource.uid,
                name=finding.resource.name,
                type=finding.resource.type,
                service=finding.service,
                region=finding.region,
            )
        ],
        "unmapped": {
            "categories": check.categories if check else [],
            "compliance": check.frameworks if check else {},
            "provider": finding.provider.value,
            "provider_uid": finding.account_uid,
            "exported_at": at.isoformat(),
        },
        **ocsf.cloud(finding.provider, finding.account_uid, finding.region),
    }


def _status(finding: Finding, is_gone: bool) -> tuple[int, str]:
    if is_gone:
        return ocsf.RESOLVED
    if finding.state in (FindingState.MUTED, FindingState.ACCEPTED):
        return ocsf.SUPPRESSED
    return ocsf.NEW


def _resource(record: Mapping[str, Any]) -> Mapping[str, Any]:
    resources = record.get("resources")
    if not isinstance(resources, list) or not resources or not isinstance(resources[0], dict):
        raise ReportMalformed("`resources` has no resource")
    return resources[0]


def _object(record: Mapping[str, Any], name: str, *, optional: bool = False) -> Mapping[str, Any]:
    value = record.get(name)
    if value is None and optional:
        return {}
    if not isinstance(value, dict):
        raise ReportMalformed(f"`{name}` is {'missing' if value is None else 'no object'}")
    return value


def _text(record: Mapping[str, Any], name: str, path: str, *, default: str | None = None) -> str:
    value = record.get(name, default)
    if isinstance(value, str):
        value = _storable(value)
    if value is None or (value == "" and default is None):
        raise ReportMalformed(f"`{path}{name}` is missing")
    if not isinstance(value, str):
        raise ReportMalformed(f"`{path}{name}` is no text")
    return value


def _word(words: Any, record: Mapping[str, Any], name: str) -> Any:
    value = _text(record, name, "")
    try:
        return words(value.lower())
    except ValueError:
        allowed = ", ".join(words)
        raise ReportMalformed(
            f"`{name}` is `{hostile_text.line(value, 40)}`, not one of {allowed}"
        ) from None


def _list(record: Mapping[str, Any], name: str) -> list[Any]:
    value = record.get(name)
    return value[:LIST_LIMIT] if isinstance(value, list) else []


def _plain(value: object) -> str:
    text = value if isinstance(value, str) else "" if value is None else str(value)
    return _storable(text[:TEXT_LIMIT])


def _storable(text: str) -> str:
    """What PostgreSQL and JSON take: no NUL, no half of a surrogate pair."""
    if text.isascii() and "\0" not in text:  # nearly always
        return text
    return text.replace("\0", "").encode("utf-8", "replace").decode()
