"""What an upload holds: raw or a form, packed or not, cut anywhere, and never past its limit."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from api.uploads import uploaded_file
from contracts.errors import ReportMalformed

FILE = b'[{"a": "\r\n--border is not the end"}]'
LIMIT = 1_000_000


def form(*parts: bytes) -> bytes:
    """A multipart form of these parts."""
    return b"".join(b"--border\r\n" + part + b"\r\n" for part in parts) + b"--border--\r\n"


def part(content: bytes, disposition: bytes = b'name="file"; filename="x.json"') -> bytes:
    """One part of a form."""
    return b"Content-Disposition: form-data; " + disposition + b"\r\n\r\n" + content


async def received(body: bytes, step: int = 10_000, limit: int = LIMIT, **headers: str) -> bytes:
    """What arrives of a body that is sent so many bytes at a time."""
    pieces = [body[start : start + step] for start in range(0, len(body), step)] or [b""]

    async def messages() -> AsyncIterator[Message]:
        for index, piece in enumerate(pieces, 1):
            yield {"type": "http.request", "body": piece, "more_body": index < len(pieces)}

    stream = messages()
    scope = {
        "type": "http",
        "headers": [
            (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()
        ],
    }
    request = Request(scope, lambda: anext(stream))
    return b"".join([chunk async for chunk in uploaded_file(request, limit)])


IN_A_FORM = {"content_type": "multipart/form-data; boundary=border"}


@given(step=st.integers(1, 200), packed=st.booleans(), in_a_form=st.booleans())
async def test_the_file_arrives_as_it_was_however_it_is_sent(
    step: int, packed: bool, in_a_form: bool
) -> None:
    body = gzip.compress(FILE, mtime=0) if packed else FILE
    if in_a_form:
        # Not in a file that holds the border itself: no sender chooses such a border.
        body = body.replace(b"\r\n--border", b"\r\n--b") if not packed else body
        wanted = FILE if packed else FILE.replace(b"\r\n--border", b"\r\n--b")
        fields = (part(b"production", b'name="account"'), part(body), part(b"", b'name="x"'))
        assert await received(form(*fields), step, **IN_A_FORM) == wanted
    else:
        assert await received(body, step) == FILE


async def test_the_encoding_of_the_body_and_of_the_file_are_both_undone() -> None:
    once = gzip.compress(FILE, mtime=0)
    assert await received(once, content_encoding="gzip") == FILE
    assert await received(gzip.compress(once, mtime=0), content_encoding="gzip") == FILE
    assert await received(once + once) == FILE + FILE  # as `cat a.gz b.gz` makes it


@pytest.mark.parametrize(
    ("body", "headers", "words"),
    [
        (gzip.compress(FILE, mtime=0)[:-9], {}, "its gzip has no end"),
        (gzip.compress(FILE, mtime=0)[:-8] + b"?" * 8, {}, "no gzip, or is damaged"),
        (FILE, {"content_encoding": "gzip"}, "no gzip, or is damaged"),
        (FILE, {"content_encoding": "br"}, "`br` is not known"),
        (FILE, {"content_type": "multipart/form-data"}, "names no boundary"),
        (form(part(b"x", b'name="file"')), IN_A_FORM, "has no file"),
        (form(part(b"x"))[:-8], IN_A_FORM, "broke off"),
        (b"--border\r\n" + b"x" * 20_000, IN_A_FORM, "no end of headers"),
    ],
)
async def test_what_is_broken_is_refused_in_words(
    body: bytes, headers: dict[str, str], words: str
) -> None:
    with pytest.raises(ReportMalformed) as raised:
        await received(body, **headers)
    assert words in raised.value.message


async def test_a_small_file_that_unpacks_to_a_large_one_is_refused_at_the_limit() -> None:
    packed = gzip.compress(b" " * 50_000_000)
    with pytest.raises(HTTPException) as raised:
        await received(packed)
    assert raised.value.status_code == 413
