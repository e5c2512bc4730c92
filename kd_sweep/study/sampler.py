"""The section `sampler` of a study: what chooses the points of its trials."""

from typing import Annotated, ClassVar

from pydantic import SerializeAsAny

from kd_sweep.catalogue.kinds import SAMPLER, Kind
from kd_sweep.catalogue.selecting_section import Selected, SelectingSection
from kd_sweep.catalogue.traits import SamplerTraits
from kd_sweep.errors import PluginError

GRID = "grid"
"""Name of the sampler that takes every combination of the grids."""


class Sampler(SelectingSection):
    """What chooses the points of a study's trials."""

    kind: ClassVar[Kind] = SAMPLER
    selector: ClassVar[str] = "name"
    word: ClassVar[str] = "sampler"

    name: str = GRID
    """`grid`, `random`, `tpe`, `gp`, `cmaes`, `qmc`, `nsga2` or `nsga3`, or one of a plug-in, `package:name`."""

    @property
    def is_built_in(self) -> bool:
        """Whether it belongs to kd_sweep."""
        return ":" not in self.name

    @property
    def traits(self) -> SamplerTraits | None:
        """What it says of itself; None where its plug-in is not loaded here, or in another version."""
        try:
            traits: SamplerTraits = self.entry.traits
        except PluginError:
            return None
        return traits

    @property
    def plans(self) -> bool:
        """Whether all points are known before the first is run: of `grid` and `random`."""
        return self.is_built_in and bool(self.entry.traits.plans)

    @property
    def num_asked(self) -> int | None:
        """How many points the study shall have; None where it has all that there are."""
        return getattr(self, "num_trials", None)

    @property
    def search_seed(self) -> int:
        """Of all random numbers of the search."""
        seed: int = getattr(self, "seed", 0)
        return seed


SelectedSampler = Annotated[SerializeAsAny[Sampler], Selected()]
