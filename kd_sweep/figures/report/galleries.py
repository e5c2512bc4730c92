"""The galleries of a report: where networks of a study look, and what its strengths do to images.

They alone are not of the tables: networks, images and teachers of the root are read, on the CPU.
"""

from collections.abc import Sequence
from functools import partial

from kd_sweep.errors import KdSweepError, QueryError
from kd_sweep.figures.attention_sheet import attention_blocks
from kd_sweep.figures.augmentation_sheet import augmentation_blocks
from kd_sweep.figures.image_sheet import Block
from kd_sweep.figures.paper_sheet import draw_sheet, sheet_height
from kd_sweep.figures.plots.figure_kind import Drawing
from kd_sweep.figures.plots.lines import evenly
from kd_sweep.study.file.frozen import FrozenStudy
from kd_sweep.tables.reader import Results
from kd_sweep.tables.trial_lookup import StoredTrial, find_trials
from kd_sweep.trained.trial_attention import trial_attention

MAX_TRIALS, MAX_TEACHERS, MAX_STRENGTHS, NUM_IMAGES = 2, 4, 6, 6
"""What keeps a report small: 2 trials of 5 networks and 6 images are 72 cells."""
_CELL = 64
"""Pixels of a cell each way."""


def galleries(results: Results, frozen: FrozenStudy | None) -> tuple[dict[str, tuple[str, Drawing]], list[str]]:
    """Return title and drawing of each gallery by name, and of each that cannot be drawn a line that says why.

    Args:
        results: of one study, whose root has its networks.
        frozen: the study; None where that is not known.
    """
    drawn, missing = {}, []
    for name, title, read in (
        ("attention_gallery", "Where the networks look", partial(_attention, results)),
        ("augmentation_gallery", "What the strengths do", partial(_augmentations, frozen)),
    ):
        try:
            drawn[name] = (title, read())
        except KdSweepError as error:
            missing.append(f"{name}: {error}")
    return drawn, missing


def _attention(results: Results) -> Drawing:
    trials = [trial_attention(trial, NUM_IMAGES, device="cpu") for trial in _shown_trials(results)]
    threshold = trials[0].config.metrics.cam_threshold
    caption = [
        "Attention of teachers and student after the last epoch, from violet, 0, to yellow, 1, over clean validation "
        f"images of every class in turn; white is the border of the region above {threshold:g}.",
        f"Shown are {len(trials)} of the completed trials, of the lowest and the highest strength (n = {NUM_IMAGES} "
        "images): what a few images show is no measurement.",
    ]
    return _drawing(attention_blocks(trials, _CELL), threshold, caption)


def _shown_trials(results: Results) -> list[StoredTrial]:
    """Return a trial of the lowest strength and one of the highest, of the most teachers that a sheet has room for."""
    rows = results.sql(
        f"""SELECT trial_id, augmentation_strength AS strength FROM trials
        WHERE status = 'completed' AND ensemble_size <= {MAX_TEACHERS}
        QUALIFY row_number() OVER (PARTITION BY strength ORDER BY ensemble_size DESC, seed, trial_id) = 1
        ORDER BY strength"""
    ).to_pylist()
    if not rows:
        raise QueryError(f"no trial of at most {MAX_TEACHERS} teachers is completed")
    return find_trials(results, [row["trial_id"] for row in evenly(rows, MAX_TRIALS)])


def _augmentations(frozen: FrozenStudy | None) -> Drawing:
    if frozen is None:
        raise QueryError("the tables have no study file that can be read")
    caption = [
        "Clean validation images, of every class in turn, and what a student's stream shows of them in epoch 1 "
        f"at strengths of the study, at most {MAX_STRENGTHS}.",
    ]
    return _drawing(augmentation_blocks(frozen.spec, NUM_IMAGES, _CELL, MAX_STRENGTHS), None, caption)


def _drawing(blocks: Sequence[Block], threshold: float | None, caption: Sequence[str]) -> Drawing:
    panel = partial(draw_sheet, blocks, threshold)
    return Drawing([panel], {}, caption, height_mm=sheet_height(blocks, threshold), is_wide=True)
