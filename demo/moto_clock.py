"""The clock of the demo cloud: moto takes its time from here, and nothing else does."""

from __future__ import annotations

import datetime as real
import sys
import time
from types import SimpleNamespace
from typing import Any


class Clock:
    """What moto takes for the present: a fixed instant, or the real time."""

    def __init__(self) -> None:
        self._instant: real.datetime | None = None
        self._governed: set[str] = set()
        clocked = _datetime_of(self)
        self._stand_ins = {
            id(real): SimpleNamespace(**{**vars(real), "datetime": clocked}),
            id(real.datetime): clocked,
            id(time): SimpleNamespace(
                **{**vars(time), "time": lambda: self.now(real.UTC).timestamp()}
            ),
        }

    def now(self, zone: real.tzinfo | None = None) -> real.datetime:
        """The present; without a zone in UTC all the same, so that no machine's zone shows."""
        instant = self._instant or real.datetime.now(real.UTC)
        return instant.astimezone(zone) if zone else instant.replace(tzinfo=None)

    def set(self, instant: real.datetime) -> None:
        """Stand still at `instant`, which has a zone."""
        self._instant = instant

    def release(self) -> None:
        """Follow the real time from now on."""
        self._instant = None

    def govern_moto(self) -> None:
        """Make the modules of moto that are loaded by now read this clock."""
        for name, module in list(sys.modules.items()):
            if name.startswith("moto.") and name not in self._governed:
                self._governed.add(name)
                for attribute in ("datetime", "dt", "time"):
                    stand_in = self._stand_ins.get(id(getattr(module, attribute, None)))
                    if stand_in is not None:
                        setattr(module, attribute, stand_in)


def _datetime_of(clock: Clock) -> Any:
    """A `datetime` class whose present is the clock's; every datetime counts as its instance."""

    class AnyDatetime(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, real.datetime)

    class ClockDatetime(real.datetime, metaclass=AnyDatetime):
        @classmethod
        def now(cls, tz: real.tzinfo | None = None) -> Any:
            return clock.now(tz)

        @classmethod
        def utcnow(cls) -> Any:
            return clock.now()

        @classmethod
        def today(cls) -> Any:
            return clock.now()

    return ClockDatetime
