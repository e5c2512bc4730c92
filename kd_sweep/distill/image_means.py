"""Means over images, from those of their parts."""

import math
from collections.abc import Mapping


class ImageMeans:
    """Metrics that are means over images, of all images together."""

    def __init__(self) -> None:
        self._parts: list[tuple[int, Mapping[str, float]]] = []

    def add(self, values: Mapping[str, float], num_images: int) -> None:
        """Take the means over some images; every part has the same metrics."""
        self._parts.append((num_images, values))

    def values(self) -> dict[str, float]:
        """Return the means over all images that were added; empty where none were."""
        if not self._parts:
            return {}
        if len(self._parts) == 1:
            return dict(self._parts[0][1])
        total = sum(num_images for num_images, _ in self._parts)
        return {
            name: math.fsum(num_images * part[name] for num_images, part in self._parts) / total
            for name in self._parts[0][1]
        }
