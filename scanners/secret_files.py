"""Reading files with credentials: what is wrong with one is said in one way."""

from __future__ import annotations

from contracts.errors import CredentialsRejected


def read_secret(path: str, limit: int) -> bytes:
    """The beginning of a secret file; CredentialsRejected when this worker cannot read it."""
    try:
        with open(path, "rb") as file:
            return file.read(limit)
    except FileNotFoundError:
        raise CredentialsRejected(
            f"The credentials file {path} does not exist on this worker.",
            fix="Mount the file at this path on every worker, or name the right path.",
        ) from None
    except OSError as error:
        raise CredentialsRejected(
            f"The credentials file {path} cannot be read: {error.strerror}.",
            fix="Let the user that runs the workers read this file.",
        ) from None
