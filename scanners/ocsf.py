"""What OCSF records of any class have in common: their words, clouds and resources."""

from __future__ import annotations

from typing import Any, Final

from contracts.vocabulary import Provider, Severity

VERSION: Final = "1.5.0"
NAMESPACE: Final = "namespace: "
"""What Prowler puts before a Kubernetes namespace to call it a region; its OCSF leaves it out."""

CREATE: Final = (1, "Create")
CLOSE: Final = (3, "Close")

NEW: Final = (1, "New")
IN_PROGRESS: Final = (2, "In Progress")
SUPPRESSED: Final = (3, "Suppressed")
RESOLVED: Final = (4, "Resolved")

SEVERITY_IDS: Final = {
    Severity.INFORMATIONAL: 1,
    Severity.LOW: 2,
    Severity.MEDIUM: 3,
    Severity.HIGH: 4,
    Severity.CRITICAL: 5,
}
ACCOUNT_TYPES: Final = {
    Provider.AWS: (10, "AWS Account"),
    Provider.AZURE: (6, "Azure AD Account"),
    Provider.GCP: (5, "GCP Account"),
}
OTHER_ACCOUNT: Final = (99, "Other")


def classified(class_uid: int, class_name: str, activity: tuple[int, str]) -> dict[str, Any]:
    """What kind of record of the category Findings it is."""
    return {
        "class_uid": class_uid,
        "class_name": class_name,
        "category_uid": 2,
        "category_name": "Findings",
        "type_uid": class_uid * 100 + activity[0],
        "type_name": f"{class_name}: {activity[1]}",
        "activity_id": activity[0],
        "activity_name": activity[1],
    }


def metadata(event_code: str, product_uid: str, profiles: list[str]) -> dict[str, Any]:
    """Which check it is about, who found it, and which profiles the record has."""
    return {
        "event_code": event_code,
        "product": {"uid": product_uid, "name": "Cloudsweep", "vendor_name": "Cloudsweep"},
        "profiles": profiles,
        "version": VERSION,
    }


def profile(provider: Provider) -> str:
    """The profile that says where the resources are."""
    return "container" if provider is Provider.KUBERNETES else "cloud"


def resource(
    provider: Provider, *, uid: str, name: str, type: str, service: str, region: str
) -> dict[str, Any]:
    """A resource, and where it is."""
    where = (
        {"namespace": region.removeprefix(NAMESPACE)}
        if provider is Provider.KUBERNETES
        else {"region": region}
    )
    return {
        "uid": uid,
        "name": name,
        "type": type,
        "group": {"name": service},
        "labels": [],
        **where,
    }


def cloud(provider: Provider, account_uid: str, region: str) -> dict[str, Any]:
    """The account, as the attribute `cloud`; nothing for a cluster."""
    if provider is Provider.KUBERNETES:
        return {}
    type_id, kind = ACCOUNT_TYPES.get(provider, OTHER_ACCOUNT)
    return {
        "cloud": {
            "account": {"uid": account_uid, "type_id": type_id, "type": kind},
            "provider": provider.value,
            "region": region,
        }
    }
