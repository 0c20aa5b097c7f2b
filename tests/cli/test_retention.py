"""`cloudsweep retention`: the API's words, for people and for machines."""

from __future__ import annotations

from tests.cli.conftest import InProcess


async def test_policies_are_shown_changed_and_previewed(in_process: InProcess) -> None:
    shown = await in_process("retention show")
    assert [line.split()[0] for line in shown.out.splitlines()] == [
        *("KIND", "events", "resolved_findings", "scans", "runs", "gone_resources"),
    ]
    assert "180 days" in shown.out
    changed = await in_process("retention set scans=90 runs=never --json")
    days = {item["kind"]: item["keep_days"] for item in changed.json["items"]}
    assert (days["scans"], days["runs"], days["events"]) == (90, None, 400)
    assert "for ever" in (await in_process("retention show")).out
    preview = await in_process("retention preview events=30")
    assert "30 days" in preview.out
    assert "NEEDED" in preview.out
    machine = (await in_process("retention preview --json")).json
    assert {each["deletes"] for each in machine["kinds"]} == {0}


async def test_holds_are_added_listed_and_lifted(in_process: InProcess) -> None:
    assert "No legal holds" in (await in_process("retention hold list")).err
    added = await in_process(
        "retention hold add case-4711 --severity critical --severity high --tag customer:acme",
        "--reason", "The court asked.",
    )  # fmt: skip
    assert added.code == 0
    assert "every kind: severity critical, high; tag customer:acme" in added.out
    runs = await in_process("retention hold add all-runs --kind runs --json --reason", "Audit.")
    assert runs.json["kinds"] == ["runs"]
    listed = await in_process("retention hold list")
    assert "case-4711" in listed.out
    assert "all runs" in listed.out
    lifted = await in_process("retention hold lift case-4711")
    assert lifted.out.startswith("Lifted: case-4711")
    by_id = await in_process(f"retention hold lift {runs.json['id'][-8:]} --json")
    assert by_id.json["lifted_by"] == "admin"
    assert "LIFTED BY" in (await in_process("retention hold list --lifted")).out


async def test_wrong_words_are_wrong_usage(in_process: InProcess) -> None:
    for line, words in (
        ("retention set scan=90", "Kinds: events"),
        ("retention set scans=soon", "runs=never"),
        ("retention set scans=9 events=0", "at least 1"),
        ("retention set", "KIND=DAYS"),
        ("retention preview scans", "events=90"),
        ("retention hold lift nothing", "retention hold list"),
        ("retention hold add x --reason y", "Name at least one of"),
        ("retention hold add x --kind run --reason y", "run"),
        ("retention hold add x --tag env --reason y", "key:value"),
        ("retention hold add x --account nowhere --reason y", "nowhere"),
    ):
        ran = await in_process(line)
        assert (ran.code, words in ran.err) == (2, True), (line, ran.err)
    kept = await in_process("retention show --json")
    assert all(item["is_default"] for item in kept.json["items"])
