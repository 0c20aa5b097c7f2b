"""Targets and scopes over HTTP: who may keep them, what is refused in which words, and checks."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api import examples
from api.app import create_app
from contracts.vocabulary import Role
from runtime.settings import Settings
from tests.api.conftest import Caller, Team, open_client
from tests.api.scheduled import errors_of

Row = dict[str, Any]
PERIMETER: Row = {
    "name": "perimeter",
    "allows": [
        {"kind": "domain", "value": "Example.com", "subdomains": True},
        {"kind": "cidr", "value": "203.0.113.0/24"},
        {"kind": "path", "value": "/srv/repositories"},
    ],
}
WWW: Row = {"kind": "host", "value": "WWW.example.com:443", "tags": {"environment": "production"}}


async def approve(admin: httpx.AsyncClient, **fields: Any) -> Row:
    """A scope of the team."""
    answer = await admin.post("scopes", json=PERIMETER | fields)
    assert answer.status_code == 201, answer.text
    made: Row = answer.json()
    return made


async def add(caller: httpx.AsyncClient, kind: str, value: str, **fields: Any) -> Row:
    """A target of the team."""
    answer = await caller.post("targets", json={"kind": kind, "value": value, **fields})
    assert answer.status_code == 201, answer.text
    made: Row = answer.json()
    return made


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What the name server says: there is none that a test may ask."""
    answers: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def asked(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
        if not str(host).endswith("example.com"):
            return real(host, port, *rest, **options)
        if host not in answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, 1, 6, "", (address, 0)) for address in answers[host]]

    monkeypatch.setattr(socket, "getaddrinfo", asked)
    return answers


async def test_a_target_is_kept_in_canonical_form_shown_changed_and_removed(
    admin: httpx.AsyncClient, operator: httpx.AsyncClient, viewer: httpx.AsyncClient
) -> None:
    scope = await approve(admin)
    assert scope["allows"][0] == {"kind": "domain", "value": "example.com", "subdomains": True}
    assert (scope["approved_by"], scope["created_by"], scope["note"]) == ("admin", "admin", "")
    answer = await operator.post("targets", json=WWW)
    target = answer.json()
    path = f"targets/{target['id']}"
    assert answer.headers["Location"] == f"/api/v1/{path}"
    assert target["value"] == "www.example.com:443"
    assert target["scope"] == {"id": scope["id"], "name": "perimeter"}
    assert (await viewer.get(path)).json() == target
    assert (await viewer.get("targets")).json() == {"items": [target], "next_cursor": None}
    again = await operator.post("targets", json=WWW | {"value": "www.example.com.:443"})
    assert again.status_code == 409
    assert "host www.example.com:443" in again.json()["detail"]
    changed = (await operator.patch(path, json={"enabled": False, "tags": {}})).json()
    assert (changed["enabled"], changed["tags"], changed["scope"]) == (False, {}, target["scope"])
    assert errors_of(await operator.patch(path, json={"enabled": None})).keys() == {"enabled"}
    assert errors_of(await operator.patch(path, json={"value": "x"})).keys() == {"value"}
    assert (await operator.delete(path)).status_code == 204
    for gone in (await viewer.get(path), await operator.delete(path)):
        assert gone.status_code == 404
    assert (await operator.patch(path, json={"enabled": True})).status_code == 404


