"""Splits and samples of images, drawn per class: pure functions of labels and seed."""

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def class_ranks(labels_N: Indices, seed: int) -> NDArray[np.float64]:
    """Return for each image its rank in a shuffle of its class, as a fraction in [0, 1).

    The images ranked below f are a stratified sample of share f; samples of one seed are nested.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    ranks = np.empty(len(labels_N))
    for label in np.unique(labels_N):
        members = np.flatnonzero(labels_N == label)
        ranks[random.permutation(members)] = np.arange(len(members)) / len(members)
    return ranks


def stratified_split(labels_N: Indices, fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Return the sorted indices of the training and of the held-out images.

    Of each class with at least two images, ``fraction`` (rounded, at least one image, never all) is held out;
    a class with a single image stays in training.
    """
    ranks = class_ranks(labels_N, seed)
    held_out = np.zeros(len(labels_N), dtype=bool)
    for label in np.unique(labels_N):
        members = np.flatnonzero(labels_N == label)
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        held_out[members[np.argsort(ranks[members])[:count]]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def stratified_sample(labels_N: Indices, limit: int | None, seed: int) -> Indices:
    """Return the sorted indices of ``limit`` images with the classes in proportion; of all where there are no more.

    Every class is present where ``limit`` is at least the number of classes. A smaller sample of the same seed is part
    of a larger one.
    """
    if limit is None or limit >= len(labels_N):
        return np.arange(len(labels_N))
    ranks = class_ranks(labels_N, seed)
    return np.sort(np.lexsort((labels_N, ranks))[:limit])


def long_tailed_counts(largest: int, num_classes: int, ratio: float) -> list[int]:
    """Return the number of images that each class keeps: int(largest * ratio^(-i / (num_classes - 1))) for class i.

    The exponential profile of Cao et al. 2019 (arXiv 1906.07413, section 4): CIFAR-100 has 10,847 images at ratio 100.
    """
    # In their order of operations: rounding differs in others, and so would counts.
    return [int(largest * (1 / ratio) ** (label / (num_classes - 1))) for label in range(num_classes)]


def long_tailed_sample(labels_N: Indices, ratio: float, seed: int) -> Indices:
    """Return the sorted indices of a long-tailed part, drawn per class; all of a class that has fewer than asked for.

    A sample of a larger ratio is part of one of a smaller ratio with the same seed.
    """
    ranks = class_ranks(labels_N, seed)
    sizes = np.bincount(labels_N)
    counts = np.array(long_tailed_counts(int(sizes.max()), len(sizes), ratio))
    # Ranks are whole numbers divided by the size of the class.
    ranks_N = np.rint(ranks * sizes[labels_N])
    return np.flatnonzero(ranks_N < counts[labels_N])


def evenly_over_classes(labels_N: Indices, count: int) -> Indices:
    """Return the indices of ``count`` images, or of all where there are fewer.

    First comes the first of each class, then the second of each, and so on.
    """
    counts: dict[int, int] = {}
    ranked = []
    for index, label in enumerate(labels_N.tolist()):
        counts[label] = counts.get(label, -1) + 1
        ranked.append((counts[label], label, index))
    return np.array([index for _, _, index in sorted(ranked)[:count]], dtype=np.int64)
