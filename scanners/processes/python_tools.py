"""sslyze and checkov: where their environments are, and how they are made."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Final

from contracts.errors import CloudsweepError, ScannerMissing
from scanners.processes.environments import Recipe, install, is_installed

_HERE: Final = Path(__file__).parents[1]

RECIPES: Final = {
    package: Recipe(
        label=package,
        package=package,
        version=version,
        requirements=_HERE / f"requirements-{package}.txt",
        compiled=(package,),
    )
    for package, version in (("sslyze", "6.3.1"), ("checkov", "3.3.30"))
}


def environment_of(program: str) -> Path:
    """Where the environment of one of them is: beside Prowler's, within ours."""
    return Path(sys.prefix) / "scanners" / program


def where_is(program: str) -> str:
    """The program of a whole environment that we made for it, else its name: PATH decides."""
    if program in RECIPES and is_here(program):
        return str(environment_of(program) / "bin" / program)
    return program


def is_runnable(program: str) -> bool:
    """Whether this machine can run it: what is listed as installed is what is planned."""
    return shutil.which(where_is(program)) is not None


def is_here(program: str) -> bool:
    """True when the environment of one of them is whole and of the version that we name."""
    try:
        return is_installed(RECIPES[program], environment_of(program))
    except ScannerMissing:
        return False


def install_tool(program: str) -> Path:
    """Make the environment of one of them, and return its program. Raises ScannerMissing."""
    install(RECIPES[program], environment_of(program))
    return environment_of(program) / "bin" / program


def main() -> None:
    """`python -m scanners.processes.python_tools sslyze checkov`: install these, or all of them."""
    for program in sys.argv[1:] or RECIPES:
        try:
            sys.stdout.write(f"{program} is ready: {install_tool(program)}\n")
        except CloudsweepError as error:
            sys.exit(f"{error.message}\n{error.fix or ''}")


if __name__ == "__main__":
    main()
