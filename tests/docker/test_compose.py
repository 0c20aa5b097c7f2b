"""The compose file: checked as it lies here, for there is no engine that could run it."""

from __future__ import annotations

import re
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from runtime import policies, task_queues
from runtime.embedded.temporal import binary
from runtime.settings import Settings

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {"migrate", "api", "worker", "compliance-worker", "native-worker"}
WORKERS = {name for name, each in SERVICES.items() if "worker.py" in each.get("command", ())}
PUBLISHED = {"api", "temporal-ui"}
STOP_MARGIN_SECONDS = 10

# What the images of others read, as their documentation and configuration templates name it.
THEIR_VARIABLES = {
    "postgres": set[str](),
    "temporal-schema": {"SQL_PLUGIN", "SQL_HOST", "SQL_PORT", "SQL_USER", "SQL_PASSWORD"},
    "temporal": {
        *("DB", "DB_PORT", "BIND_ON_IP", "NUM_HISTORY_SHARDS", "DYNAMIC_CONFIG_FILE_PATH"),
        "LOG_LEVEL",
    },
    "temporal-namespace": set[str](),
    "temporal-ui": set[str](),
    "steampipe": {"STEAMPIPE_DATABASE_PASSWORD"},
}
STANDARD_PREFIXES = ("TEMPORAL_", "POSTGRES_", "AWS_")
COMPOSE_VARIABLES = {"COMPOSE_PROFILES"}
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|KEY|_URL$|_PWD$|CERT")
NO_SECRET = {"CLOUDSWEEP_TEMPORAL_UI_URL"}


def one_shot(name: str) -> bool:
    """A service that does something and ends."""
    return str(SERVICES[name].get("restart")) == "on-failure"


def seconds(duration: str) -> float:
    """Of a duration in the compose form that is used here: `45s`, `2m`."""
    number, unit = re.fullmatch(r"(\d+)([sm])", duration).groups()  # type: ignore[union-attr]  # fails the test
    return float(number) * {"s": 1, "m": 60}[unit]


def braced(value: object) -> list[tuple[str, str]]:
    """Every `${NAME...}` of a value, as (name, what follows it)."""
    return re.findall(r"\$\{([A-Z_]+)([^}]*)\}", str(value))


