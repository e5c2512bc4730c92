"""The pages of the documentation as tests read them: code blocks, sections, tables."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
TUTORIAL = ROOT / "docs/tutorial.md"
EXAMPLES = ROOT / "examples/README.md"
EXPORTS = ROOT / "docs/exports.md"
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "sweeps/README.md",
    EXAMPLES,
    ROOT / "examples/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(ROOT.glob("cluster/**/*.md")),
]
OURS = [
    page
    for page in PAGES
    if page not in (TUTORIAL, EXAMPLES, EXPORTS) and "cluster" not in page.as_posix().removeprefix(ROOT.as_posix())
]
"""Pages whose commands need no cluster, nor what the page itself makes first."""


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, *languages: str) -> list[str]:
    """Return the fenced code blocks of these languages."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return [text for language, text in found if language in languages]


def sections(page: Path) -> dict[str, str]:
    """Return the text below each heading, up to the next one of any level."""
    parts = re.split(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def prose(text: str) -> str:
    """Return the text without its fenced code blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def table_rows(text: str, *header: str) -> list[list[str]]:
    """Return the rows of the Markdown tables whose header begins with these cells."""
    found: list[list[str]] = []
    for table in re.findall(r"(?:^\|.*\n)+", prose(text), re.MULTILINE):
        head, _, *rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]
        if head[: len(header)] == list(header):
            found += rows
    return found


def documented(text: str, *header: str) -> list[list[str]]:
    """Return the rows of such tables whose first cell is one name in backticks, with that name bare."""
    return [[row[0].strip("`"), *row[1:]] for row in table_rows(text, *header) if re.fullmatch(r"`[\w.]+`", row[0])]
