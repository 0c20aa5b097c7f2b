"""What Prowler's checks mean, readable without Prowler."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from contracts.errors import ScannerMissing
from contracts.findings import CheckText
from contracts.vocabulary import Provider, Severity
from runtime.settings import Settings
from scanners.prowler.prowler import build_texts
from scanners.prowler.prowler_environment import PROWLER_VERSION, texts_directories, texts_name

SOURCE: Final = "prowler"


@dataclass(frozen=True)
class Catalogue:
    """The checks of one provider in one version of Prowler."""

    version: str
    provider: Provider
    checks: list[CheckText]
    services: dict[str, list[str]]
    """Service -> its checks."""
    frameworks: dict[str, list[str]]
    """Framework, as `CheckText.frameworks` names it -> its checks."""
    framework_keys: dict[str, str]
    """Prowler's own key of a framework (`cis_5.0_aws`) -> its name (`CIS-5.0`)."""
    on_request: frozenset[str]
    """Checks that run only where they are named: they are slow, Prowler leaves them out too."""

    def service_of(self, check_id: str) -> str:
        """The service that a check belongs to: what stands before the first underscore."""
        return check_id.split("_", 1)[0]


_loaded: dict[tuple[Path, Provider], Catalogue] = {}


async def load_catalogue(settings: Settings, provider: Provider) -> Catalogue:
    """The catalogue, from a file that a first call lets Prowler write; later calls are free.

    Raises ScannerMissing when Prowler is not installed.
    """
    key = (settings.prowler_python, provider)
    if key not in _loaded:
        content = _read(settings, provider)
        if content is None:
            await build_texts(provider, settings)
            content = _read(settings, provider)
        if content is None:
            raise ScannerMissing(
                "What Prowler knows of its checks could not be kept on this worker.",
                fix="Let the user that runs the workers write to Prowler's environment or to its "
                "own cache directory.",
            )
        _loaded[key] = _catalogue(provider, content)
    return _loaded[key]


def _read(settings: Settings, provider: Provider) -> dict[str, Any] | None:
    for directory in texts_directories(settings):
        try:
            content: dict[str, Any] = json.loads((directory / texts_name(provider)).read_bytes())
        except (OSError, ValueError):
            continue
        if content["checks"]:
            return content
    return None


def _catalogue(provider: Provider, content: dict[str, Any]) -> Catalogue:
    frameworks: dict[str, list[str]] = {}
    of_check: dict[str, dict[str, list[str]]] = {}
    keys: dict[str, str] = {}
    for name, framework in content["frameworks"].items():
        keys[framework["key"]] = name
        for check, requirements in framework["requirements"].items():
            if check in content["checks"]:
                frameworks.setdefault(name, []).append(check)
                of_check.setdefault(check, {})[name] = requirements
    services: dict[str, list[str]] = {}
    checks = []
    for check_id, metadata in sorted(content["checks"].items()):
        service = check_id.split("_", 1)[0]
        services.setdefault(service, []).append(check_id)
        checks.append(_text(provider, check_id, service, metadata, of_check.get(check_id, {})))
    return Catalogue(
        version=PROWLER_VERSION,
        provider=provider,
        checks=checks,
        services=services,
        frameworks=frameworks,
        framework_keys=keys,
        on_request=frozenset(
            check_id
            for check_id, metadata in content["checks"].items()
            if "threat-detection" in metadata["Categories"]
        ),
    )


def _text(
    provider: Provider,
    check_id: str,
    service: str,
    metadata: dict[str, Any],
    frameworks: dict[str, list[str]],
) -> CheckText:
    recommendation = metadata["Remediation"]["Recommendation"]
    command = metadata["Remediation"]["Code"]["CLI"]
    links = [metadata["RelatedUrl"], recommendation["Url"], *metadata["AdditionalURLs"]]
    return CheckText(
        source=SOURCE,
        provider=provider,
        check_id=check_id,
        title=metadata["CheckTitle"],
        severity=Severity(metadata["Severity"]),
        service=service,
        description=metadata["Description"],
        risk=metadata["Risk"],
        remediation=recommendation["Text"] + (f"\n\n{command}" if command else ""),
        references=list(dict.fromkeys(link for link in links if link)),
        categories=metadata["Categories"],
        frameworks=frameworks,
    )
