"""checkov, the real one: what it finds in a tree, and that the tree gives it no orders."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ReportMalformed, ScopeInvalid
from contracts.native import NORMAL, AssetOutcome, SourceTree
from contracts.vocabulary import Severity
from scanners.native import checkov
from scanners.processes.process import private_directory, processes_of, running
from scanners.processes.python_tools import install_tool
from tests.support.native import SHORT, Outcome, run, sort
from tests.support.waiting import until

OPEN_TO_ALL = """
resource "aws_security_group" "open" {
  ingress {
    from_port   = 22
    to_port     = 22
    protocol    = "tcp"
    cidr_blocks = ["0.0.0.0/0"]
  }
}
"""


@pytest.fixture(scope="session")
def real_checkov() -> Path:
    """The real one, in its own environment; made if this is the first run."""
    return install_tool("checkov")


@pytest.fixture
def tree(tmp_path: Path) -> SourceTree:
    """A tree with a mistake in Terraform and others in a Dockerfile."""
    directory = tmp_path / "shop"
    (directory / "images").mkdir(parents=True)
    (directory / "network.tf").write_text(OPEN_TO_ALL)
    (directory / "images" / "Dockerfile").write_text("FROM debian:latest\nRUN true\n")
    return SourceTree("shop", directory)


def give_orders(directory: Path, touched: Path, external: Path) -> None:
    """Orders that make checkov run a Python file of the tree."""
    (directory / "ext").mkdir()
    (directory / "ext" / "__init__.py").touch()
    (directory / "ext" / "check.py").write_text(f"open({str(touched)!r}, 'w').close()\n")
    (directory / ".checkov.yaml").write_text(f"external-checks-dir:\n  - {external}\n")


@pytest.mark.usefixtures("real_checkov")
async def test_a_real_checkov_finds_mistakes_and_runs_no_orders_of_the_tree(
    tree: SourceTree, tmp_path: Path
) -> None:
    touched = tmp_path / "touched"
    give_orders(tree.directory, touched, tree.directory / "ext")
    outcome = await run(checkov.ADAPTER, tree)
    assert not touched.exists()
    assert outcome.outcomes() == {"shop": AssetOutcome.ASSESSED}
    found = {each.rule: each for each in outcome.findings}
    assert found["CKV_AWS_24"].identity == (
        "checkov", "shop", "CKV_AWS_24", "/network.tf", "aws_security_group.open"
    )  # fmt: skip
    assert found["CKV_AWS_24"].severity is Severity.MEDIUM
    assert found["CKV_DOCKER_7"].evidence == "/images/Dockerfile.FROM in /images/Dockerfile:1-1"
    identities = {each.identity for each in outcome.findings}
    assert len(identities) == len(outcome.findings)


def test_orders_of_the_tree_are_run_when_checkov_is_started_the_usual_way(
    real_checkov: Path, tree: SourceTree, tmp_path: Path
) -> None:
    """Why the tree is copied without them; if this fails, checkov has become safer."""
    touched = tmp_path / "touched"
    give_orders(tree.directory, touched, tree.directory / "ext")
    usual = ["--directory", str(tree.directory), "--framework", "dockerfile", "--skip-download"]
    subprocess.run(
        [real_checkov, *usual],
        capture_output=True,
        check=False,
        timeout=120,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )
    assert touched.exists()


async def test_no_worker_of_checkov_outlives_it(real_checkov: Path, tree: SourceTree) -> None:
    for number in range(40):
        (tree.directory / f"more{number}.tf").write_text(OPEN_TO_ALL.replace("open", f"o{number}"))
    with private_directory() as directory:
        checkov.prepare(tree, SHORT, directory)
        command = [str(real_checkov), *checkov.command(tree, SHORT, directory)[1:]]
        env = {"PATH": os.environ["PATH"], "HOME": str(directory)}
        async with running(command, env=env, directory=directory):
            await until(lambda: len(processes_of(directory)) > 1)
        assert processes_of(directory) == []


def test_a_copy_holds_plain_files_only_and_none_of_the_orders(
    tree: SourceTree, tmp_path: Path
) -> None:
    (tree.directory / "images" / ".checkov.yml").write_text("soft-fail: true\n")
    (tree.directory / "password").symlink_to("/etc/passwd")
    (tree.directory / "root").symlink_to("/")
    os.mkfifo(tree.directory / "pipe")
    (tree.directory / ".git").mkdir()
    (tree.directory / ".git" / "config").touch()
    os.truncate(tree.directory / "images" / "Dockerfile", checkov.FILE_LIMIT + 1)
    checkov.prepare(tree, SHORT, tmp_path)
    copied = {str(each.relative_to(tmp_path / "tree")) for each in (tmp_path / "tree").rglob("*")}
    assert copied == {"network.tf", "images"}


def test_a_tree_that_is_too_large_or_not_there_is_refused(
    tree: SourceTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ScopeInvalid, match="no directory"):
        checkov.prepare(tree._replace(directory=tmp_path / "gone"), SHORT, tmp_path)
    monkeypatch.setattr(checkov, "FILES_LIMIT", 1)
    with pytest.raises(ScopeInvalid, match="too large"):
        checkov.prepare(tree, SHORT, tmp_path)


@pytest.mark.parametrize("name", ["-x", "--external-checks-dir=/tmp/x", "a\x1b[2Jb"])
def test_a_tree_that_begins_with_a_dash_is_no_option(name: str, tmp_path: Path) -> None:
    command = checkov.command(SourceTree(name, Path(name)), NORMAL, tmp_path)
    assert [each for each in command if name in each] == []
    assert "--directory=tree" in command


def parsed(directory: Path, content: Any) -> Outcome:
    report = directory / checkov.REPORT
    report.write_text(json.dumps(content))
    return sort(checkov.parse(report, SourceTree("shop", directory)))


CHECK = {
    "check_id": "CKV_1", "check_name": "Ensure", "file_path": "/a.tf", "resource": "r",
    "file_line_range": [3, 9], "severity": None, "guideline": "https://docs.example/1",
}  # fmt: skip


def framework(**changes: Any) -> dict[str, Any]:
    summary = {"passed": 1, "failed": 1, "parsing_errors": changes.pop("parsing_errors", 0)}
    results = {"failed_checks": [CHECK | changes]}
    return {"check_type": "terraform", "results": results, "summary": summary}


FLAT = {"passed": 0, "failed": 0, "skipped": 0, "parsing_errors": 0, "resource_count": 0}


@pytest.mark.parametrize(
    ("content", "count"), [(framework(), 1), ([framework(), framework()], 2), (FLAT, 0)]
)
def test_each_shape_of_its_report_is_read(content: Any, count: int, tmp_path: Path) -> None:
    outcome = parsed(tmp_path, content)
    assert len(outcome.findings) == count
    assert outcome.outcomes() == {"shop": AssetOutcome.ASSESSED}


def test_a_file_that_it_could_not_read_makes_the_tree_partly_assessed(tmp_path: Path) -> None:
    outcome = parsed(tmp_path, [framework(), framework(parsing_errors=2)])
    assert outcome.coverage[0].outcome is AssetOutcome.PARTIAL
    assert "2 of the files" in outcome.coverage[0].reason


def test_a_finding_keeps_its_identity_when_lines_severity_and_words_change(tmp_path: Path) -> None:
    other = framework(file_line_range=[70, 80], severity="CRITICAL", check_name="Other words")
    (before,), (after,) = parsed(tmp_path, framework()).findings, parsed(tmp_path, other).findings
    assert before.identity == after.identity
    assert (before.severity, after.severity) == (Severity.MEDIUM, Severity.CRITICAL)


@pytest.mark.parametrize("content", [{}, [], 7, {"results": {"failed_checks": [{}]}}])
def test_a_report_of_another_shape_is_malformed(content: Any, tmp_path: Path) -> None:
    with pytest.raises(ReportMalformed):
        parsed(tmp_path, content)
