"""The drawing of the architecture, docs/architecture.svg: ``python -m tests.project.draw_architecture`` writes it.

Boxes, rows and jobs are those of docs/architecture.toml; the arrows are the imports in the source.
"""

import textwrap
from dataclasses import dataclass
from html import escape

from tests.project.architecture import ROOT, Package, imported_packages, packages, read_list

DRAWING = ROOT / "docs/architecture.svg"

# In pixels:
WIDTH, MARGIN, GAP, BETWEEN_ROWS, LANE = 800, 40, 18, 54, 16
PADDING, LINE, TITLE = 9, 15, 21
CHARACTER = 6.6
"""The mean width of a character of 12 pixels, in a wide font."""

FILLS = ("#fdf3d8", "#fbe6dd", "#e9e4f5", "#dcebf8", "#def0e3", "#ececec")
STYLE = """
text { font: 12px 'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif; fill: #333 }
.name { font-size: 14px; font-weight: bold; fill: #111 }
.row { font-size: 11px; fill: #777 }
.without { font-size: 11px; font-style: italic; fill: #666 }
.box { stroke: #8a8a8a }
.job { fill: #2f4b6e }
.job-text, .job-text.name { fill: #fff }
.arrow { fill: none; stroke: #6b7785; stroke-width: 1.4; marker-end: url(#head) }
"""


@dataclass
class Box:
    """A rectangle with a name and lines below it, in row `row` of the drawing."""

    name: str
    lines: list[str]
    without: str
    row: int
    x: float = 0
    y: float = 0
    width: float = 0
    height: float = 0

    @property
    def middle(self) -> float:
        """Where arrows to lower rows begin."""
        return self.x + self.width / 2

    @property
    def entry(self) -> float:
        """Where arrows from above end: right of the row's title in the first of several boxes."""
        first = self.x == MARGIN and self.width < WIDTH / 2
        return self.x + self.width * (0.72 if first else 0.5)

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.y + self.height


