"""Entry of the runner: `python run.py job.json`, in Prowler's interpreter."""

import sys
import types
from pathlib import Path


def _run() -> None:
    # The package around us without its other modules on the path: one is called `prowler` too.
    package = types.ModuleType("scanners")
    package.__path__ = [str(Path(__file__).resolve().parents[1])]
    sys.modules["scanners"] = package
    del sys.path[0]
    from scanners.prowler_runner.modes import main

    main()


if __name__ == "__main__":
    _run()
