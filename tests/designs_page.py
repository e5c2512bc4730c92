"""The study files of docs/designs.md."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "designs.md"
STUDIES = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
