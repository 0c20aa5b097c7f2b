"""The one file of an upload as it comes: raw or multipart, gzip or not, never past its limit."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from email.message import Message
from typing import Final

from starlette.requests import Request

from api.middleware import too_large
from contracts.errors import ReportMalformed

UNPACKED_AT_ONCE: Final = 256 * 1024
HEAD_LIMIT: Final = 16 * 1024
GZIP: Final = b"\x1f\x8b"
GZIP_FORMAT: Final = 16 + zlib.MAX_WBITS

NOT_ENDED: Final = "The upload broke off: the last part of the form has no end."


async def uploaded_file(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The bytes of the file, unpacked; ReportMalformed when the form or the gzip is broken.

    A 413 once it unpacks to more than `limit` bytes. JSON never begins as gzip does, so what is
    packed is known by how it begins, whatever its name says.
    """
    chunks = _received(request)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding == "gzip":
        chunks = _unpacked(chunks)
    elif encoding != "identity":
        raise ReportMalformed(f"The Content-Encoding `{encoding[:40]}` is not known; use gzip.")
    kind = Message()
    kind["Content-Type"] = request.headers.get("content-type", "")
    if kind.get_content_type() == "multipart/form-data":
        boundary = kind.get_boundary()
        if not boundary:
            raise ReportMalformed("The multipart form names no boundary.")
        chunks = _file_of_form(chunks, boundary.encode())
    size = 0
    async for chunk in _plain(chunks):
        size += len(chunk)
        if size > limit:
            raise too_large(limit)
        yield chunk


async def _received(request: Request) -> AsyncIterator[bytes]:
    async for chunk in request.stream():
        if chunk:
            yield chunk


async def _plain(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Unpacked if the first two bytes are those of gzip."""
    start = b""
    async for chunk in chunks:
        start += chunk
        if len(start) >= len(GZIP):
            break
    rest = _with(start, chunks)
    async for chunk in _unpacked(rest) if start.startswith(GZIP) else rest:
        yield chunk


async def _with(start: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if start:
        yield start
    async for chunk in chunks:
        yield chunk


async def _unpacked(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Several members may follow each other, as `cat a.gz b.gz` makes them."""
    member = zlib.decompressobj(GZIP_FORMAT)
    begun = False
    try:
        async for chunk in chunks:
            data = chunk
            while data:
                begun = True
                yield member.decompress(data, UNPACKED_AT_ONCE)
                data = member.unconsumed_tail
                if member.eof:
                    data = member.unused_data
                    member, begun = zlib.decompressobj(GZIP_FORMAT), False
        # What one call was not allowed to give out is still in there.
        while tail := member.decompress(member.unconsumed_tail, UNPACKED_AT_ONCE):
            yield tail
    except zlib.error:
        raise ReportMalformed("The file is no gzip, or is damaged.") from None
    if begun and not member.eof:
        raise ReportMalformed("The file is cut off: its gzip has no end.")


async def _file_of_form(chunks: AsyncIterator[bytes], boundary: bytes) -> AsyncIterator[bytes]:
    """The content of the first part that has a file name; the others are read over."""
    delimiter = b"\r\n--" + boundary
    held = bytearray(b"\r\n")  # so that the first delimiter is found as the others are
    place = "before"
    found = False
    async for chunk in chunks:
        held += chunk
        while place != "after":
            if place == "head":
                if held.startswith(b"--"):
                    place = "after"
                    break
                end = held.find(b"\r\n\r\n")
                if end < 0:
                    if len(held) > HEAD_LIMIT:
                        raise ReportMalformed("A part of the multipart form has no end of headers.")
                    break
                is_file = not found and b"filename=" in held[:end].lower()
                place = "file" if is_file else "other"
                found = found or is_file
                del held[: end + 4]
                continue
            at = held.find(delimiter)
            content = len(held) - len(delimiter) + 1 if at < 0 else at
            if place == "file" and content > 0:
                yield bytes(held[:content])
            if at < 0:
                del held[: max(0, content)]
                break
            del held[: at + len(delimiter)]
            place = "head"
        if place == "after":
            held.clear()
    if place != "after":
        raise ReportMalformed(NOT_ENDED)
    if not found:
        raise ReportMalformed("The multipart form has no file: send one part with a filename.")
