"""docs/kubernetes.md lists what the code lists, and its role allows just that."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from contracts.accounts import FileCredentials
from runtime import policies
from scanners.kubernetes import kubernetes
from scanners.kubernetes.kubernetes_api import PAGE

PAGE_TEXT = (Path(__file__).parents[2] / "docs" / "kubernetes.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE_TEXT, re.S)


def test_the_table_has_every_kind() -> None:
    for group, kinds in kubernetes.GROUPS.items():
        assert f"| {group} | {', '.join(kind.type for kind in kinds)} |" in PAGE_TEXT


def test_the_role_allows_to_list_every_kind_and_nothing_else() -> None:
    role = yaml.safe_load(BLOCKS[0])
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"list"}
    allowed = {
        (group, resource)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    needed = set()
    for kind in (kind for kinds in kubernetes.GROUPS.values() for kind in kinds):
        *base, _, resource = kind.path.strip("/").split("/")
        needed.add(("" if base == ["api"] else base[-1], resource))
    assert allowed == needed


def test_the_kubeconfig_is_one_that_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(BLOCKS[1])
    access = kubernetes.read_access(FileCredentials(path=str(path)))
    assert (access.cluster, access.notes) == ("prod", [])


def test_the_numbers_are_the_codes() -> None:
    limits = kubernetes.LIMITS
    for words in (
        f"{kubernetes.RESTARTS} times at most",
        f"({limits.longest_wait_seconds:g} s at most)",
        f"no answer within {limits.request_seconds:g} s",
        f"asked again, {limits.tries} times in all",
        f"run again, {policies.SCANNER_TRIES} times in all",
        f"read {PAGE} objects at a time",
    ):
        assert words in PAGE_TEXT
