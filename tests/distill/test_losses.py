"""The oracle is the formula of design section 7, written out in NumPy."""

import numpy as np
import pytest
import torch

from kd_sweep.distill.losses import distillation_loss
from kd_sweep.study.spec import Distillation


def softmax(logits):
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def expected_loss(student_BC, teacher_MBC, labels_B, spec, smoothing=0.0):
    num_classes = student_BC.shape[1]
    target_BC = np.eye(num_classes)[labels_B] * (1 - smoothing) + smoothing / num_classes
    hard = -(target_BC * np.log(softmax(student_BC))).sum(1).mean()
    per_teacher = []
    for teacher_BC in teacher_MBC:
        if spec.loss == "kl":
            p_BC, q_BC = softmax(teacher_BC / spec.temperature), softmax(student_BC / spec.temperature)
            match = spec.temperature**2 * (p_BC * np.log(p_BC / q_BC)).sum(1).mean()
        else:
            match = ((student_BC - teacher_BC) ** 2).mean()
        per_teacher.append(spec.alpha * hard + (1 - spec.alpha) * match)
    return np.mean(per_teacher)


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(0)
    student_BC = torch.randn(6, 5, dtype=torch.float64, generator=generator) * 3
    teacher_MBC = torch.randn(3, 6, 5, dtype=torch.float64, generator=generator) * 3
    return student_BC, teacher_MBC, torch.tensor([0, 1, 2, 3, 4, 0])


@pytest.mark.parametrize("loss", ["kl", "mse_logits"])
@pytest.mark.parametrize("alpha", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("num_teachers", [1, 3])
def test_equals_the_formula(case, loss, alpha, temperature, num_teachers):
    student_BC, teacher_MBC, labels_B = case
    teacher_MBC = teacher_MBC[:num_teachers]
    spec = Distillation(loss=loss, alpha=alpha, temperature=temperature)
    expected = expected_loss(student_BC.numpy(), teacher_MBC.numpy(), labels_B.numpy(), spec, smoothing=0.1)
    assert float(distillation_loss(student_BC, teacher_MBC, labels_B, spec, 0.1)) == pytest.approx(expected, rel=1e-12)


def test_hand_computed_kl():
    # Teacher (3/4, 1/4), student (1/2, 1/2): KL = 3/4 ln(3/2) + 1/4 ln(1/2).
    student_BC = torch.zeros(1, 2)
    teacher_MBC = torch.tensor([[[3.0, 1.0]]]).log()
    loss = distillation_loss(student_BC, teacher_MBC, torch.tensor([0]), Distillation(alpha=0.0, temperature=1.0))
    assert float(loss) == pytest.approx(0.75 * np.log(1.5) + 0.25 * np.log(0.5), rel=1e-6)


def test_gradient_at_high_temperature_is_that_of_centred_logit_matching(case):
    # arXiv 1503.02531, equation 4: T² * gradient -> (z - v) / C for zero-mean logits, per image.
    student_BC, teacher_MBC, labels_B = case
    student_BC = (student_BC - student_BC.mean(1, keepdim=True)).requires_grad_()
    teacher_MBC = teacher_MBC[:1] - teacher_MBC[:1].mean(2, keepdim=True)
    spec = Distillation(alpha=0.0, temperature=1e5)
    (gradient_BC,) = torch.autograd.grad(distillation_loss(student_BC, teacher_MBC, labels_B, spec), student_BC)
    expected_BC = (student_BC.detach() - teacher_MBC[0]) / 5 / len(labels_B)
    assert torch.allclose(gradient_BC, expected_BC, atol=1e-4)


def test_extreme_logits_give_a_finite_loss():
    student_BC = torch.tensor([[1e4, -1e4, 0.0]])
    teacher_MBC = torch.tensor([[[-1e4, 1e4, 0.0]]])
    assert torch.isfinite(distillation_loss(student_BC, teacher_MBC, torch.tensor([0]), Distillation()))
