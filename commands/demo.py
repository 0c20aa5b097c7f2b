"""`cloudsweep demo`: scan the bundled demo cloud, show what was found, say where to look next."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from commands.client import DONE, FAILED, Api, Failure, Row
from commands.findings import finding_table
from commands.live import follow
from commands.output import SEVERITIES, cell, clock, console, say, short, table
from contracts.vocabulary import FindingState, FindingStatus, ScanStatus

if TYPE_CHECKING:
    from runtime.embedded.children import ChildSpec
    from runtime.embedded.stack import Stack
    from runtime.settings import Settings

ACCOUNT: Final = "demo"
WORST: Final = 10
SERVICES_SHOWN: Final = 8


def run(*, full: bool, keep: bool) -> int:
    """Bring the stack up with the demo cloud beside it, scan, show; the exit code."""
    from runtime.embedded.processes import StackFailed
    from runtime.settings import get_settings

    settings = get_settings()
    say("Starting PostgreSQL, Temporal, the API, a worker and the demo cloud ...")
    try:
        with _running(settings) as stack:
            api = Api(stack.api_url, stack.key_file.read_text().strip())
            try:
                scan = _scan(api, settings, full=full)
                _show(api, scan)
                _say_what_next(stack, scan, keep=keep)
                if keep:
                    _wait_for_interrupt()
            finally:
                api.close()
    except StackFailed as error:
        raise Failure(error.message, fix=error.fix) from error
    done = (ScanStatus.COMPLETED, ScanStatus.COMPLETED_WITH_ERRORS)
    return DONE if scan["status"] in done else FAILED


@contextmanager
def _running(settings: Settings) -> Iterator[Stack]:
    """The stack in a thread of its own, so that this one may wait and hear Ctrl-C."""
    from anyio.from_thread import start_blocking_portal

    from demo.steampipe_standin import steampipe_url
    from runtime.embedded.postgres import database_url
    from runtime.embedded.stack import embedded_stack

    # The demo cloud lacks some calls for good: asking again would only take time.
    environment, inventory = {"PROWLER_AWS_BOTO3_RETRIES_MAX_ATTEMPTS": "0"}, None
    if settings.database_url is None and settings.steampipe_url is None:
        inventory = database_url(settings.data_dir.resolve())
        environment["CLOUDSWEEP_STEAMPIPE_URL"] = steampipe_url(inventory)
    stack = embedded_stack(
        settings,
        extra_children=[_demo_cloud(settings, inventory)],
        environment=environment,
        say=say,
    )
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(stack) as running:
        yield running


def _demo_cloud(settings: Settings, inventory: str | None) -> ChildSpec:
    """The demo cloud; given a PostgreSQL it also fills the stand-in for Steampipe there."""
    from runtime.embedded import ports
    from runtime.embedded.children import ChildSpec

    async def port_is_free() -> None:
        ports.require_free_port("127.0.0.1", settings.demo_port, "CLOUDSWEEP_DEMO_PORT")

    command = [sys.executable, "-P", "-m", "demo.serve", "--port", str(settings.demo_port)]
    if inventory is not None:
        command += ["--steampipe", inventory]
    return ChildSpec(
        name="demo-cloud",
        command=command,
        prepare=port_is_free,
        ready=ports.http_ready(f"{_endpoint(settings)}/demo-cloud"),
        ready_seconds=180,
    )


def _endpoint(settings: Settings) -> str:
    return f"http://127.0.0.1:{settings.demo_port}"


def _scan(api: Api, settings: Settings, *, full: bool) -> Row:
    """Register the demo account, or find it from the last time, and scan it to the end."""
    from demo import cloud

    account = {
        "credentials": {"kind": "file", "path": str(_credentials(settings))},
        "regions": list(cloud.REGIONS),
        "endpoint_url": _endpoint(settings),
    }
    known = [row for row in api.page("accounts", {}, 500)["items"] if row["name"] == ACCOUNT]
    if known:
        identity = known[0]["id"]
        api.patch(f"accounts/{identity}", {**account, "enabled": True})
    else:
        identity = api.post("accounts", {"name": ACCOUNT, "provider": "aws", **account})["id"]
    services = {} if full else {"services": list(cloud.DEMO_SERVICES)}
    scope = "every service" if full else f"{len(cloud.DEMO_SERVICES)} services"
    say(f"Scanning {cloud.PRODUCTION_NAME}: {scope} in {len(cloud.REGIONS)} regions ...")
    return follow(api, api.post("scans", {"account_id": identity, **services}))


def _credentials(settings: Settings) -> Path:
    """A secret file as a real account would have it, with the demo cloud's well-known key."""
    from demo import cloud

    path = settings.data_dir.resolve() / "demo-credentials"
    text = (
        "[default]\n"
        f"aws_access_key_id = {cloud.ACCESS_KEY_ID}\n"
        f"aws_secret_access_key = {cloud.SECRET_ACCESS_KEY}\n"
    )
    new = path.with_suffix(".new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    new.replace(path)
    return path


def _show(api: Api, scan: Row) -> None:
    """The end, counts by severity and service, the worst findings."""
    output = console()
    output.print()
    output.print(
        f"Scan {short(scan['id'])} {scan['status']} in {clock(scan['duration_seconds'])}: "
        f"{scan['counts']['resources']} resources, "
        f"{sum(scan['counts']['findings'].values())} verdicts.",
        style="bold",
    )
    for note in scan["notes"]:
        output.print(note)
    if scan["error"] is not None:
        output.print(f"{scan['error']['message']} {scan['error']['fix'] or ''}")
    open_fails = {
        "account_id": scan["account_id"],
        "status": FindingStatus.FAIL,
        "state": FindingState.OPEN,
    }
    summary = api.get("findings/summary", open_fails)
    if not summary["total"]:
        return
    severities = table("SEVERITY", ">FAILING")
    for severity in SEVERITIES:
        severities.add_row(cell(severity), str(summary["severity"].get(severity, 0)))
    services = table("SERVICE", ">FAILING")
    by_count = sorted(summary["service"].items(), key=lambda pair: -pair[1])
    for service, count in by_count[:SERVICES_SHOWN]:
        services.add_row(cell(service), str(count))
    output.print()
    output.print(_beside(severities, services))
    output.print(f"\nThe {WORST} worst of {summary['total']} failing findings:", style="bold")
    output.print(finding_table(api.page("findings", open_fails, WORST)["items"]))


def _beside(*tables: object) -> object:
    from rich.columns import Columns

    return Columns(tables, padding=(0, 6))  # type: ignore[arg-type]


def _say_what_next(stack: Stack, scan: Row, *, keep: bool) -> None:
    output = console()
    if keep:
        output.print("\nThe stack runs until Ctrl-C. Look at:", style="bold")
        output.print(f"  API docs      {stack.docs_url}")
        output.print(f"  Temporal      {scan['temporal_url'] or stack.ui_url}")
        output.print(f"  Admin key     {stack.key_file}")
    else:
        output.print("\nWhere to look next:", style="bold")
        output.print("  make up                        start the stack again on these results")
        output.print(f"  {stack.docs_url:<30} then: the API, with its docs")
        output.print(f"  {stack.ui_url or '':<30} then: the scan in the Temporal Web UI")
    output.print("  cloudsweep finding list        in another terminal (.venv/bin/cloudsweep)")
    output.print("  cloudsweep account add         your own account: see docs/accounts.md")


def _wait_for_interrupt() -> None:
    import signal

    try:
        signal.pause()
    except KeyboardInterrupt:
        say("Stopping ...")
