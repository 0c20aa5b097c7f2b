"""What may leave a process in text, and what may not."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.redaction import redact

KEY_ID = "AKIA" + "IOSFODNN7EXAMPLE"[:16]
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nsecretlines\n-----END RSA PRIVATE KEY-----"
)
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVPmB92K27uhbUJU1p1r"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"credentials {KEY_ID} were refused", KEY_ID),
        (f"aws_secret_access_key = {SECRET_KEY}", SECRET_KEY),
        (f"signing with {SECRET_KEY} failed", SECRET_KEY),
        (f'{{"SecretAccessKey": "{SECRET_KEY}", "Region": "eu-west-1"}}', SECRET_KEY),
        ('{\\"SessionToken\\": \\"FwoGZXIvYXdz with spaces\\"}', "FwoGZXIvYXdz"),
        ("Authorization: Bearer abcdef123456", "abcdef123456"),
        ("'authorization': 'Basic dXNlcjpwYXNz'", "dXNlcjpwYXNz"),
        ("sent bearer 9f8e7d6c5b4a", "9f8e7d6c5b4a"),
        (f"token is {JWT}", JWT),
        ("postgresql://scan:hunter2@db.internal:5432/cloudsweep", "hunter2"),
        ("postgresql+asyncpg://scan:p@ss:w0rd@db/cloudsweep", "p@ss:w0rd"),
        ("?X-Amz-Signature=0123456789abcdef&X-Amz-Expires=60", "0123456789abcdef"),
        ("?X-Amz-Security-Token=IQoJb3JpZ2luX2Vj&x=1", "IQoJb3JpZ2luX2Vj"),
        (f"the key file held {PEM} and more", "secretlines"),
        (PEM[:60], "MIIEpAIBAAKCAQEA"),
        ("your key is csk_0123456789abcdef", "0123456789abcdef"),
        ("TEMPORAL_API_KEY=tmprl-abc", "tmprl-abc"),
        ("PGPASSWORD='two words'", "two words"),
        ("password: hunter2", "hunter2"),
    ],
)
def test_a_secret_is_taken_out(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in redact(text)
    assert "[redacted]" in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "AccessDenied: User: arn:aws:iam::123456789012:user/scanner is not authorized",
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-AbCdEf",
        "An error occurred (InvalidClientTokenId): The security token is invalid.",
        "ExpiredTokenException: The security token included in the request is expired",
        "scan/0197f3a2-7c1e-7d3b-9f00-1a2b3c4d5e6f failed in eu-west-1",
        "commit 3f786850e387550fdab836ed7e6dc881de23001b",
        "http://127.0.0.1:8233/namespaces/default/workflows",
        "postgresql://cloudsweep@/cloudsweep?host=/tmp/run",
        "s3_bucket_secure_transport_policy: basic checks of bearer bonds",
    ],
)
def test_what_tells_the_reader_something_stays(text: str) -> None:
    assert redact(text) == text


def test_long_text_is_cut_and_says_so() -> None:
    assert len(redact("x " * 50_000)) == 8_000
    assert redact("x " * 50_000).endswith("[cut]")
    assert len(redact("x" * 500, limit=100)) == 100


def test_a_secret_across_the_cut_does_not_show_its_first_half() -> None:
    for start in range(7_960, 8_000):
        assert "wJalr" not in redact("x " * (start // 2) + f"key {SECRET_KEY} " + "y " * 500)


@pytest.mark.parametrize(
    "text", ["a" * 20_000, "token" * 5_000, "a.b-" * 5_000, "eyJ" * 7_000, "-----BEGIN " * 2_000]
)
def test_hostile_text_ends(text: str) -> None:
    assert len(redact(text)) <= 8_000


@given(st.text(alphabet=string.printable, max_size=300))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact(text)
    assert len(once) <= 8_000
    assert redact(once).count("[redacted]") >= once.count("[redacted]")
