"""What docs/native-scans.md says of tools is what is planned."""

from __future__ import annotations

import re
from pathlib import Path

from contracts.vocabulary import TargetKind
from scanners.native.native_tools import SUITABLE

DOC = Path(__file__).parents[2] / "docs" / "native-scans.md"


def test_every_target_kind_is_told_with_its_tools() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", DOC.read_text(), re.MULTILINE)
    told = {TargetKind(kind): set(re.findall(r"`(\w+)`", words)) for kind, words in rows}
    assert told == {kind: set(map(str, tools)) for kind, tools in SUITABLE.items()}
