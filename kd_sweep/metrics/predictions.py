"""Accuracy, and how far two predictors agree.

Shapes: N images, C classes, M ensemble members. Logits are unbounded; everything is computed in float64, so that
extreme logits give finite values, and returned as a Python float. An empty input raises ValueError.
"""

from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional as F


def accuracy(logits_NC: Tensor, labels_N: Tensor) -> float:
    r"""Return the share of images whose top-1 class is the label.

    .. math:: \frac{1}{N} \sum_n [\arg\max_c z_{nc} = y_n]

    Where several classes share the highest logit, the first of them is the prediction.
    """
    return _mean(top_1(logits_NC) == labels_N)


def top_k_accuracy(logits_NC: Tensor, labels_N: Tensor, k: int = 5) -> float:
    """Return the share of images whose label is among the ``k`` highest logits, or among all C where C < ``k``.

    Among equal logits the lower class comes first, so ``k`` = 1 equals `accuracy`.
    """
    ranked_NC = torch.argsort(_checked(logits_NC), dim=1, descending=True, stable=True)
    return _mean((ranked_NC[:, :k] == labels_N[:, None]).any(1))


def top_1(logits_NC: Tensor) -> Tensor:
    """Return the predicted classes, int64 (N,); the first of several with the highest value."""
    return _checked(logits_NC).argmax(1)


def agreement(scores_NC: Tensor, other_scores_NC: Tensor) -> float:
    r"""Return the share of images on which two predictors have the same top-1 class.

    This is fidelity where one is the student and the other its ensemble (Stanton et al. 2021, arXiv 2106.05945,
    equation 4). Logits, probabilities or their logarithms do.
    """
    return _mean(top_1(scores_NC) == top_1(other_scores_NC))


def agreement_among(scores_NC: Tensor, other_scores_NC: Tensor, among_N: Tensor) -> float | None:
    """Return `agreement` over the images of a mask, bool (N,); None where there is none."""
    if not bool(among_N.any()):
        return None
    return agreement(scores_NC[among_N], other_scores_NC[among_N])


def errs_together(member_logits_MNC: Tensor, ensemble_log_NC: Tensor, labels_N: Tensor) -> Tensor:
    """Return where the ensemble errs and all members have one top-1 class, bool (N,).

    The probabilities' mean then has that class too: together they copy one error, apart they disagree.
    """
    predicted_MN = torch.stack([top_1(logits_NC) for logits_NC in member_logits_MNC])
    return (top_1(ensemble_log_NC) != labels_N) & (predicted_MN == predicted_MN[:1]).all(0)


def ensemble_log_probabilities(logits_MNC: Tensor) -> Tensor:
    r"""Return the logarithm of the mean of the members' probabilities, float64 (N, C).

    .. math:: \log \frac{1}{M} \sum_m \mathrm{softmax}(z_m)_{nc}
    """
    log_probabilities_MNC = F.log_softmax(logits_MNC.double(), dim=2)
    num_members = torch.tensor(float(len(logits_MNC)), dtype=torch.float64, device=logits_MNC.device)
    return torch.logsumexp(log_probabilities_MNC, dim=0) - num_members.log()


def predictive_kl(ensemble_logits_MNC: Tensor, student_logits_NC: Tensor) -> float:
    r"""Return the mean Kullback-Leibler divergence of the student from the ensemble, in nats, at temperature 1.

    .. math:: \frac{1}{N} \sum_n \sum_c p_{nc} (\log p_{nc} - \log q_{nc})

    with :math:`p` the mean of the members' probabilities and :math:`q` the student's (Stanton et al. 2021,
    arXiv 2106.05945, equation 5). Classes that the ensemble gives probability 0 add 0.
    """
    log_p_NC = ensemble_log_probabilities(ensemble_logits_MNC)
    log_q_NC = F.log_softmax(student_logits_NC.double(), dim=1)
    # Rounding can bring the divergence of equal distributions to -1e-17.
    return max(0.0, _mean((log_p_NC.exp() * (log_p_NC - log_q_NC)).sum(1)))


