"""`cloudsweep cascade`: rules as a person keeps and tries them."""

from __future__ import annotations

from contracts.observations import ObservedResource
from storage.database import Database
from tests.api.conftest import Team
from tests.api.stored import make_account, store_scan
from tests.cli.conftest import InProcess


async def test_a_rule_is_added_tried_enabled_and_removed(
    in_process: InProcess, database: Database, team: Team
) -> None:
    listed = await in_process("cascade list")
    assert listed.code == 0, listed.err
    assert "tls-port-testssl" in listed.out
    assert "new ssl-cert, ssl-enum-ciphers of nmap" in listed.out
    assert "testssl (normal) on its host_port" in listed.out
    assert "scheme=internet-facing" in listed.out
    added = await in_process(
        "cascade add new-shops --type ec2_*_load_balancer --attribute scheme=internet-facing"
        " --tag env=prod --tool zap --target url --policy gentle --max-targets 5"
    )
    assert added.code == 0, added.err
    assert "new ec2_*_load_balancer; scheme=internet-facing; env=prod" in added.out
    assert "zap (gentle) on its url" in added.out
    assert "cascade preview SCAN --rule new-shops" in added.err
    ports = await in_process(
        "cascade add tls --source nmap --check ssl-* --ports 443 --severity high --tool sslyze"
        " --enable --json"
    )
    assert ports.json["enabled"] is True
    assert ports.json["when"]["severity"] == ["high"]

    await in_process("scope add shops --domain shop.example.com")
    balancers = [
        ObservedResource(
            uid=f"arn:{name}", type="ec2_network_load_balancer", name=name, region="eu-west-1",
            tags={"env": "prod"}, attributes={"scheme": "internet-facing", "dns_name": name},
        )
        for name in ("shop.example.com", "api.example.com")
    ]  # fmt: skip
    account_id = await make_account(database, team.id)
    await store_scan(database, team.id, account_id, resources=balancers)
    tried = await in_process("cascade preview last --rule new-shops")
    assert tried.code == 0, tried.err
    assert "https://shop.example.com/" in tried.out
    assert "refused: out_of_scope" in tried.out
    assert "new-shops: off; enabled, it starts zap (gentle) on 1 target" in tried.err
    every = await in_process("cascade preview last")
    assert "tls: The scan found nothing new that the rule waits for." in every.err
    assert len((await in_process("cascade preview last --json")).json["rules"]) == 5

    assert (await in_process("cascade enable new-shops --json")).json["enabled"] is True
    assert "on" in (await in_process("cascade show new-shops")).out
    assert (await in_process("cascade disable new-shops --json")).json["enabled"] is False
    kept = await in_process("cascade remove tls-port-testssl --yes")
    assert kept.code == 1
    assert "cloudsweep cascade disable tls-port-testssl" in kept.err
    assert (await in_process("cascade remove new-shops --yes")).code == 0
    assert (await in_process("cascade show new-shops")).code == 2


async def test_what_is_wrong_is_told_with_its_fix(in_process: InProcess) -> None:
    for line in ("--tool nmap", "--tool nmap --source nmap --check x --type y"):
        ran = await in_process(f"cascade add wrong {line}")
        assert ran.code == 2
        assert "--source and --check; or --type" in ran.err
    tool = await in_process("cascade add wrong --type x --tool checkov")
    assert tool.code == 2
    assert "checkov does not look at a host. These do: nmap" in tool.err
