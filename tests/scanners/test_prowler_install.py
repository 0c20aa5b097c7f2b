"""Prowler's environment: made once, whole or again, and never over somebody else's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import ScannerMissing
from runtime.settings import Settings
from scanners.prowler import prowler_install
from scanners.prowler.prowler_environment import environment_of
from scanners.prowler.prowler_install import install_prowler


@pytest.fixture
def no_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments without any package: quick, and in need of no network."""
    empty = tmp_path / "requirements.txt"
    empty.write_text("# nothing\n")
    monkeypatch.setattr(prowler_install, "_requirements", lambda full: empty)


def test_an_environment_that_is_there_is_used_without_a_network(
    prowler_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    target = environment_of(prowler_settings.prowler_python)
    assert install_prowler(target) == prowler_settings.prowler_python


@pytest.mark.usefixtures("no_packages")
def test_a_half_made_environment_is_made_again(tmp_path: Path) -> None:
    target = tmp_path / "scanners" / "prowler"
    python = install_prowler(target)
    assert python.exists()
    (target / ".cloudsweep-installed").unlink()
    (target / "half").touch()
    assert install_prowler(target) == python
    assert python.exists()
    assert not (target / "half").exists()


@pytest.mark.usefixtures("no_packages")
def test_an_environment_of_other_requirements_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "prowler"
    install_prowler(target)
    (target / "old").touch()
    (tmp_path / "requirements.txt").write_text("# nothing, in other words\n")
    install_prowler(target)
    assert not (target / "old").exists()


def test_a_directory_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    with pytest.raises(ScannerMissing, match="was not made by Cloudsweep"):
        install_prowler(tmp_path)
    assert (tmp_path / "precious").read_text() == "data"


def test_somebody_elses_python_without_prowler_is_named(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to("/bin/true")
    with pytest.raises(ScannerMissing, match="holds Prowler none"):
        install_prowler(tmp_path)


def test_an_install_that_fails_says_why_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impossible = tmp_path / "requirements.txt"
    impossible.write_text("no-such-package-of-cloudsweep==1.0\n")
    monkeypatch.setattr(prowler_install, "_requirements", lambda full: impossible)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    target = tmp_path / "prowler"
    with pytest.raises(ScannerMissing, match="no-such-package-of-cloudsweep"):
        install_prowler(target)
    impossible.write_text("# nothing\n")
    assert install_prowler(target).exists()
