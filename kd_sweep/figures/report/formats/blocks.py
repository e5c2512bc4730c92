"""The parts of a report in their order, for formats that are text from top to bottom: Markdown, LaTeX and PDF."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kd_sweep.figures.report.citations import PAPER, SOFTWARE
from kd_sweep.figures.report.report_content import ReportContent, ReportFigure
from kd_sweep.figures.report.shown_tables import ShownTable
from kd_sweep.figures.report.side_by_side import SideBySide
from kd_sweep.version import __version__


@dataclass(frozen=True)
class Title:
    """A heading; of level 1 is the report's, or that of a study among several."""

    level: int
    text: str


@dataclass(frozen=True)
class Paragraph:
    """Sentences."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list."""

    texts: Sequence[str]


@dataclass(frozen=True)
class Facts:
    """Names with what is to be said of each."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Listing:
    """Text that keeps its lines: commands, BibTeX."""

    text: str


Block = Title | Paragraph | Items | Facts | Listing | ShownTable | ReportFigure


def study_blocks(study: ReportContent) -> Iterator[Block]:
    """Yield the parts of the report of one study."""
    yield Title(1, f"Study {study.name}")
    yield Paragraph(study.question)
    yield Paragraph(f"{study.standing} {study.best}".strip())
    yield from _findings(study)
    if study.means is not None:
        yield Title(2, "Means")
        yield study.means
    yield Title(2, "Figures")
    yield from study.figures
    if not study.figures:
        yield Paragraph("The study has none yet.")
    yield from _recipe(study)
    yield Title(2, "What ran")
    yield Facts(study.facts)
    for table in (study.statuses if study.statuses.rows else None, study.cost, study.failures, study.notes):
        if table is not None:
            yield table
    yield Title(2, "What this does not show")
    yield Items(study.limits)
    yield from _again(study)


def several_blocks(studies: Sequence[ReportContent], together: SideBySide) -> Iterator[Block]:
    """Yield the parts of the report of several studies: what they have beside each other, then each alone."""
    yield Title(1, together.title)
    yield from together.tables
    for study in studies:
        yield from study_blocks(study)


def ending_blocks(digest: str) -> Iterator[Block]:
    """Yield what stands at the end of every report."""
    yield Title(2, "How to cite")
    yield Listing(PAPER)
    yield Listing(SOFTWARE)
    yield Paragraph(f"Written by kd_sweep {__version__} from tables whose digest begins with {digest[:16]}.")


def _findings(study: ReportContent) -> Iterator[Block]:
    found = study.found
    yield Title(2, "Verdicts on the paper's claims")
    if found.why_not:
        yield Paragraph(f"None: {found.why_not}.")
        return
    yield Paragraph(f"{found.basis} The claims are those of arXiv 2405.00739.")
    yield Items([sentence for _, sentence in found.verdicts])
    if found.figures is not None:
        yield found.figures
    yield Title(2, "Effects")
    if found.effects is None:
        yield Paragraph("None on the objectives: no seed has both the lowest and the highest level.")
    else:
        yield found.effects
    others = (found.other_effects, found.interactions, found.correlations, found.chain)
    yield from (table for table in others if table is not None)


def _recipe(study: ReportContent) -> Iterator[Block]:
    yield Title(2, "Recipe")
    if study.recipe:
        yield Facts(study.recipe)
    else:
        yield Paragraph("The tables have no study file that can be read: what is known of the recipe is what varies.")
    yield study.searched
    if study.paper is not None:
        yield study.paper.table if study.paper.table.rows else Paragraph("Nothing differs from the paper's recipe.")
        yield Paragraph(f"{study.paper.agreed} {study.paper.about}".strip())


def _again(study: ReportContent) -> Iterator[Block]:
    yield Title(2, "How to reproduce it")
    yield Listing(study.again.commands)
    yield Facts([*study.again.versions, *study.again.digests])
