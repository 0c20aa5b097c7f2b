"""Whatever a file of somebody's own holds: findings that can be stored, or ReportMalformed."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import ReportMalformed
from contracts.vocabulary import FindingStatus, Provider, Severity
from scanners.processes.json_records import JsonRecords
from scanners.prowler import prowler_ocsf
from tests.support.mutations import HOSTILE, mutated

RECORD: Final[dict[str, Any]] = {
    "class_uid": 2004,
    "metadata": {"event_code": "s3_bucket_public_access"},
    "finding_info": {"title": "Bucket is public", "desc": "Anybody reads it."},
    "severity": "High",
    "status_id": 1,
    "status_code": "FAIL",
    "status_detail": "Bucket assets is public.",
    "risk_details": "Data leaks.",
    "remediation": {"desc": "Block it.", "references": ["https://a.example"]},
    "resources": [{"uid": "arn:aws:s3:::assets", "name": "assets", "type": "s3", "region": "r"}],
    "cloud": {"provider": "aws", "region": "r", "account": {"uid": "123456789012"}},
    "unmapped": {
        "related_url": "https://b.example",
        "additional_urls": ["https://c.example"],
        "categories": ["internet-exposed"],
        "compliance": {"CIS-5.0": ["1.1"]},
        "provider": "aws",
        "provider_uid": "123456789012",
    },
}
CLUSTER: Final = {key: value for key, value in RECORD.items() if key != "cloud"}
EXAMPLES = settings(max_examples=200, deadline=None)


def read(content: bytes) -> None:
    """As an upload is read, and a look at everything that comes out."""
    records = JsonRecords()
    try:
        for record in [*records.feed(content), *records.close()]:
            reported = prowler_ocsf.read(record.value)
            finding = reported.finding
            text = prowler_ocsf.read_text(record.value, finding, Provider.AWS)
            assert finding.severity in Severity
            assert finding.status in FindingStatus
            texts = [reported.provider, reported.account_uid, *map(str, finding)]
            assert "\0" not in "".join([*texts, text.model_dump_json()])
            "".join(texts).encode()
    except ReportMalformed as error:
        assert error.message.isprintable()


@pytest.mark.parametrize("name", ["class_uid", "severity", "status_code", "status_detail"])
def test_a_word_of_somebody_who_means_harm_is_harmless(name: str) -> None:
    read(json.dumps(RECORD | {name: "\ud800\0\x1b[2J\u202e"}).encode())


@EXAMPLES
@given(content=st.binary(max_size=200))
def test_any_bytes(content: bytes) -> None:
    read(content)
    read(b"[" + content)


@EXAMPLES
@given(data=st.data())
def test_a_file_with_a_piece_cut_out_or_put_in(data: st.DataObject) -> None:
    content = json.dumps([RECORD, CLUSTER]).encode()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 200)))
    middle = data.draw(st.binary(max_size=20) | HOSTILE.map(lambda x: x.encode("utf-8", "replace")))
    read(content[:start] + middle + content[end:])


@EXAMPLES
@given(data=st.data(), record=st.sampled_from([RECORD, CLUSTER]))
def test_a_record_with_other_values(data: st.DataObject, record: dict[str, Any]) -> None:
    read(json.dumps([mutated(record, data)]).encode())
