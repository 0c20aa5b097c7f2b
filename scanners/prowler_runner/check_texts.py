"""What Prowler knows of its checks, kept so that a run need not parse 661 files again."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import time
from pathlib import Path
from typing import Any, NamedTuple

from scanners.prowler_runner.client_map import Check, ClientMap, Function, build_client_map

FORMAT = hashlib.sha256(
    b"".join(
        Path(__file__).with_name(name).read_bytes() for name in ("check_texts.py", "client_map.py")
    )
).hexdigest()[:8]
"""Of the code that decides what is kept: newer code never reads what older code kept."""


class Texts(NamedTuple):
    """`checks`: each check's metadata as Prowler writes it in JSON, and as its pickled object.
    `configuration`: Prowler's default configuration, validated, which takes half a second."""

    checks: dict[str, tuple[str, bytes]]
    clients: ClientMap
    configuration: dict[str, Any]


def services_directory(provider: str) -> Path:
    """Where the provider's service and check modules lie."""
    import prowler

    return Path(prowler.__file__).parent / "providers" / provider / "services"


def load_texts(directories: list[str], version: str, provider: str) -> Texts:
    """From the first directory that has them; made where they are missing."""
    for directory in directories:
        path = _path(directory, version, provider, "pickle")
        try:
            with path.open("rb") as file:
                kept = pickle.load(file)  # noqa: S301 (we wrote it, in a directory of our own)
        except Exception:  # noqa: S112 (absent or damaged alike: it is made again)
            continue
        return Texts(kept["checks"], _client_map(kept["clients"]), kept["configuration"])
    return build(directories, version, provider)


def build(directories: list[str], version: str, provider: str) -> Texts:
    """Read everything from Prowler's files and keep it; kept or not, the answer is complete."""
    from prowler.config.config import default_config_file_path, load_and_validate_config_file
    from prowler.lib.check.models import CheckMetadata

    configuration = load_and_validate_config_file(provider, default_config_file_path)
    bulk = CheckMetadata.get_bulk(provider)
    checks = {
        name: (item.json(), pickle.dumps(item, pickle.HIGHEST_PROTOCOL))
        for name, item in sorted(bulk.items())
    }
    clients = build_client_map(services_directory(provider))
    kept = {"checks": checks, "clients": _plain(clients), "configuration": configuration}
    catalogue = {
        "version": version,
        "provider": provider,
        "checks": {name: json.loads(text) for name, (text, _) in checks.items()},
        "frameworks": _frameworks(provider),
    }
    for directory in directories:
        _remove_others(Path(directory))
        try:
            pickled = pickle.dumps(kept, pickle.HIGHEST_PROTOCOL)
            _write(_path(directory, version, provider, "pickle"), pickled)
            _write(_path(directory, version, provider, "json"), json.dumps(catalogue).encode())
        except OSError:
            continue
        break
    return Texts(checks, clients, configuration)


def _remove_others(directory: Path) -> None:
    """What other versions of Prowler or of this code kept, unless it may be in use still."""
    for path in directory.glob("*-*.*"):
        if FORMAT not in path.name and time.time() - path.stat().st_mtime > 7 * 24 * 3600:
            path.unlink(missing_ok=True)


def _plain(clients: ClientMap) -> tuple[Any, ...]:
    """Only built-in types: a pickle that names a class of ours breaks when the class moves."""
    return (
        {k: {n: tuple(f) for n, f in v.items()} for k, v in clients.functions.items()},
        clients.uses,
        {name: tuple(check) for name, check in clients.checks.items()},
        clients.account_wide,
    )


def _client_map(plain: tuple[Any, ...]) -> ClientMap:
    functions, uses, checks, account_wide = plain
    return ClientMap(
        {k: {n: Function(*f) for n, f in v.items()} for k, v in functions.items()},
        uses,
        {name: Check(*check) for name, check in checks.items()},
        account_wide,
    )


def _path(directory: str, version: str, provider: str, kind: str) -> Path:
    return Path(directory) / f"{version}-{provider}-{FORMAT}.{kind}"


def _write(path: Path, content: bytes) -> None:
    """All or nothing, whoever else writes the same file now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_bytes(content)
    partial.replace(path)


def _frameworks(provider: str) -> dict[str, dict[str, Any]]:
    """Framework -> {title, requirements: {check: [requirement, ...]}}.

    Those of the provider, named as Prowler names them in a finding, and the universal ones, which
    its findings leave out.
    """
    import prowler

    folder = Path(prowler.__file__).parent / "compliance"
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob(f"{provider}/*.json")):
        content = json.loads(path.read_bytes())
        version = content.get("Version") or ""
        name = f"{content['Framework']}-{version}" if version else content["Framework"]
        pairs = [
            (check, requirement["Id"])
            for requirement in content["Requirements"]
            for check in requirement.get("Checks", ())
        ]
        _add(found, name, content.get("Name") or name, path.stem, pairs)
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_bytes())
        pairs = [
            (check, requirement["id"])
            for requirement in content["requirements"]
            for check in requirement.get("checks", {}).get(provider, ())
        ]
        if pairs:
            name = f"{content['framework']}-{content['version']}"
            _add(found, name, content["name"], path.stem, pairs)
    return found


def _add(
    found: dict[str, dict[str, Any]],
    name: str,
    title: str,
    key: str,
    pairs: list[tuple[str, str]],
) -> None:
    requirements: dict[str, list[str]] = {}
    for check, requirement in pairs:
        mine = requirements.setdefault(check, [])
        if requirement not in mine:
            mine.append(requirement)
    found[name] = {"title": title, "key": key, "requirements": requirements}
