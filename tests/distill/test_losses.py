"""The oracle is the formula of design section 7, written out in NumPy."""

import numpy as np
import pytest
import torch

from kd_sweep.distill.distillation_loss import distillation_loss, teacher_shares
from kd_sweep.distill.divergences import kl_divergence, softened
from kd_sweep.distill.optimizers import build_optimizer, learning_rate_at
from kd_sweep.study.recipe import Distillation, Learner


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


@pytest.mark.parametrize("loss", [{"temperature": 1.0}, {"temperature": 4.0}, {"loss": "mse_logits"}])
@pytest.mark.parametrize("alpha", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("num_teachers", [1, 3])
def test_equals_the_formula(case, loss, alpha, num_teachers):
    student_BC, teacher_MBC, labels_B = case
    teacher_MBC = teacher_MBC[:num_teachers]
    spec = Distillation(alpha=alpha, **loss)
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
    spec = Distillation(alpha=0.0).model_copy(update={"temperature": 1e5})
    (gradient_BC,) = torch.autograd.grad(distillation_loss(student_BC, teacher_MBC, labels_B, spec), student_BC)
    expected_BC = (student_BC.detach() - teacher_MBC[0]) / 5 / len(labels_B)
    assert torch.allclose(gradient_BC, expected_BC, atol=1e-4)


def test_extreme_logits_give_a_finite_loss():
    student_BC = torch.tensor([[1e4, -1e4, 0.0]])
    teacher_MBC = torch.tensor([[[-1e4, 1e4, 0.0]]])
    assert torch.isfinite(distillation_loss(student_BC, teacher_MBC, torch.tensor([0]), Distillation()))


def decoupled_by_hand(student_BC, teacher_BC, labels_B, spec):
    """Zhao et al. 2022, equations 1, 2 and 8, from probabilities."""
    p_BC, q_BC = softmax(teacher_BC / spec.temperature), softmax(student_BC / spec.temperature)
    total = 0.0
    for p, q, label in zip(p_BC, q_BC, labels_B, strict=True):
        others = np.arange(len(p)) != label
        binary_p, binary_q = (np.array([x[label], x[others].sum()]) for x in (p, q))
        hat_p, hat_q = (x[others] / x[others].sum() for x in (p, q))
        target = (binary_p * np.log(binary_p / binary_q)).sum()
        non_target = (hat_p * np.log(hat_p / hat_q)).sum()
        total += spec.target_class_weight * target + spec.non_target_class_weight * non_target
    return spec.temperature**2 * total / len(p_BC)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("weights", [(1.0, 8.0), (0.0, 1.0), (2.5, 0.0)])
def test_decoupled_kd_equals_the_formula(case, temperature, weights):
    student_BC, teacher_MBC, labels_B = case
    spec = Distillation(
        loss="dkd",
        alpha=0.0,
        temperature=temperature,
        target_class_weight=weights[0],
        non_target_class_weight=weights[1],
    )
    each = [decoupled_by_hand(student_BC.numpy(), t.numpy(), labels_B.numpy(), spec) for t in teacher_MBC]
    value = float(distillation_loss(student_BC, teacher_MBC, labels_B, spec))
    assert value == pytest.approx(np.mean(each), rel=1e-10)


def test_decoupled_kd_is_kl_where_the_other_classes_weigh_what_the_teacher_gives_them(case):
    """KL = TCKD + (1 - p_target) NCKD, equation 7 of the paper, image by image."""
    student_BC, teacher_MBC, labels_B = case
    for image in range(len(labels_B)):
        one = slice(image, image + 1)
        p_target = softmax(teacher_MBC[0, image].numpy() / 4.0)[labels_B[image]]
        spec = Distillation(loss="dkd", alpha=0.0, target_class_weight=1.0, non_target_class_weight=1 - p_target)
        decoupled = distillation_loss(student_BC[one], teacher_MBC[:1, one], labels_B[one], spec)
        plain = distillation_loss(student_BC[one], teacher_MBC[:1, one], labels_B[one], Distillation(alpha=0.0))
        assert float(decoupled) == pytest.approx(float(plain), rel=1e-10)


@pytest.mark.parametrize("loss", ["kl", "dkd"])
def test_mean_probabilities_are_one_teacher(case, loss):
    """Matching the mean of the softened probabilities is matching one teacher that says just that."""
    student_BC, teacher_MBC, labels_B = case
    spec = Distillation(loss=loss, ensemble_reducer="probabilities", temperature=3.0, alpha=0.3)
    mean_BC = softmax(teacher_MBC.numpy() / 3.0).mean(0)
    as_one_1BC = 3.0 * torch.from_numpy(np.log(mean_BC))[None]
    expected = distillation_loss(
        student_BC, as_one_1BC, labels_B, spec.model_copy(update={"ensemble_reducer": "teachers"})
    )
    assert float(distillation_loss(student_BC, teacher_MBC, labels_B, spec)) == pytest.approx(
        float(expected), rel=1e-10
    )


def test_mean_probabilities_by_hand():
    """Teachers (1, 3)/4 and (3, 1)/4: the mean is (1, 1)/2, the student's own, yet no teacher agrees with it."""
    student_BC, labels_B = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([0])
    teacher_MBC = torch.tensor([[[1.0, 3.0]], [[3.0, 1.0]]], dtype=torch.float64).log()
    spec = Distillation(temperature=1.0, alpha=0.0)
    apart = 0.25 * np.log(0.5) + 0.75 * np.log(1.5)
    assert float(distillation_loss(student_BC, teacher_MBC, labels_B, spec)) == pytest.approx(apart, rel=1e-12)
    together = spec.model_copy(update={"ensemble_reducer": "probabilities"})
    assert float(distillation_loss(student_BC, teacher_MBC, labels_B, together)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("loss", ["kl", "dkd", "mse_logits"])
def test_teacher_weights_weigh_the_teachers(case, loss):
    student_BC, teacher_MBC, labels_B = case
    spec = Distillation(loss=loss, alpha=0.2, teacher_weights=(1.0, 3.0, 4.0))
    plain = spec.model_copy(update={"teacher_weights": None})
    each = [float(distillation_loss(student_BC, t[None], labels_B, plain)) for t in teacher_MBC]
    value = float(distillation_loss(student_BC, teacher_MBC, labels_B, spec))
    assert value == pytest.approx(np.dot(each, [1 / 8, 3 / 8, 4 / 8]), rel=1e-10)
    first_two = float(distillation_loss(student_BC, teacher_MBC[:2], labels_B, spec))
    assert first_two == pytest.approx(np.dot(each[:2], [1 / 4, 3 / 4]), rel=1e-10)


def test_teacher_weights_weigh_the_probabilities(case):
    student_BC, teacher_MBC, labels_B = case
    spec = Distillation(ensemble_reducer="probabilities", teacher_weights=(1.0, 1.0, 2.0), alpha=0.0)
    twice = torch.cat([teacher_MBC, teacher_MBC[2:]])
    value = float(distillation_loss(student_BC, teacher_MBC, labels_B, spec))
    equal = spec.model_copy(update={"teacher_weights": None})
    assert value == pytest.approx(float(distillation_loss(student_BC, twice, labels_B, equal)), rel=1e-10)


def test_a_loss_taken_in_inference_mode_leaves_nothing_that_training_cannot_use(case):
    student_BC, teacher_MBC, labels_B = case
    spec = Distillation(teacher_weights=(0.123, 0.456, 0.789))
    with torch.inference_mode():
        measured = float(distillation_loss(student_BC, teacher_MBC, labels_B, spec))
    student_BC = student_BC.clone().requires_grad_()
    loss = distillation_loss(student_BC, teacher_MBC, labels_B, spec)
    loss.backward()
    assert float(loss.detach()) == measured
    assert student_BC.grad.abs().sum() > 0


def test_equal_weights_change_nothing(case):
    student_BC, teacher_MBC, labels_B = case
    weighted = distillation_loss(student_BC, teacher_MBC, labels_B, Distillation(teacher_weights=(2.0, 2.0, 2.0)))
    assert float(weighted) == pytest.approx(float(distillation_loss(*case, Distillation())), rel=1e-12)
    assert teacher_shares(4, None) == [0.25] * 4


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_without_teachers_it_is_torchs_cross_entropy(case, smoothing):
    student_BC, teacher_MBC, labels_B = case
    value = distillation_loss(student_BC, teacher_MBC, labels_B, Distillation(loss="none", alpha=0.1), smoothing)
    expected = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)(student_BC, labels_B)
    assert float(value) == pytest.approx(float(expected), rel=1e-12)


def test_kl_divergence_is_torchs(case):
    student_BC, teacher_MBC, _ = case
    torchs = torch.nn.KLDivLoss(reduction="batchmean")
    expected = [torchs(student_BC.log_softmax(1), t.softmax(1)) for t in teacher_MBC]
    got = kl_divergence(softened(student_BC, 1.0), softened(teacher_MBC, 1.0))
    torch.testing.assert_close(got, torch.stack(expected))


@pytest.mark.parametrize("reducer", ["teachers", "probabilities"])
@pytest.mark.parametrize("loss", ["kl", "dkd"])
def test_extreme_logits_give_finite_losses_and_gradients(loss, reducer):
    student_BC = torch.tensor([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0]], requires_grad=True)
    teacher_MBC = torch.tensor([[[-1e4, 1e4, 0.0], [1e4, 0.0, 0.0]], [[1e4, 0.0, 0.0], [0.0, 0.0, -1e4]]])
    spec = Distillation(loss=loss, ensemble_reducer=reducer)
    loss_value = distillation_loss(student_BC, teacher_MBC, torch.tensor([0, 1]), spec)
    loss_value.backward()
    assert torch.isfinite(loss_value)
    assert torch.isfinite(student_BC.grad).all()


