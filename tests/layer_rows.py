"""The rows of all tests/frontend/layer_rows_<family>.py."""

import runpy
from pathlib import Path

FILES = sorted((Path(__file__).parent / "frontend").glob("layer_rows_*.py"))
ROWS = [row for file in FILES for row in runpy.run_path(str(file))["ROWS"]]
