"""What one predictor's hard predictions tell of another's.

Shapes: N images, C classes.
"""

import torch
from torch import Tensor


def mutual_information(predicted_N: Tensor, other_predicted_N: Tensor) -> float:
    r"""Return the mutual information of two predictors' classes, in nats, at least 0.

    .. math:: \sum_{ij} \frac{n_{ij}}{N} \log \frac{N n_{ij}}{n_{i\cdot} n_{\cdot j}}

    with :math:`n_{ij}` the number of images that one puts into class i and the other into class j: the plug-in
    estimate. It is biased upwards, by about :math:`(C - 1)^2 / 2N` for predictors that are independent (Miller 1955),
    and by less the more they agree; `shuffled_mutual_information` is its value for independent ones.

    Args:
        predicted_N: int64, classes from 0.
        other_predicted_N: the same of the other predictor.
    """
    joint_P, first_P, second_P = _counted_pairs(predicted_N, other_predicted_N)
    # Logarithms apart: the products of the counts of large splits need not fit.
    log_ratio_P = joint_P.log() + torch.log(joint_P.sum()) - first_P.log() - second_P.log()
    # Rounding can bring the information of independent predictions to -1e-17.
    return max(0.0, float((joint_P * log_ratio_P).sum() / joint_P.sum()))


def shuffled_mutual_information(predicted_N: Tensor, other_predicted_N: Tensor, seed: int = 0) -> float:
    """Return `mutual_information` after a seeded permutation of the images of one predictor.

    It is what two predictors with these class frequencies and nothing in common would show.
    """
    order_N = torch.randperm(len(predicted_N), generator=torch.Generator().manual_seed(seed))
    return mutual_information(predicted_N[order_N.to(predicted_N.device)], other_predicted_N)


def _counted_pairs(predicted_N: Tensor, other_predicted_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return, for each pair of classes that occurs, its count and the counts of the one and the other class."""
    if predicted_N.shape != other_predicted_N.shape or predicted_N.ndim != 1 or not len(predicted_N):
        shapes = f"{tuple(predicted_N.shape)} and {tuple(other_predicted_N.shape)}"
        raise ValueError(f"predictions of shape {shapes} are not both (N,) with at least one image")
    num_classes = int(torch.maximum(predicted_N.max(), other_predicted_N.max())) + 1
    # Only pairs that occur: a table of all of them would be 4 MB for ImageNet, and mostly zero.
    pairs_P, counts_P = torch.unique(predicted_N.long() * num_classes + other_predicted_N, return_counts=True)
    first_C = torch.bincount(predicted_N, minlength=num_classes)
    second_C = torch.bincount(other_predicted_N, minlength=num_classes)
    first_P = first_C[pairs_P // num_classes]
    second_P = second_C[pairs_P % num_classes]
    return counts_P.double(), first_P.double(), second_P.double()