def example() -> dict[str, str]:
    """The variables of env.example."""
    lines = (DOCKER / "env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_that_stays_has_a_health_check_and_is_started_again(name: str) -> None:
    service = SERVICES[name]
    if one_shot(name):
        assert "healthcheck" not in service
        return
    assert service["restart"] == "unless-stopped"
    check = service["healthcheck"]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "start_period", "retries"} <= check.keys()
    assert seconds(check["timeout"]) <= seconds(check["interval"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_may_take_longer_to_stop_than_a_worker_drains(name: str) -> None:
    grace = seconds(SERVICES[name]["stop_grace_period"])
    least = policies.DRAIN.total_seconds()
    assert grace > least + (STOP_MARGIN_SECONDS if name in WORKERS else 0)


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_has_a_version(name: str) -> None:
    image, _, tag = SERVICES[name]["image"].partition(":")
    version = re.sub(r"\$\{[A-Z_]+:-([^}]+)\}", r"\1", tag)
    assert re.match(r"\d+", version), "a tag that names a version, with a default"
    assert "latest" not in tag
    assert "." not in image.split("/")[0], "the short name, not a registry's host"


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_waits_only_for_what_can_come_true(name: str) -> None:
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        assert needed in SERVICES
        expected = "service_completed_successfully" if one_shot(needed) else "service_healthy"
        assert how["condition"] == expected
        same_profile = SERVICES[needed].get("profiles") in (None, SERVICES[name].get("profiles"))
        assert same_profile or how["required"] is False, "or it cannot run without the other"


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_bounded_in_cpu_memory_and_log(name: str) -> None:
    service = SERVICES[name]
    limits = service["deploy"]["resources"]["limits"]
    assert float(limits["cpus"]) > 0
    assert re.fullmatch(r"\d+[mg]", limits["memory"])
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}


def test_only_the_api_and_the_web_ui_are_published_and_on_loopback() -> None:
    ports = {name: each["ports"] for name, each in SERVICES.items() if "ports" in each}
    assert ports.keys() == PUBLISHED
    for published in ports.values():
        assert all(port.startswith("127.0.0.1:") for port in published)
    assert all("network_mode" not in each for each in SERVICES.values())


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_containers_have_no_privileges(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_is_written_down(name: str) -> None:
    for variable, value in SERVICES[name].get("environment", {}).items():
        if SECRET.search(variable) and variable not in NO_SECRET:
            assert value is None or re.fullmatch(r"\$\{[A-Z_]+:\?[^}]+\}", value), variable


@pytest.mark.parametrize("name", SERVICES)
def test_a_variable_is_one_that_the_program_reads(name: str) -> None:
    settings = {f"CLOUDSWEEP_{field.upper()}" for field in Settings.model_fields}
    known = settings if name in OURS else THEIR_VARIABLES[name]
    unknown = {
        variable
        for variable in SERVICES[name].get("environment", {})
        if variable not in known and not variable.startswith(STANDARD_PREFIXES)
    }
    assert not unknown


def test_every_setting_of_a_server_can_be_made_in_one_place() -> None:
    of_one_machine = {
        *("data_dir", "api_host", "api_port", "api_url", "api_key", "temporal_port"),
        *("temporal_ui_port", "demo_port", "prowler_python", "allow_loopback_targets"),
        "compliance_slots",  # of one service: see there
    }
    wanted = {
        f"CLOUDSWEEP_{name.upper()}" for name in Settings.model_fields.keys() - of_one_machine
    }
    for name in (*WORKERS, "api"):
        assert wanted <= SERVICES[name]["environment"].keys()


def test_the_example_names_every_variable_and_gives_no_secret() -> None:
    given = example()
    text = (DOCKER / "compose.yaml").read_text()
    used = dict(braced(text))
    passed_through = {
        variable
        for each in SERVICES.values()
        for variable, value in each.get("environment", {}).items()
        if value is None
    }
    required = {name for name, rest in used.items() if rest.startswith(":?")}
    assert required <= given.keys()
    assert given.keys() <= used.keys() | passed_through | COMPOSE_VARIABLES
    for name, value in given.items():
        if SECRET.search(name) and name not in NO_SECRET:
            assert not re.search(r"://[^:]+:(?!\$\{[A-Z_]+\}@)", value), name
            assert value == "" or "${" in value, name
    profiles = {profile for each in SERVICES.values() for profile in each.get("profiles", [])}
    assert set(given["COMPOSE_PROFILES"].split(",")) == profiles


def test_a_file_with_secrets_cannot_be_committed() -> None:
    for path in ("docker/.env", "docker/credentials/aws-config"):
        ignored = subprocess.run(["git", "check-ignore", "--quiet", path], cwd=ROOT, check=False)
        assert ignored.returncode == 0, path


def test_the_queues_of_the_workers_are_all_that_there_are() -> None:
    served = [queue for name in WORKERS for queue in queues(SERVICES[name]["command"])]
    assert sorted(served) == sorted(task_queues.SLOTS)


@pytest.mark.parametrize("name", sorted(WORKERS))
def test_a_worker_is_well_when_the_queues_of_its_command_are_served(name: str) -> None:
    service = SERVICES[name]
    check = service["healthcheck"]["test"]
    assert check[1:4] == ["python", "docker/healthcheck.py", "worker"]
    assert check[4:] == queues(service["command"])


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_command_names_something_that_exists(name: str) -> None:
    service = SERVICES[name]
    for command in (service["command"], service.get("healthcheck", {}).get("test", ["CMD"])[1:]):
        if not command:
            continue
        assert command[0] == "python"
        if command[1] == "-m":
            module = command[2]
            found = find_spec(module)
            assert found, module
            if found.submodule_search_locations is not None:
                assert find_spec(f"{module}.__main__"), f"{module} cannot be run"
        else:
            assert (ROOT / command[1]).is_file()


def queues(command: list[str]) -> list[str]:
    """The queues that a worker's command names."""
    assert command[:2] == ["python", "worker.py"]
    return command[2:]


@pytest.mark.parametrize("name", SERVICES)
def test_a_mounted_file_or_volume_exists(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("."):
            assert (DOCKER / source).exists(), source
            assert volume.endswith(":ro"), "what lies here is not written to"
        else:
            assert source in COMPOSE["volumes"], source


def test_the_temporal_server_is_the_one_that_is_embedded() -> None:
    said = subprocess.run([binary(), "--version"], capture_output=True, text=True, check=True)
    for name, version in (("Server", "temporal"), ("UI", "temporal-ui")):
        embedded = re.search(rf"{name} ([\d.]+)", said.stdout)
        assert embedded
        assert SERVICES[version]["image"].endswith(f":-{embedded[1]}}}")
    assert SERVICES["temporal-schema"]["image"].endswith(
        SERVICES["temporal"]["image"].partition(":")[2]
    )
