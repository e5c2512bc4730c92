"""Networks of torchvision and timm, by their names there."""

from typing import TYPE_CHECKING, Literal

from kd_sweep.catalogue.entries import Family, register
from kd_sweep.catalogue.kinds import NETWORK
from kd_sweep.catalogue.parameters import Parameters
from kd_sweep.errors import SpecError

if TYPE_CHECKING:
    from torch import nn


class LibraryParameters(Parameters):
    """Of networks of torchvision and timm."""

    stem: Literal["full", "small"] = "full"
    """Of a network made for 224 pixels. `small` leaves out its first two halvings, so that 32-pixel images end in a
    feature map of 4 x 4: a convolution of stride 2 gets stride 1, a pooling is left out."""


def _refusal(name: str) -> str | None:
    from kd_sweep.networks.model_libraries import library_of

    try:
        library_of(name, "model")
    except SpecError as error:
        return str(error).removeprefix("model: ")
    return None


@register(
    NETWORK,
    "library",
    parameters=LibraryParameters,
    # No name is tried here: it is what remains, and only the libraries, which take seconds to load, know their names.
    family=Family(lambda _: False, ("resnet18",), "a network of torchvision or timm, such as resnet18", _refusal),
)
def library(name: str, num_classes: int, channels: int, image_size: int, parameters: LibraryParameters) -> "nn.Module":
    """Return an untrained network.

    Raises:
        SpecError: no such model, not for such images, or it has no stem to make small.
    """
    from kd_sweep.networks.model_libraries import create_network
    from kd_sweep.networks.recorded_pass import record_pass
    from kd_sweep.networks.stems import first_halvings, leave_out

    network = create_network(name, num_classes, channels, image_size, "model")
    if parameters.stem == "small":
        halvings = first_halvings(record_pass(network, channels, image_size, f"model: {name!r} with stem 'small'"))
        if not halvings:
            raise SpecError(
                f"stem: 'small' has no meaning for model {name!r}, which does not begin with two halvings by "
                "convolution or pooling; possible: full, or a model such as resnet18 or mobilenet_v2"
            )
        leave_out(network, halvings)
    return network