def reduced(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return the graph without the edges that follow from others: a → c where there is a → b → … → c."""

    def reached(name: str) -> set[str]:
        return graph[name].union(*map(reached, graph[name]))

    return {name: others - set().union(*map(reached, others)) for name, others in graph.items()}


def package_box(package: Package, row: int, width: float) -> Box:
    """Return the box of a package, its text wrapped to the width."""
    heavy = [name for name in ("torch", "ray") if name in package.never_loads]
    without = f"without {', '.join(heavy)}" if heavy and row < 5 else ""
    return Box(package.name, wrapped(package.owns, width), without, row, width=width)


def wrapped(text: str, width: float) -> list[str]:
    """Return the text in lines that fit into a box of this width."""
    return textwrap.wrap(text, int((width - 2 * PADDING) / CHARACTER), break_on_hyphens=False)


def row_of_boxes(boxes: list[Box], y: float) -> None:
    """Place the boxes beside each other below `y`, all as high as the highest needs to be."""
    height = max(TITLE + LINE * (len(box.lines) + bool(box.without)) for box in boxes) + 2 * PADDING - 4
    for number, box in enumerate(boxes):
        box.x = MARGIN + number * (box.width + GAP)
        box.y, box.height = y, height


def width_of(count: int) -> float:
    """Return the width of each of `count` boxes that fill a row."""
    return (WIDTH - 2 * MARGIN - (count - 1) * GAP) / count


def boxes_of_jobs_and_packages() -> tuple[list[Box], dict[str, Box]]:
    """Return the boxes of the jobs, and those of the packages by name, all with their positions."""
    described = read_list()
    jobs = [
        Box(job["name"], wrapped(job["does"], width_of(3)), f"by {', '.join(job['by'])}", -1, width=width_of(3))
        for job in described["jobs"]
    ]
    row_of_boxes(jobs, 30)
    placed: dict[str, Box] = {}
    bottom = jobs[0].bottom
    for number, row in enumerate(described["rows"]):
        width = width_of(len(row["packages"]))
        boxes = [package_box(packages()[name], number, width) for name in row["packages"]]
        row_of_boxes(boxes, bottom + BETWEEN_ROWS)
        bottom = boxes[0].bottom
        placed |= {box.name: box for box in boxes}
    assert set(placed) == set(packages())
    return jobs, placed


def arrow(start: Box, end: Box, shift: float) -> str:
    """Return the line from a box to one that it imports: beside it, in the next row, or past the rows between."""
    if start.row == end.row:
        rightwards = end.x > start.x
        x, to = (start.x + start.width, end.x - 2) if rightwards else (start.x, end.x + end.width + 2)
        y = start.y + start.height / 2
        return f"M{x:.0f} {y:.0f} L{to:.0f} {y:.0f}"
    x, to = start.middle + shift, end.entry + shift
    if end.row == start.row + 1:
        middle = (start.bottom + end.y) / 2
        return f"M{x:.0f} {start.bottom:.0f} C{x:.0f} {middle:.0f} {to:.0f} {middle:.0f} {to:.0f} {end.y - 2:.0f}"
    lane = WIDTH - LANE if start.middle > WIDTH / 2 else LANE
    leave, enter = start.bottom + 12, end.y - 22
    return (
        f"M{x:.0f} {start.bottom:.0f} L{x:.0f} {leave:.0f} L{lane} {leave:.0f} L{lane} {enter:.0f} "
        f"L{to:.0f} {enter:.0f} L{to:.0f} {end.y - 2:.0f}"
    )


def arrows(jobs: list[Box], placed: dict[str, Box]) -> list[str]:
    """Return the lines of all imports that do not follow from others, and from the jobs to the command line."""
    graph = reduced({name: imported_packages(package) for name, package in packages().items()})
    lines = [arrow(job, placed["cli"], 0) for job in jobs]
    for name, others in graph.items():
        for other in sorted(others):
            start, end = placed[name], placed[other]
            lines.append(arrow(start, end, 30 if end.row > start.row + 1 else 0))
    return [f'<path class="arrow" d="{line}"/>' for line in lines]


def drawn(box: Box) -> list[str]:
    """Return the elements of one box."""
    is_job = box.row < 0
    kind, fill, text = ("job", "", "job-text") if is_job else ("box", f' fill="{FILLS[box.row]}"', "")
    frame = (
        f'x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" height="{box.height:.0f}" rx="{14 if is_job else 4}"'
    )
    elements = [f'<rect class="{kind}"{fill} {frame}/>']
    x, y = box.x + PADDING, box.y + PADDING + 11
    elements.append(f'<text class="{text} name" x="{x:.0f}" y="{y:.0f}">{escape(box.name)}</text>')
    for number, line in enumerate([*box.lines, *filter(None, [box.without])], 1):
        style = "without" if line == box.without and not is_job else text
        elements.append(f'<text class="{style}" x="{x:.0f}" y="{y + 3 + LINE * number:.0f}">{escape(line)}</text>')
    return elements


def drawing() -> str:
    """Return the SVG of the architecture as it is now."""
    jobs, placed = boxes_of_jobs_and_packages()
    titles = [(jobs[0].y, "Jobs")]
    titles += [(placed[row["packages"][0]].y, row["title"]) for row in read_list()["rows"]]
    height = max(box.bottom for box in placed.values()) + 40
    legend = "An arrow leads to a package that is imported. What follows from other arrows is left out."
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" role="img">',
            "<title>The packages of kd_sweep and what they import</title>",
            f"<style>{STYLE}</style>",
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#6b7785"/></marker></defs>',
            f'<rect width="{WIDTH}" height="{height:.0f}" fill="#ffffff"/>',
            *arrows(jobs, placed),
            *(f'<text class="row" x="{MARGIN}" y="{y - 6:.0f}">{escape(title)}</text>' for y, title in titles),
            *(element for box in (*jobs, *placed.values()) for element in drawn(box)),
            f'<text class="row" x="{MARGIN}" y="{height - 14:.0f}">{legend}</text>',
            "</svg>",
            "",
        ]
    )


if __name__ == "__main__":
    DRAWING.write_text(drawing())
    print(DRAWING.relative_to(ROOT))
