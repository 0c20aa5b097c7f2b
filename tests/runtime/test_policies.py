"""The retry policies agree with the error classes."""

from contracts.errors import CloudsweepError, PermanentError, TransientError
from runtime import policies


def _names(base: type[CloudsweepError]) -> set[str]:
    direct = base.__subclasses__()
    return {error.__name__ for error in direct}.union(*(_names(error) for error in direct))


def test_the_policies_name_every_permanent_error_and_no_other() -> None:
    assert set(policies.PERMANENT_ERRORS) == _names(PermanentError)
    assert not set(policies.PERMANENT_ERRORS) & _names(TransientError)


def test_every_error_has_a_code_of_its_own() -> None:
    errors = [*PermanentError.__subclasses__(), *TransientError.__subclasses__()]
    codes = [error.code for error in errors]
    assert len(set(codes)) == len(codes)
    assert "internal_error" not in codes
