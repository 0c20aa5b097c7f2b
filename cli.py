"""The `cloudsweep` command: speaks to the API, in its words."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Final, Never

import typer
from typer.exceptions import TyperException

from commands import (
    accounts,
    assets,
    cascades,
    decisions,
    finding_export,  # noqa: F401  (adds its command to that of findings)
    findings,
    health,
    imports,
    inventory,
    items,
    jobs,
    keys,
    mute_rules,
    policies,
    retention,
    runs,
    scanners,
    scans,
    schedules,
    scopes,
    sla,
    stack,
    targets,
    vulnerability_export,  # noqa: F401  (adds its command to that of vulnerabilities)
)
from commands.client import DONE, FAILED, WRONG_USAGE, Failure
from commands.output import complain, say
from contracts.errors import CloudsweepError
from runtime.version import VERSION

PYDANTIC: Final = "Value error, "
"""What it puts before the words of a validator."""

app = typer.Typer(
    name="cloudsweep",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Cloud-security scans that are never lost.\n\n"
    "Begin with `cloudsweep demo`, or `cloudsweep up` and `cloudsweep account add`. The server is "
    "found by CLOUDSWEEP_API_URL and CLOUDSWEEP_API_KEY, else by the data directory. Exit codes: "
    "0 done, 1 the work failed, 2 wrong usage, 3 the server cannot be reached.",
)
app.command("up")(stack.up)
app.command("demo")(stack.demo)
app.add_typer(accounts.app, name="account")
app.add_typer(targets.app, name="target")
app.add_typer(scopes.app, name="scope")
app.add_typer(policies.app, name="policy")
app.add_typer(cascades.app, name="cascade")
app.add_typer(scans.app, name="scan")
app.add_typer(schedules.app, name="schedule")
app.add_typer(jobs.app, name="job")
app.add_typer(runs.app, name="run")
app.add_typer(items.app, name="item")
app.add_typer(findings.app, name="finding")
app.add_typer(decisions.app, name="vuln")
app.add_typer(decisions.app, name="vulnerability", hidden=True)
app.add_typer(mute_rules.app, name="mute")
app.add_typer(sla.app, name="sla")
app.add_typer(retention.app, name="retention")
app.command("import")(imports.import_file)
app.add_typer(assets.app, name="asset")
app.add_typer(inventory.resource, name="resource")
app.add_typer(inventory.check, name="check")
app.add_typer(keys.app, name="key")
app.add_typer(scanners.app, name="scanners")
app.command("health")(health.health)
app.command("settings")(stack.settings)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"cloudsweep {VERSION}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of the command itself."""


def main() -> None:
    """Run the command line; a failure is words on stderr and an exit code, never a traceback."""
    as_json = "--json" in sys.argv
    try:
        code = app(prog_name="cloudsweep", standalone_mode=False)
        sys.stdout.flush()
        sys.exit(code)
    except TyperException as wrong:
        if type(wrong).__name__ == "NoArgsIsHelpError":
            typer.echo(wrong.format_message(), err=True)
            sys.exit(wrong.exit_code)
        complain(_usage(wrong), as_json)
        sys.exit(wrong.exit_code)
    except typer.Abort:
        say("Aborted: nothing was changed.")
        sys.exit(FAILED)
    except Failure as failure:
        complain(failure, as_json)
        sys.exit(failure.code)
    except BrokenPipeError:  # `cloudsweep finding list | head`
        _end_unread()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # which Typer makes a failure
            _end_unread()
        raise
    except OSError as error:  # such as a full disk behind `>`
        message = f"{error.filename or 'The output'}: {error.strerror}."
        complain(Failure(message), as_json)
        _end_unread(FAILED)
    except CloudsweepError as error:  # settings that do not parse
        complain(Failure(error.message, fix=error.fix), as_json)
        sys.exit(WRONG_USAGE)


def _end_unread(code: int = DONE) -> Never:
    """Whoever read the output has enough, or it has no room: no word of Python's on the rest."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _usage(wrong: TyperException) -> Failure:
    """Wrong usage in our form; Typer's own says what pydantic said, below two lines of usage."""
    command = getattr(getattr(wrong, "ctx", None), "command_path", "cloudsweep")
    message = wrong.format_message().replace(PYDANTIC, "").replace("\n\t", " ")
    return Failure(message, fix=f"`{command} --help` shows how.", code=wrong.exit_code)


if __name__ == "__main__":
    main()
