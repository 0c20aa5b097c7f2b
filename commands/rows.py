"""The table of the lists: shortens titles and names, never ids."""

from __future__ import annotations

from typing import Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

GAP: Final = 2
NARROWEST: Final = 8
LEAST: Final = 3


class Rows(Table):
    """Every column gets what it needs; elastic ones share what is left of the line.

    Rich alone shrinks all columns alike, so that an id loses its end before a title does.
    """

    def __init__(self, columns: tuple[str, ...]) -> None:
        """A column named `>x` is aligned to the right, `*x` is elastic."""
        super().__init__(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
        self._elastic = [index for index, name in enumerate(columns) if name.startswith("*")]
        for name in columns:
            self.add_column(
                name.lstrip(">*"),
                justify="right" if name.startswith(">") else "left",
                overflow="ellipsis" if name.startswith("*") else "fold",
                no_wrap=True,
            )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Rich's rendering, after the widths are settled for this line length."""
        self._settle(options.max_width)
        return super().__rich_console__(console, options)

    def _settle(self, width: int) -> None:
        needs = [
            max(
                cell_len(line)
                for part in (column.header, *column.cells)
                for line in str(part.plain if isinstance(part, Text) else part).split("\n")
            )
            for column in self.columns
        ]
        room = width - GAP * (len(needs) - 1)
        room -= sum(need for index, need in enumerate(needs) if index not in self._elastic)
        by_need = sorted(self._elastic, key=lambda index: needs[index])
        for left, index in zip(range(len(by_need), 0, -1), by_need, strict=True):
            needs[index] = max(NARROWEST, min(needs[index], room // left))
            room -= needs[index]
        others = [index for index, column in enumerate(self.columns) if column.header != "ID"]
        for _ in range(-room):
            widest = max(others, key=lambda index: needs[index], default=None)
            if widest is None or needs[widest] <= LEAST:
                break
            needs[widest] -= 1
        for column, need in zip(self.columns, needs, strict=True):
            column.width = need
