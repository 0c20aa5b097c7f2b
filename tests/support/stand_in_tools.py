"""Stand-ins for scanners that the tests cannot have: programs that behave as those are documented.

Each takes the tool's own arguments, writes a report where the tool would, and ends as the tool
ends: with a code, in the middle of a report, or not at all. They find nothing by themselves.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

Behaviour = Literal["works", "fails", "says no", "is killed", "hangs"]

_PROGRAM = """#!{python} -S
import json, os, signal, sys, time
tool, behaviour, report = {tool!r}, {behaviour!r}, open({report!r}, "rb").read()
arguments = sys.argv[1:]
if behaviour == "says no":  # as for an option that it does not know
    sys.stderr.write("FATAL\\x1b[0m unknown flag\\n")
    sys.exit(1)


def after(option):
    return arguments[arguments.index(option) + 1]


if tool == "trivy":
    out = open(after("--output"), "wb")
elif tool == "nuclei":
    out = open(after("-o"), "wb")
elif tool == "zap.sh":
    jobs = json.load(open(after("-autorun")))["jobs"]
    place = next(job["parameters"] for job in jobs if job["type"] == "report")
    out = open(os.path.join(place["reportDir"], place["reportFile"]), "wb")
else:
    out = sys.stdout.buffer
done = behaviour in ("works", "fails")
out.write(report if done else report[: len(report) * 2 // 3])
out.flush()
if tool == "nuclei":
    percent = "100" if done else "40"
    for each in ("10", percent):
        statistics = {{"percent": each, "requests": "200", "errors": "1", "matched": "2"}}
        sys.stderr.write(json.dumps(statistics) + "\\n")
        sys.stderr.flush()
if behaviour == "hangs":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:
        os.setsid()
    time.sleep(60)
if behaviour == "is killed":
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(1 if behaviour == "fails" else 0)
"""


def put(directory: Path, tool: str, behaviour: Behaviour, report: Path) -> None:
    """A stand-in of this name in `directory`, which a test puts on the PATH."""
    program = directory / tool
    program.write_text(
        _PROGRAM.format(
            python=sys.executable, tool=tool, behaviour=behaviour, report=str(report.absolute())
        )
    )
    program.chmod(0o755)
