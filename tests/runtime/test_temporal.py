"""Where Temporal is, how values travel, and what it means when it does not answer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from contracts.errors import EngineUnavailable
from contracts.scans import ScanRequest
from runtime.embedded.children import running
from runtime.embedded.temporal import temporal_child
from runtime.settings import Settings
from runtime.temporal import (
    connect,
    connect_config,
    engine_errors,
    register_search_attributes,
)
from runtime.temporal_address import is_external
from tests.support.ports import free_ports

SECRET = "tmprl-very-secret"


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A configuration file where the user's own lies, with a default profile for another use."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    path = tmp_path / ".config" / "temporalio" / "temporal.toml"
    path.parent.mkdir(parents=True)
    path.write_text(
        '[profile.default]\naddress = "theirs.example:7233"\n'
        '[profile.ours]\naddress = "ours.example:7233"\nnamespace = "scans"\n'
    )
    yield path


def test_without_variables_it_is_the_embedded_server(profile: Path) -> None:
    config = connect_config(Settings(temporal_port=7499), {})
    assert config["target_host"] == "127.0.0.1:7499"
    assert config["namespace"] == "default"
    assert not is_external({})


def test_an_address_alone_takes_nothing_from_the_users_own_profile(profile: Path) -> None:
    config = connect_config(Settings(), {"TEMPORAL_ADDRESS": "10.0.0.1:7233", **os.environ})
    assert config["target_host"] == "10.0.0.1:7233"
    assert config["namespace"] == "default"


def test_a_profile_is_used_when_it_is_named(profile: Path) -> None:
    named = {"TEMPORAL_PROFILE": "ours", **os.environ}
    assert connect_config(Settings(), named)["target_host"] == "ours.example:7233"
    by_file = {"TEMPORAL_CONFIG_FILE": str(profile), "TEMPORAL_NAMESPACE": "other", **os.environ}
    assert connect_config(Settings(), by_file)["target_host"] == "theirs.example:7233"
    assert connect_config(Settings(), by_file)["namespace"] == "other"


def test_a_key_turns_tls_on() -> None:
    variables = {"TEMPORAL_ADDRESS": "cloud.example:7233", "TEMPORAL_API_KEY": SECRET}
    config = connect_config(Settings(), variables)
    assert config["api_key"] == SECRET
    assert config["tls"]


def test_a_configuration_that_cannot_be_read_says_what_to_check(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("[profile")
    variables = {"TEMPORAL_CONFIG_FILE": str(tmp_path / "broken.toml")}
    with pytest.raises(EngineUnavailable, match="cannot be read") as caught:
        connect_config(Settings(), variables)
    assert caught.value.fix and "TEMPORAL_CONFIG_FILE" in caught.value.fix


async def test_nothing_listening_is_engine_unavailable_and_names_no_secret(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    monkeypatch.setenv("TEMPORAL_ADDRESS", address)
    monkeypatch.setenv("TEMPORAL_API_KEY", SECRET)
    with pytest.raises(EngineUnavailable, match=address) as caught:
        await connect(Settings())
    assert caught.value.code == "engine_unavailable"
    assert SECRET not in f"{caught.value.message} {caught.value.fix} {caplog.text}"


async def test_a_lazy_client_starts_first_and_says_unavailable_at_its_first_call() -> None:
    client = await connect(Settings(temporal_port=free_ports(1)[0]), lazy=True)
    with pytest.raises(EngineUnavailable), engine_errors(client):
        await client.get_workflow_handle("any").describe()


async def test_a_server_that_dies_under_a_client_is_engine_unavailable(tmp_path: Path) -> None:
    port, ui_port = free_ports(2)
    spec = temporal_child(tmp_path, port=port, ui_port=ui_port, search_attributes={})
    async with running(spec, owner=tmp_path, logs=tmp_path / "logs") as server:
        client = await connect(Settings(temporal_port=port))
        await server.stop()
        with pytest.raises(EngineUnavailable), engine_errors(client):
            await client.get_workflow_handle("any").describe(rpc_timeout=timedelta(seconds=2))


async def test_other_errors_pass_unchanged(temporal: Client) -> None:
    with pytest.raises(RPCError) as caught, engine_errors(temporal):
        await temporal.get_workflow_handle("no such workflow").describe()
    assert caught.value.status == RPCStatusCode.NOT_FOUND
    with pytest.raises(RuntimeError, match="a bug"), engine_errors(temporal):
        raise RuntimeError("a bug")


async def test_contracts_travel_as_they_are(temporal: Client) -> None:
    request = ScanRequest(scan_id=uuid4())
    payloads = await temporal.data_converter.encode([request])
    (decoded,) = await temporal.data_converter.decode(payloads, [ScanRequest])
    assert decoded == request
    assert isinstance(decoded.scan_id, UUID)


async def test_registering_attributes_again_changes_nothing(temporal: Client) -> None:
    for _ in range(2):
        await register_search_attributes(temporal, {"CloudsweepProbe": "Keyword"})
    count = await temporal.count_workflows("CloudsweepProbe = 'nothing has it'")
    assert count.count == 0
