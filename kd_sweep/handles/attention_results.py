"""The attention of a trial as a notebook holds it: numbers, maps, and a sheet that shows them."""

import base64
import io
from collections.abc import Sequence

from PIL import Image

from kd_sweep.figures.attention_sheet import attention_sheet
from kd_sweep.tables.rendering.html_tables import html_blocks, html_table
from kd_sweep.tables.trial_lookup import StoredTrial
from kd_sweep.trained.trained_networks import Epoch
from kd_sweep.trained.trial_attention import TrialAttention, trial_attention


class AttentionResults(TrialAttention):
    """Attention maps of a trial's networks on some images; `sheet` draws them, `table` tells of them."""

    def sheet(self) -> Image.Image:
        """Return the sheet that `kd-sweep attention` draws: a column per image, a row per network."""
        return attention_sheet([self])

    def _repr_html_(self) -> str:
        stream = io.BytesIO()
        self.sheet().save(stream, "PNG")
        picture = base64.b64encode(stream.getvalue()).decode()
        image = f'<img alt="attention maps" src="data:image/png;base64,{picture}">'
        return html_blocks(repr(self).strip("<>"), html_table(self.table()), image)


def attention_results(
    trial: StoredTrial, images: int | Sequence[int], epoch: Epoch, map_kind: str | None, device: str
) -> AttentionResults:
    """Return the attention of a trial; as `trained.trial_attention.trial_attention`.

    Args:
        trial: which.
        images: number of validation images, evenly over the classes; or their indices.
        epoch: of the student.
        map_kind: the trial's own when None.
        device: of the networks.
    """
    found = trial_attention(trial, images, epoch=epoch, map_kind=map_kind, device=device)
    return AttentionResults(**vars(found))
