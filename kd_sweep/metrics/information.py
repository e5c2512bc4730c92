"""Mutual information of two predictors' top-1 classes, and what it is by chance.

Shapes: N images, C classes, P pairs of classes; A and B distinct sizes of classes, L terms of a sum.
"""

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import gammaln
from torch import Tensor

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


def mutual_information(predicted_N: Tensor, other_predicted_N: Tensor) -> float:
    r"""Return the mutual information of two predictors' classes, in nats, at least 0.

    .. math:: \sum_{ij} \frac{n_{ij}}{N} \log \frac{N n_{ij}}{n_{i\cdot} n_{\cdot j}}

    with :math:`n_{ij}` the number of images that one puts into class i and the other into class j: the plug-in
    estimate. It is biased upwards, by about :math:`(C - 1)^2 / 2N` for predictors that are independent (Miller 1955),
    and by less the more they agree; `expected_mutual_information` is its value for independent ones.

    Args:
        predicted_N: int64, classes from 0.
        other_predicted_N: the same of the other predictor.
    """
    joint_P, first_P, second_P = _counted_pairs(predicted_N, other_predicted_N)
    # Logarithms apart: the products of the counts of large splits need not fit.
    log_ratio_P = joint_P.log() + torch.log(joint_P.sum()) - first_P.log() - second_P.log()
    # Rounding can bring the information of independent predictions to -1e-17.
    return max(0.0, float((joint_P * log_ratio_P).sum() / joint_P.sum()))


def expected_mutual_information(predicted_N: Tensor, other_predicted_N: Tensor) -> float:
    r"""Return the mean of `mutual_information` over all permutations of the images of one predictor, in nats.

    It is what two predictors with these class frequencies and nothing in common show on so many images: the bias of
    the estimate. Under a random permutation the count of a pair of classes is hypergeometric (Vinh et al. 2010, JMLR
    11, theorem 2):

    .. math:: \sum_{ij} \sum_n P(n) \, \frac{n}{N} \log \frac{N n}{a_i b_j}, \quad
        P(n) = \binom{a_i}{n} \binom{N - a_i}{b_j - n} / \binom{N}{b_j}

    with :math:`a_i` and :math:`b_j` the images that one puts into class i and the other into class j. It is
    `sklearn.metrics.cluster.expected_mutual_information`, which takes a minute for the 1,000 classes of ImageNet's
    training set; here pairs of equal counts are computed once, and terms under 1e-12 left out.
    """
    _counted_pairs(predicted_N, other_predicted_N)
    num_images = len(predicted_N)
    log_factorial = gammaln(np.arange(num_images + 1) + 1.0)
    counts_A, times_A = _class_sizes(predicted_N)
    counts_B, times_B = _class_sizes(other_predicted_N)
    terms_A = [_expected_terms(count, counts_B, num_images, log_factorial) @ times_B for count in counts_A.tolist()]
    return max(0.0, float(times_A @ np.array(terms_A)))


def _class_sizes(predicted_N: Tensor) -> tuple[IntArray, IntArray]:
    """Return the distinct numbers of images that a predictor puts into a class, and how many classes have each."""
    sizes_C = torch.bincount(predicted_N).cpu().numpy()
    distinct, times = np.unique(sizes_C[sizes_C > 0], return_counts=True)
    return distinct, times


def _expected_terms(a: int, b_B: IntArray, num_images: int, log_factorial: FloatArray) -> FloatArray:
    """Return, for a class of ``a`` images and each class size of the other predictor, what the pair adds (B,)."""
    mean_B = a * b_B / num_images
    # A count is this far from its mean less often than once in 10^12, by Bernstein's inequality.
    reach_B = 10 * np.sqrt(mean_B) + 20
    low_B = np.maximum(np.maximum(1, a + b_B - num_images), np.floor(mean_B - reach_B).astype(np.int64))
    high_B = np.minimum(np.minimum(a, b_B), np.ceil(mean_B + reach_B).astype(np.int64))
    n_BL = low_B[:, None] + np.arange(max(0, (high_B - low_B).max()) + 1)
    is_term_BL = n_BL <= high_B[:, None]
    n_BL = np.minimum(n_BL, high_B[:, None])
    b_B1 = b_B[:, None]
    log_chance_BL = (
        log_factorial[a]
        + log_factorial[num_images - a]
        + (log_factorial[b_B] + log_factorial[num_images - b_B])[:, None]
        - log_factorial[num_images]
        - log_factorial[n_BL]
        - log_factorial[a - n_BL]
        - log_factorial[b_B1 - n_BL]
        - log_factorial[num_images - a - b_B1 + n_BL]
    )
    information_BL = n_BL / num_images * np.log(num_images * n_BL / (float(a) * b_B1))
    terms_B: FloatArray = np.where(is_term_BL, np.exp(log_chance_BL) * information_BL, 0.0).sum(1)
    return terms_B


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
