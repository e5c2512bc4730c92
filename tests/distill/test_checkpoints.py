import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from kd_sweep.distill.checkpoints import (
    BEST,
    LAST,
    CheckpointHeader,
    TrialCheckpoints,
    checkpoints_in,
    load_checkpoint,
    read_header,
    read_history,
    save_checkpoint,
)
from kd_sweep.distill.optimizers import build_optimizer
from kd_sweep.errors import CorruptFileError
from kd_sweep.storage.root import Root
from kd_sweep.storage.stored_file import StoredFile
from kd_sweep.storage.terms import of_term
from kd_sweep.study.recipe import Learner
from kd_sweep.study.spec import Objective

HISTORY = [{"epoch": 1, "val_accuracy": 0.1 + 0.2, "attention_iou_teachers": None}, {"epoch": 2, "val_accuracy": 1 / 3}]
HEADER = CheckpointHeader("0123456789abcdef", 2, HISTORY)


def network() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    return model.to(memory_format=torch.channels_last)


def train(model, optimizer, steps, seed):
    generator = torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 3, 6, 6, generator=generator)).square().sum().backward()
        optimizer.step()


@pytest.fixture(params=["sgd", "adamw"])
def learner(request):
    return Learner(optimizer=request.param, learning_rate=0.01)


@pytest.fixture
def trained(learner):
    torch.manual_seed(0)
    model = network()
    optimizer = build_optimizer(model, learner)
    train(model, optimizer, 3, seed=1)
    return model, optimizer


def test_training_goes_on_bit_for_bit_after_a_round_trip(tmp_path, learner, trained):
    model, optimizer = trained
    save_checkpoint(tmp_path / "last.safetensors", HEADER, model, optimizer)
    other = network()
    other_optimizer = build_optimizer(other, learner)
    assert load_checkpoint(tmp_path / "last.safetensors", HEADER.owner, other, other_optimizer) == HEADER
    train(model, optimizer, 3, seed=2)
    train(other, other_optimizer, 3, seed=2)
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    assert int(other.state_dict()["1.num_batches_tracked"]) == 6


def test_restored_momentum_is_laid_out_as_its_weights(tmp_path, learner, trained):
    model, optimizer = trained
    save_checkpoint(tmp_path / "last.safetensors", HEADER, model, optimizer)
    load_checkpoint(tmp_path / "last.safetensors", HEADER.owner, model, optimizer)
    for parameter, state in optimizer.state.items():
        assert all(value.stride() == parameter.stride() for value in state.values() if value.ndim)


def test_history_is_read_without_torch(tmp_path, trained):
    save_checkpoint(tmp_path / of_term(LAST, 1), HEADER, *trained)
    assert read_history(Root.open(tmp_path)) == HISTORY
    program = (
        "import sys; from kd_sweep.storage.root import Root; from kd_sweep.distill.checkpoints import read_history;"
        "assert len(read_history(Root.open(sys.argv[1]))) == 2; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)


def test_where_there_is_none(tmp_path, trained):
    path = tmp_path / "last.safetensors"
    assert load_checkpoint(path, HEADER.owner, *trained) is None
    assert read_header(path) is None
    assert read_history(Root.open(tmp_path)) == []


@pytest.mark.parametrize("where", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("how", ["truncated", "flipped"])
def test_damage_is_noticed_and_nothing_is_restored(tmp_path, trained, where, how):
    model, optimizer = trained
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, HEADER, model, optimizer)
    good = path.read_bytes()
    at = int(len(good) * where)
    path.write_bytes(good[:at] if how == "truncated" else good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
    train(model, optimizer, 1, seed=3)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(CorruptFileError, match=r"last\.safetensors"):
        load_checkpoint(path, HEADER.owner, model, optimizer)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_checkpoint_of_another_trial_is_refused(tmp_path, trained):
    save_checkpoint(tmp_path / "last.safetensors", HEADER, *trained)
    with pytest.raises(CorruptFileError, match="not of fedcba9876543210"):
        load_checkpoint(tmp_path / "last.safetensors", "fedcba9876543210", *trained)


@pytest.mark.parametrize("history", [HISTORY[:1], HISTORY[1:], [*HISTORY, {"epoch": 4}]])
def test_a_history_with_a_gap_is_refused(tmp_path, trained, history):
    header = CheckpointHeader(HEADER.owner, 2, history)
    save_checkpoint(tmp_path / of_term(LAST, 1), header, *trained)
    with pytest.raises(CorruptFileError, match="history"):
        read_history(Root.open(tmp_path))


def save(checkpoints, trained, num_epochs):
    train(*trained, 1, seed=num_epochs)
    history = [{"epoch": epoch, "train_loss": float(epoch)} for epoch in range(1, num_epochs + 1)]
    checkpoints.save(history, *trained, {})


def test_an_attempt_that_wakes_up_after_a_later_one_changes_nothing(tmp_path, trained):
    """The first attempt saves epoch 2 when the second has done epoch 3; the loss rises, so epoch 1 stays the best."""
    folder, best = Root.open(tmp_path), Objective(metric="train_loss", mode="min")
    first = TrialCheckpoints(folder, HEADER.owner, best)
    save(first, trained, 1)
    save(first, trained, 2)
    second = TrialCheckpoints(folder, HEADER.owner, best)
    assert len(second.restore(*trained, {})) == 2
    save(second, trained, 3)
    content = {name: file.read_bytes() for name, file in checkpoints_in(folder).items()}
    for num_epochs in (2, 3, 4):  # older, as old, newer
        save(first, trained, num_epochs)
        assert {name: file.read_bytes() for name, file in checkpoints_in(folder).items()} == content
        assert len(read_history(folder)) == 3
    third = TrialCheckpoints(folder, HEADER.owner, best)
    assert len(third.restore(*trained, {})) == 3
    assert {name: file.read_bytes() for name, file in checkpoints_in(folder).items()} == content
    assert len(list(tmp_path.iterdir())) == 3, "two checkpoints and the claim; what the first attempt left is gone"


def test_a_best_checkpoint_of_an_earlier_attempt_alone_is_not_the_best(tmp_path, trained):
    folder, best = Root.open(tmp_path), Objective(metric="train_loss", mode="max")
    first, second = (TrialCheckpoints(folder, HEADER.owner, best) for _ in range(2))
    save(second, trained, 1)
    save(first, trained, 1)
    checkpoints_in(folder)[LAST].copy_to(StoredFile(folder, of_term(BEST, 1)))
    assert checkpoints_in(folder).keys() == {LAST}
