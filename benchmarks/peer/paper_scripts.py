"""The method of arXiv 2405.00739 as scripts: a process for each network, and one for the metrics of all students.

Images are opened by PIL one by one, every time; torchvision distorts each by itself. All teachers of a student see each
of its batches. Metrics are taken afterwards, of the last epoch alone, while kd_sweep takes them after every epoch.

Run: python -m benchmarks.peer.paper_scripts teacher|student|metrics JSON
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.peer.study_network import Size, residual

THRESHOLD = 0.5


class Folder(Dataset[tuple[Tensor, int]]):
    """The images of a split, each opened and distorted when it is asked for."""

    def __init__(self, folder: Path, size: int, strength: float | None) -> None:
        self.files = sorted(folder.glob("*/*.png"))
        names = sorted({file.parent.name for file in self.files})
        self.labels = [names.index(file.parent.name) for file in self.files]
        distort = [] if strength is None else distortions(strength)
        self.transform = transforms.Compose([transforms.Resize((size, size)), *distort])
        self.tensor = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.25,) * 3)])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        with Image.open(self.files[index]) as image:
            return self.tensor(self.transform(image.convert("RGB"))), self.labels[index]


def distortions(strength: float) -> list[Any]:
    if not strength:
        return []
    return [
        transforms.RandomAffine(30 * strength, (0.25 * strength,) * 2, (1 - 0.3 * strength, 1 + 0.3 * strength)),
        transforms.ColorJitter(0.8 * strength, 0.8 * strength, 0.8 * strength),
    ]


def train(model: nn.Module, given: dict[str, Any], teachers: list[nn.Module]) -> None:
    """Train on labels, or on the answers of teachers; validate after every epoch."""
    torch.manual_seed(given["seed"])
    root, size = Path(given["images"]), given["image_size"]
    batches = DataLoader(Folder(root / "train", size, given["strength"]), given["batch_size"], shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), given["learning_rate"], momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, given["epochs"] * len(batches))
    for _ in range(given["epochs"]):
        model.train()
        for images, labels in batches:
            logits = model(images)
            loss = F.cross_entropy(logits, labels)
            if teachers:
                temperature = given["temperature"]
                with torch.no_grad():
                    answers = [teacher(images) for teacher in teachers]
                divergences = [
                    F.kl_div(
                        F.log_softmax(logits / temperature, 1),
                        F.softmax(answer / temperature, 1),
                        reduction="batchmean",
                    )
                    for answer in answers
                ]
                loss = 0.1 * loss + 0.9 * temperature**2 * sum(divergences) / len(divergences)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        model.eval()
        with torch.no_grad():
            for images, labels in DataLoader(Folder(root / "val", size, None), given["batch_size"]):
                (model(images).argmax(1) == labels).float().mean()
    torch.save(model.state_dict(), given["out"])


def measure(student: nn.Module, teachers: list[nn.Module], given: dict[str, Any]) -> dict[str, float]:
    """Return fidelity and predictive KL on three sets of images, and the overlap of attention on the clean ones."""
    root, size = Path(given["images"]), given["image_size"]
    found: dict[str, float] = {}
    for name, split, strength in (
        ("train", "train", given["strength"]),
        ("val", "val", None),
        ("val_augmented", "val", given["strength"]),
    ):
        agree, divergence = [], []
        for images, _ in DataLoader(Folder(root / split, size, strength), given["batch_size"]):
            with torch.no_grad():
                log_probabilities = F.log_softmax(student(images), 1)
                ensemble = torch.stack([F.softmax(teacher(images), 1) for teacher in teachers]).mean(0)
            agree.append((log_probabilities.argmax(1) == ensemble.argmax(1)).float())
            divergence.append(F.kl_div(log_probabilities, ensemble, reduction="none").sum(1))
        found |= {f"fidelity_{name}": float(torch.cat(agree).mean()), f"kl_{name}": float(torch.cat(divergence).mean())}
    overlaps = [
        region_overlap(attention(student, images), attention(teacher, images))
        for images, _ in DataLoader(Folder(root / "val", size, None), given["batch_size"])
        for teacher in teachers
    ]
    return found | {"attention_iou": float(torch.cat(overlaps).mean())}


def attention(model: nn.Module, images: Tensor) -> Tensor:
    """Return the Grad-CAM of each image, (B, H, W) in [0, 1]."""
    features = model[:-3](images).detach().requires_grad_()
    logits = model[-3:](features)
    (gradient,) = torch.autograd.grad(logits.max(1).values.sum(), features)
    maps = (gradient.mean((2, 3), keepdim=True) * features).sum(1, keepdim=True).relu()
    maps = F.interpolate(maps, images.shape[-2:], mode="bilinear", align_corners=False)[:, 0].detach()
    return maps / maps.amax((1, 2), keepdim=True).clamp(min=1e-12)


def region_overlap(first: Tensor, second: Tensor) -> Tensor:
    one, other = first > THRESHOLD, second > THRESHOLD
    return (one & other).sum((1, 2)) / (one | other).sum((1, 2)).clamp(min=1)


def loaded(files: list[str], channels: int) -> Iterator[nn.Module]:
    for file in files:
        model = residual(10, 3, 0, Size(channels=channels))
        model.load_state_dict(torch.load(file))
        yield model.eval().requires_grad_(False)


def main() -> None:
    role, of_networks = sys.argv[1], json.loads(sys.argv[2])
    torch.set_num_threads(1)
    for given in of_networks:
        torch.manual_seed(given["seed"])
        teachers = list(loaded(given["teachers"], given["teacher_channels"]))
        if role == "metrics":
            (student,) = loaded([given["out"]], given["student_channels"])
            print(json.dumps(measure(student, teachers, given)))
        else:
            channels = given["teacher_channels" if role == "teacher" else "student_channels"]
            train(residual(10, 3, 0, Size(channels=channels)), given, teachers)


if __name__ == "__main__":
    main()
