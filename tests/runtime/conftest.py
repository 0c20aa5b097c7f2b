"""Which of these tests the user who runs them can run."""

import os

collect_ignore = [] if os.geteuid() == 0 else ["test_postgres_as_root.py"]