def reverse_predictive_kl(ensemble_logits_MNC: Tensor, student_logits_NC: Tensor) -> float:
    """Return the mean KL(student || ensemble), in nats: `predictive_kl` with the roles swapped.

    It is large where the student is sure of a class that the ensemble finds unlikely; `predictive_kl` where the
    student finds a class unlikely that the ensemble does not.
    """
    log_p_NC = ensemble_log_probabilities(ensemble_logits_MNC)
    log_q_NC = F.log_softmax(student_logits_NC.double(), dim=1)
    return max(0.0, _mean((log_q_NC.exp() * (log_q_NC - log_p_NC)).sum(1)))


def agreement_per_class(scores_NC: Tensor, other_scores_NC: Tensor, labels_N: Tensor) -> list[float | None]:
    """Return `agreement` among the images of each class, C values; None for a class without images.

    Labels are in [0, C). On a long-tailed dataset the mean over all images tells little of the rare classes.
    """
    agree_N = (top_1(scores_NC) == top_1(other_scores_NC)).double()
    num_classes = scores_NC.shape[1]
    counts_C = torch.bincount(labels_N, minlength=num_classes)
    sums_C = torch.zeros(num_classes, dtype=torch.float64, device=agree_N.device).index_add_(0, labels_N, agree_N)
    shares = (sums_C / counts_C.clamp(min=1)).tolist()
    return [share if count else None for share, count in zip(shares, counts_C.tolist(), strict=True)]


def pairwise_disagreement(logits_MNC: Tensor) -> float | None:
    """Return the share of images on which two members differ in their top-1 class, mean over pairs; None where M = 1.

    The plain disagreement measure of diversity (Skalak 1996; Kuncheva and Whitaker 2003, section 2.2, for predictions
    instead of correctness).
    """
    pairs = list(combinations([top_1(logits_NC) for logits_NC in logits_MNC], 2))
    if not pairs:
        return None
    return sum(_mean(first_N != second_N) for first_N, second_N in pairs) / len(pairs)


def pairwise_agreement(logits_MNC: Tensor) -> list[float]:
    """Return `agreement` of each pair of members, in the order (1, 2), (1, 3), …, (2, 3), …: M (M - 1) / 2 values."""
    predicted = [top_1(logits_NC) for logits_NC in logits_MNC]
    return [_mean(first_N == second_N) for first_N, second_N in combinations(predicted, 2)]


def affinity(augmented_logits_NC: Tensor, clean_logits_NC: Tensor, labels_N: Tensor) -> float | None:
    """Return accuracy on augmented images over accuracy on the same images clean; None where the latter is 0.

    The logits are those of one model that was trained without augmentation (Gontijo-Lopes et al. 2020, arXiv
    2002.08973, section 3.1). 1: augmentation does not take an image away from what the model knows.
    """
    clean = accuracy(clean_logits_NC, labels_N)
    return accuracy(augmented_logits_NC, labels_N) / clean if clean > 0 else None


def diversity(augmented_loss: float, clean_loss: float) -> float | None:
    """Return a teacher's final training loss over that of the same teacher without augmentation; None where that is 0.

    Gontijo-Lopes et al. 2020, arXiv 2002.08973, section 3.2. 1: augmented images are as easy to learn as clean ones.
    """
    return augmented_loss / clean_loss if clean_loss > 0 else None


def predictive_entropy(log_probabilities_NC: Tensor) -> float:
    r"""Return the mean entropy of the predictions, in nats, between 0 and log C.

    .. math:: -\frac{1}{N} \sum_n \sum_c p_{nc} \log p_{nc}

    Args:
        log_probabilities_NC: logits, or normalised log-probabilities, which are the same to a softmax.
    """
    log_p_NC = F.log_softmax(log_probabilities_NC.double(), dim=1)
    return max(0.0, _mean(-(log_p_NC.exp() * log_p_NC).sum(1)))


def negative_log_likelihood(logits_NC: Tensor, labels_N: Tensor) -> float:
    r"""Return the mean cross-entropy with the labels, in nats: :math:`-\frac{1}{N} \sum_n \log p_{n y_n}`."""
    return float(F.cross_entropy(_checked(logits_NC).double(), labels_N))


def _checked(scores_NC: Tensor) -> Tensor:
    if scores_NC.ndim != 2 or not scores_NC.numel():
        raise ValueError(f"scores of shape {tuple(scores_NC.shape)} are not (N, C) with at least one image and class")
    return scores_NC


def _mean(values_N: Tensor) -> float:
    if not values_N.numel():
        raise ValueError("the mean over no image is not defined")
    return float(values_N.double().mean())
