"""A stand-in for Trivy that goes wrong in the way that the tag of its image says."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

HOSTILE: Final = "=cmd|'/c calc'!A1 [red]\x1b[2J\x1b]0;owned\x07\u202e<script>alert(1)</script>"
REPORT: Final[dict[str, Any]] = {
    "SchemaVersion": 2,
    "Results": [
        {
            "Target": HOSTILE,
            "Vulnerabilities": [
                {
                    "VulnerabilityID": "CVE-2023-0286",
                    "PkgName": HOSTILE,
                    "InstalledVersion": HOSTILE,
                    "FixedVersion": HOSTILE,
                    "Severity": "HIGH",
                    "Title": HOSTILE,
                    "Description": HOSTILE,
                    "PrimaryURL": "javascript:alert(1)",
                }
            ],
        }
    ],
}

_PROGRAM: Final = """#!{python} -S
import os, signal, sys, time
way = "works" if os.path.exists({calm!r}) else sys.argv[-1].rpartition(":")[2]
report = open(sys.argv[sys.argv.index("--output") + 1], "wb")
if way == "works":
    report.write({report!r})
elif way == "complains":
    sys.exit({hostile!r})
elif way == "killed":
    report.write({report!r}[:100])
    report.flush()
    os.kill(os.getpid(), signal.SIGKILL)
elif way == "floods":
    while True:
        report.write(b"x" * 100_000)
elif way == "two-gigabytes":
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # as in any program but Python
    report.truncate(2_000_000_000)
elif way == "silent":
    os.unlink(report.name)
elif way in ("hangs", "forks"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for _ in range(20 if way == "forks" else 1):
        if os.fork() == 0:
            os.setsid()
            break
    time.sleep(60)
"""


def put(directory: Path) -> Path:
    """It, as `trivy` in `directory`; it works as long as there is a file `calm` beside it."""
    program = directory / "trivy"
    program.write_text(
        _PROGRAM.format(
            python=sys.executable,
            calm=str(directory / "calm"),
            report=json.dumps(REPORT).encode(),
            hostile=HOSTILE,
        )
    )
    program.chmod(0o755)
    return program