@pytest.mark.parametrize(
    ("loss", "reducer"),
    [
        ("kl", "teachers"),
        ("kl", "probabilities"),
        ("dkd", "teachers"),
        ("dkd", "probabilities"),
        ("mse_logits", None),
    ],
)
def test_a_student_that_says_what_its_only_teacher_does_has_no_gradient(case, loss, reducer):
    student_BC, _, labels_B = case
    student_BC = student_BC.clone().requires_grad_()
    spec = Distillation(loss=loss, alpha=0.0, **({"ensemble_reducer": reducer} if reducer else {}))
    value = distillation_loss(student_BC, student_BC.detach()[None], labels_B, spec)
    (gradient_BC,) = torch.autograd.grad(value, student_BC)
    assert float(value.detach()) == pytest.approx(0, abs=1e-12)
    assert gradient_BC.abs().max() < 1e-12


@pytest.mark.parametrize(
    ("section", "act"),
    [
        (Learner(), lambda section: build_optimizer(torch.nn.Linear(2, 2), section)),
        (Learner(), lambda section: learning_rate_at(9, 1, section)),
    ],
    ids=["optimizer", "schedule"],
)
def test_a_choice_without_a_branch_of_its_own_is_an_error_and_not_another_choice(request, section, act):
    choice = request.node.callspec.id
    object.__setattr__(section, choice, "new")
    with pytest.raises(AssertionError, match="new"):
        act(section)