async def test_targets_are_filtered_and_paged(
    admin: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    await approve(admin)
    await add(operator, "host", "a.example.com", tags={"env": "prod", "team": "web"})
    await add(operator, "host", "b.example.com", tags={"env": "test"}, enabled=False)
    await add(operator, "cidr", "203.0.113.0/28")

    async def values(query: str) -> list[str]:
        answer = await operator.get(f"targets?{query}")
        assert answer.status_code == 200, answer.text
        return [row["value"].partition(".")[0] for row in answer.json()["items"]]

    assert await values("") == ["a", "b", "203"]
    assert await values("kind=cidr,url") == ["203"]
    assert await values("enabled=false") == ["b"]
    assert await values("tag=env:prod,team:web") == ["a"]
    assert await values("q=B.EXAMPLE") == ["b"]
    assert await values("q=%25") == []
    first = (await operator.get("targets?limit=2")).json()
    rest = (await operator.get(f"targets?cursor={first['next_cursor']}")).json()
    assert [row["kind"] for row in first["items"] + rest["items"]] == ["host", "host", "cidr"]


REFUSED: list[tuple[Row, str, str]] = [
    ({"kind": "host", "value": "-oN=/path"}, "value", "begins with a dash"),
    ({"kind": "host", "value": "127.0.0.1-3"}, "value", "such as www.example.com"),
    ({"kind": "host", "value": "169.254.169.254"}, "value", "metadata service"),
    ({"kind": "host", "value": "127.0.0.1"}, "value", "CLOUDSWEEP_ALLOW_LOOPBACK_TARGETS"),
    ({"kind": "host", "value": "10.0.0.5"}, "value", "no scope names it"),
    ({"kind": "host", "value": "www.example.net"}, "value", "scope add NAME --domain"),
    ({"kind": "cidr", "value": "203.0.112.0/22"}, "value", "at most a /24"),
    ({"kind": "url", "value": "http://a:b@www.example.com/"}, "value", "user name or password"),
    ({"kind": "host", "value": "two\nlines"}, "value", "control characters"),
    ({"kind": "host", "value": ""}, "value", "at least 1"),
    ({"kind": "hosts", "value": "x"}, "kind", "Allowed: host, cidr, url"),
    ({"kind": "host", "value": "www.example.com", "tags": {"a:b": "c"}}, "tags.a:b", "no colon"),
    ({"kind": "host", "value": "www.example.com", "tags": []}, "tags", "JSON object, such as"),
    ({"kind": "host", "value": "www.example.com", "port": 5}, "port", "no such field"),
]


async def test_what_may_not_be_scanned_is_refused_with_the_field_and_the_fix(
    admin: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    await approve(admin)
    for body, field, words in REFUSED:
        answer = await operator.post("targets", json=body)
        messages = errors_of(answer)
        assert words in messages.get(field, ""), (body, messages)
    assert answer.json()["code"] == "invalid_input"
    refused = (await operator.post("targets", json=REFUSED[0][0])).json()
    assert (refused["code"], bool(refused["fix"])) == ("target_invalid", True)
    assert (await operator.get("targets")).json()["items"] == []


async def test_a_scope_is_shown_changed_and_ended(
    admin: httpx.AsyncClient, operator: httpx.AsyncClient, viewer: httpx.AsyncClient
) -> None:
    later = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    scope = await approve(admin, approved_by="Ada", note="Contract 17", valid_until=later)
    path = f"scopes/{scope['id']}"
    assert (await viewer.get(path)).json() == scope
    assert scope["approved_by"] == "Ada"
    assert (await admin.post("scopes", json=PERIMETER)).status_code == 409
    await add(operator, "host", "www.example.com")
    other = await approve(admin, name="other", allows=[{"kind": "cluster", "value": "prod"}])
    taken = await admin.patch(f"scopes/{other['id']}", json={"name": "perimeter"})
    assert taken.status_code == 409
    changed = (await admin.patch(path, json={"note": "", "valid_until": None})).json()
    assert (changed["note"], changed["valid_until"]) == ("", None)
    assert changed["allows"] == scope["allows"]
    narrowed = await admin.patch(path, json={"allows": [{"kind": "cidr", "value": "203.0.113.1"}]})
    assert narrowed.json()["allows"][0]["value"] == "203.0.113.1/32"
    assert (await viewer.get("targets")).json()["items"][0]["scope"] is None
    ended = await admin.patch(path, json={"valid_until": "2020-01-01T00:00:00Z"})
    assert ended.status_code == 200
    for query, name in (("valid=true", "other"), ("valid=false", "perimeter")):
        found = (await viewer.get(f"scopes?{query}")).json()["items"]
        assert [each["name"] for each in found] == [name]
    first = (await viewer.get("scopes?limit=1")).json()
    rest = (await viewer.get(f"scopes?cursor={first['next_cursor']}")).json()
    assert [each["name"] for each in first["items"] + rest["items"]] == ["perimeter", "other"]


WRONG_SCOPES: list[tuple[Row, str, str]] = [
    ({"allows": []}, "allows", "at least 1"),
    ({"allows": ["203.0.113.0/24"]}, "allows[0]", "JSON object"),
    ({"allows": [{"kind": "cluster", "value": "a"}, {"kind": "cidr", "value": "0.0.0.0/0"}]},
     "allows[1].value", "at most a /8"),
    ({"allows": [{"kind": "cidr", "value": "127.0.0.0/8"}]}, "allows[0].value", "loopback"),
    ({"allows": [{"kind": "domain", "value": "*.example.com"}]}, "allows[0].value", "subdomains"),
    ({"allows": [{"kind": "cluster", "value": "a", "subdomains": True}]}, "allows[0].value",
     "Only a domain"),
    ({"name": ""}, "name", "at least 1"),
    ({"valid_until": "0001-01-01T00:00:00Z"}, "valid_until", "between the years"),
    ({"valid_until": "9999-12-31T23:59:59-14:00"}, "valid_until", "between the years"),
]  # fmt: skip


async def test_a_scope_that_cannot_be_is_refused_with_its_field(admin: httpx.AsyncClient) -> None:
    kept = await approve(admin, name="kept")
    for change, field, words in WRONG_SCOPES:
        for answer in (
            await admin.post("scopes", json=PERIMETER | change),
            await admin.patch(f"scopes/{kept['id']}", json=change),
        ):
            messages = errors_of(answer)
            assert words in messages.get(field, ""), (change, messages)
    past = await admin.post("scopes", json=PERIMETER | {"valid_until": "2020-01-01T00:00:00Z"})
    assert "has passed" in errors_of(past)["valid_until"]
    nulls = errors_of(await admin.patch(f"scopes/{kept['id']}", json={"allows": None}))
    assert "cannot be null" in nulls["allows"]
    assert (await admin.get("scopes")).json()["items"] == [kept]


async def test_a_scope_that_targets_rely_on_is_not_deleted_and_they_are_named(
    admin: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    scope = await approve(admin)
    path = f"scopes/{scope['id']}"
    await add(operator, "host", "www.example.com")
    await add(operator, "cidr", "203.0.113.0/28")
    refused = await admin.delete(path)
    assert refused.status_code == 409
    assert refused.json()["detail"] == (
        "2 targets lie in this scope only: host www.example.com, cidr 203.0.113.0/28."
    )
    assert "scope end 'perimeter'" in refused.json()["fix"]
    await approve(admin, name="also", allows=[{"kind": "cidr", "value": "203.0.113.0/26"}])
    assert "1 target lies in this scope only: host" in (await admin.delete(path)).json()["detail"]
    for number in range(11):
        await add(operator, "host", f"h{number}.example.com")
    assert "and 2 more" in (await admin.delete(path)).json()["detail"]
    await admin.patch(path, json={"valid_until": "2020-01-01T00:00:00Z"})
    assert (await admin.delete(path)).status_code == 204
    assert (await admin.delete(path)).status_code == 404


async def test_a_check_says_which_scope_allows_it_and_where_or_which_rule_refuses(
    admin: httpx.AsyncClient, operator: httpx.AsyncClient, names: dict[str, list[str]]
) -> None:
    scope = await approve(admin)

    async def check(target: Row) -> Row:
        answer = await operator.post(f"targets/{target['id']}/check")
        assert answer.status_code == 200, answer.text
        said: Row = answer.json()
        return said

    www = await add(operator, "url", "https://www.example.com/")
    names["www.example.com"] = ["203.0.113.9", "198.51.100.1"]
    said = await check(www)
    assert (said["ok"], said["rule"], said["error"]) == (True, None, None)
    assert said["scope"] == {"id": scope["id"], "name": "perimeter"}
    assert said["addresses"] == ["198.51.100.1", "203.0.113.9"]
    for addresses, rule in (
        (["203.0.113.9", "169.254.169.254"], "metadata"), (["127.0.0.1"], "loopback"),
        (["10.0.0.5"], "private"), ([], "unresolved"),
    ):  # fmt: skip
        names["www.example.com"] = addresses
        said = await check(www)
        assert (said["ok"], said["rule"], said["scope"]) == (False, rule, None), said
        assert "www.example.com" in said["error"]
        assert said["fix"]
    assert (await check(await add(operator, "host", "gone.example.com")))["rule"] == "unresolved"
    network = await add(operator, "cidr", "203.0.113.0/28")
    assert (await check(network))["addresses"] == ["203.0.113.0/28"]
    folder = await add(operator, "repository", "/srv/repositories/shop")
    assert (await check(folder))["path"] == "/srv/repositories/shop"
    await operator.patch(f"targets/{network['id']}", json={"enabled": False})
    assert (await check(network))["rule"] == "disabled"
    await admin.patch(f"scopes/{scope['id']}", json={"valid_until": "2020-01-01T00:00:00Z"})
    said = await check(folder)
    assert said["rule"] == "scope_expired"
    assert "which ended at 2020-01-01 00:00 UTC" in said["error"]


async def test_loopback_is_for_tests_and_our_own_servers_are_refused_even_then(
    settings: Settings, namespace: object, team: Team
) -> None:
    app = create_app(settings.model_copy(update={"allow_loopback_targets": True}))
    async with (
        app.router.lifespan_context(app), open_client(app, team.keys[Role.ADMIN]) as admin,
    ):  # fmt: skip
        await approve(admin, allows=[{"kind": "cidr", "value": "127.0.0.0/8"}])
        whole = await add(admin, "host", "127.0.0.1")
        said = (await admin.post(f"targets/{whole['id']}/check")).json()
        assert said["ok"] is True
        assert said["closed_ports"] == sorted({settings.api_port, settings.temporal_port, 8233})
        for port in said["closed_ports"]:
            answer = await admin.post(
                "targets", json={"kind": "host", "value": f"127.0.0.1:{port}"}
            )
            assert "our own" in errors_of(answer)["value"]
        metadata = await admin.post("targets", json={"kind": "host", "value": "169.254.169.254"})
        assert "metadata" in errors_of(metadata)["value"]


@pytest.mark.parametrize("name", examples.TARGETS)
async def test_the_documented_examples_are_accepted(admin: httpx.AsyncClient, name: str) -> None:
    for scope in examples.SCOPES.values():
        answer = await admin.post("scopes", json=scope["value"])
        assert answer.status_code == 201, answer.text
    answer = await admin.post("targets", json=examples.TARGETS[name]["value"])
    assert answer.status_code == 201, answer.text
    assert answer.json()["value"] == examples.TARGETS[name]["value"]["value"]


async def test_roles_and_teams_are_kept_apart(
    admin: httpx.AsyncClient, operator: httpx.AsyncClient, viewer: httpx.AsyncClient,
    call: Caller, stranger: Team,
) -> None:  # fmt: skip
    scope = await approve(admin)
    target = await add(operator, "host", "www.example.com")
    other = call(stranger.keys[Role.ADMIN])
    paths = (f"targets/{target['id']}", f"scopes/{scope['id']}")
    for path in paths:
        for method in ("GET", "PATCH", "DELETE"):
            body = {} if method == "PATCH" else None
            assert (await other.request(method, path, json=body)).status_code == 404
            if method != "GET":
                assert (await viewer.request(method, path, json=body)).status_code == 403
    assert (await other.post(f"{paths[0]}/check")).status_code == 404
    assert (await viewer.post(f"{paths[0]}/check")).status_code == 403
    assert (await viewer.post("targets", json=WWW)).status_code == 403
    assert (await operator.post("scopes", json=PERIMETER)).status_code == 403
    assert (await operator.patch(paths[1], json={})).status_code == 403
    assert (await operator.delete(paths[1])).status_code == 403
    for noun in ("targets", "scopes"):
        assert (await other.get(noun)).json()["items"] == []
    refused = await other.post("targets", json=WWW)  # another team's scope allows nothing here
    assert "lies in no scope" in errors_of(refused)["value"]
