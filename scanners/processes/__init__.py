"""How a tool is installed, started, caged and ended, and how its report is read."""
