"""The recipe of a trial, and its identity with it: images, their augmentation, networks, losses, metrics."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from kd_sweep.catalogue.kinds import ATTENTION_MAP, DATASET, LOSS, NETWORK, PIPELINE, Kind
from kd_sweep.catalogue.lookup import entry_of
from kd_sweep.catalogue.parameters import MAX_COUNT, Count, Seed
from kd_sweep.catalogue.selecting_section import Selected, SelectingSection
from kd_sweep.catalogue.traits import DatasetTraits, PipelineTraits
from kd_sweep.study.extra_metrics import ExtraMetrics

MAX_LEARNING_RATE = 100.0
"""Far above what any network learns with, and far below where a step overflows."""
MAX_WEIGHT_DECAY = 10.0
MAX_WEIGHT = 1e6
"""Of a term of a loss against another: float32 resolves no smaller share than 1e-7."""

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Data(SelectingSection):
    """Which images, at which size, and how validation is split off."""

    kind: ClassVar[Kind] = DATASET
    selector: ClassVar[str] = "name"
    source_key: ClassVar[str | None] = "fingerprint"
    searchable: ClassVar[bool] = False

    name: str = "digits"
    """`digits` (scikit-learn's, embedded), `cifar10`, `cifar100`, `tiny_imagenet`, `image_folder` (a folder per class,
    in `train/` and `test/` or alone), `image_list` (text files of `path label` lines, as for ImageNet-LT) or one of a
    plug-in, `package:name`."""
    imbalance_ratio: float | None = Field(None, ge=1.0, le=MAX_COUNT)
    """Make the training set long-tailed: class i of K keeps n_max * imbalance_ratio^(-i / (K - 1)) images, drawn with
    `split_seed`, so that the first class has this many times the images of the last. Null or 1: all images."""
    image_size: int = Field(16, ge=8, le=1024)
    """Height and width that models see, in pixels. Where it is left out: `digits` 16, `cifar10` and `cifar100` 32,
    `tiny_imagenet` 64; an `image_folder` and an `image_list` need it. This default, 16, names trials and stays for
    ever."""
    validation_fraction: float = Field(0.2, gt=0.0, lt=1.0)
    """Share of the images held out where the dataset brings no test split of its own."""
    split_seed: Seed = 0
    """Seed of that split. It belongs to the dataset: every trial has the same validation images."""
    max_train_images: int | None = Field(None, ge=2)
    """Keep this many training images, drawn per class with `split_seed`; all when null."""
    max_val_images: int | None = Field(None, ge=2)
    """Keep this many validation images, drawn per class with `split_seed`; all when null."""
    horizontal_flip: bool | None = None
    """Whether mirroring keeps the label. Null: the dataset's own answer (digits: no, photographs: yes)."""
    fingerprint: str | None = None
    """Digest of the images' content, of files with their names, filled in at launch: a changed dataset is noticed, a
    moved one does not matter."""

    @model_validator(mode="before")
    @classmethod
    def _image_size_of_the_dataset(cls, content: Any) -> Any:
        """Write the size out, so that it is in the frozen study and in every digest."""
        name = content.get("name", "digits") if isinstance(content, dict) else None
        entry = entry_of(DATASET, name) if isinstance(name, str) else None
        image_size = None if entry is None else entry.traits.image_size
        return content if image_size is None else {"image_size": image_size, **content}

    @model_validator(mode="after")
    def _one_name_for_the_same_images(self) -> "Data":
        """Write what adds nothing as null: a ratio of 1, and the dataset's own answer on mirroring."""
        if self.imbalance_ratio == 1.0:
            object.__setattr__(self, "imbalance_ratio", None)
        entry = entry_of(DATASET, self.name)
        if entry is not None and self.horizontal_flip is entry.traits.horizontal_flip:
            object.__setattr__(self, "horizontal_flip", None)
        return self

    @model_validator(mode="after")
    def _image_size_where_needed(self) -> "Data":
        if "image_size" not in self.model_fields_set:
            raise ValueError(
                f"image_size is needed for data.name {self.name!r}: height and width that models see, 32 or 224 say"
            )
        return self

    @property
    def mirrors(self) -> bool:
        """Whether mirroring an image keeps its label."""
        traits: DatasetTraits = self.entry.traits
        return traits.horizontal_flip if self.horizontal_flip is None else self.horizontal_flip

    @property
    def origin(self) -> dict[str, Any]:
        """The parameters of the dataset by their keys: where images come from, and not which they are, once they have a
        fingerprint.
        """
        return {key: getattr(self, key) for key in type(self).model_fields if key not in Data.model_fields}


SelectedData = Annotated[SerializeAsAny[Data], Selected()]


class Augmentation(SelectingSection):
    """What `augmentation_strength` scales, and how."""

    kind: ClassVar[Kind] = PIPELINE
    selector: ClassVar[str] = "pipeline"

    pipeline: str = "strength"
    """`strength`: `transforms`, continuously. `weak_strong`: the paper's two presets for the dataset, 0 weak and 1
    strong, in between the share of images that are shown strong. `randaugment`, `trivialaugment`: strength is the
    magnitude, and below 1/2 also the probability, strength * 2, of each operation. `autoaugment`: strength is the share
    of images. `mixup`, `cutmix`: an image has up to strength / 2 of another one in it, and of its label. Or one of a
    plug-in, `package:name`. But for `weak_strong`, 0 is no augmentation."""

    @property
    def clean_at_zero(self) -> bool:
        """Whether images are clean at strength 0."""
        traits: PipelineTraits = self.entry.traits
        return traits.clean_at_zero

    @property
    def mixes(self) -> bool:
        """Whether other images are mixed into an image."""
        traits: PipelineTraits = self.entry.traits
        return traits.mixes


SelectedAugmentation = Annotated[SerializeAsAny[Augmentation], Selected()]


Precision = Literal["float32", "bfloat16"]


class Learner(SelectingSection):
    """A network and the recipe that trains it."""

    kind: ClassVar[Kind] = NETWORK
    selector: ClassVar[str] = "model"

    model: str = "resnet8"
    """`resnet8`, `resnet14`, … `resnet110` (CIFAR-style), a wide one such as `wrn-16-2`, a torchvision or timm
    classifier by name, or a network of a plug-in, `package:name`."""
    weights: str | None = None
    """What training starts from: a .safetensors or .pth file of the same network, or `pretrained` for the weights that
    torchvision or timm downloads. A classifier of other classes is left out. Null: random weights."""
    weights_digest: str | None = None
    """Digest of that file's content, filled in at launch: other weights make another teacher, a moved file does not."""
    epochs: Count = 8
    batch_size: int = Field(64, ge=2, le=MAX_COUNT)
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = Field(0.1, gt=0.0, le=MAX_LEARNING_RATE)
    """Peak learning rate."""
    momentum: float = Field(0.9, ge=0.0, lt=1.0)
    """Of `sgd`."""
    nesterov: bool = True
    """Of `sgd`: Nesterov's momentum; plain when false."""
    weight_decay: float = Field(5e-4, ge=0.0, le=MAX_WEIGHT_DECAY)
    schedule: Literal["constant", "cosine", "step"] = "cosine"
    warmup_epochs: float = Field(1.0, ge=0.0, le=MAX_COUNT)
    """Linear warm-up from zero, in epochs; fractions are allowed."""
    milestones: tuple[Count, ...] = ()
    """Epochs after which the `step` schedule multiplies the learning rate by `gamma`, in rising order."""
    gamma: float = Field(0.1, gt=0.0, lt=1.0)
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0)
    precision: Precision = "float32"
    """Of forward passes on training images, while the network learns and, of a teacher, while a student is trained from
    it. Weights, optimiser, losses and everything on validation images are float32."""

    @field_validator("model")
    @classmethod
    def _one_name_for_a_model(cls, model: str) -> str:
        """Leave out what adds nothing: a name alone is one that is built in, then one of torchvision."""
        bare = model.removeprefix("torchvision:")
        return bare if entry_of(NETWORK, bare) == entry_of(NETWORK, model) else model

    @property
    def is_of_library(self) -> bool:
        """Whether torchvision or timm builds the network, as far as its name says."""
        return self.entry.name == NETWORK.otherwise

    @model_validator(mode="after")
    def _schedule_is_complete(self) -> "Learner":
        if self.schedule == "step" and not self.milestones:
            raise ValueError("milestones are needed for schedule 'step'")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones {list(self.milestones)} are not in rising order, each once")
        if self.warmup_epochs >= self.epochs and self.warmup_epochs > 1.0:
            raise ValueError(f"warmup_epochs {self.warmup_epochs:g} is not less than epochs {self.epochs}")
        return self


SelectedLearner = Annotated[SerializeAsAny[Learner], Selected()]


NO_LOSS = "none"
"""The loss of a student that learns from the labels alone."""

TeacherControl = Literal["none", "shuffled_labels", "random_weights"]
NO_CONTROL: TeacherControl = "none"
RANDOM_WEIGHTS: TeacherControl = "random_weights"
SHARED_EPOCHS = "shared"
"""Of `ensemble_epochs`."""


class Distillation(SelectingSection):
    """What the student is trained on: alpha * CE + (1 - alpha) * loss."""

    kind: ClassVar[Kind] = LOSS
    selector: ClassVar[str] = "loss"

    loss: str = "kl"
    """`kl`: temperature² * KL(teacher || student) at `temperature`. `mse_logits`: mean squared error of the logits.
    `dkd`: decoupled KD, whose two parts have weights of their own. `none`: the labels alone, whatever `alpha` is; the
    teachers are only compared with. Or one of a plug-in, `package:name`."""
    alpha: Fraction = 0.1
    """Weight of the cross-entropy with the hard label; 1 - alpha is the weight of the teachers."""
    teacher_weights: tuple[Annotated[float, Field(ge=1 / MAX_WEIGHT, le=MAX_WEIGHT)], ...] | None = Field(
        None, min_length=1
    )
    """Weight of each member, member 1 first; an ensemble of M uses the first M, divided by their sum. Written as
    multiples of member 1's. Equal when null."""
    teacher_batchnorm: Literal["eval", "train"] = "eval"
    """`eval`: teachers are frozen. `train`: their batch norm sees a batch as in training and its statistics go on
    drifting while the student is trained, as in the paper's published code; metrics are taken with the drifted
    statistics."""
    teacher_control: TeacherControl = NO_CONTROL
    """Teachers that know nothing, as a control: what a student still gains from them is regularisation.
    `shuffled_labels`: trained as ever, on the labels of other training images. `random_weights`: not trained at all."""
    teacher_view: Literal["consistent", "independent", "fixed"] = "consistent"
    """What teachers see of a training image while they teach (Beyer et al. 2022, arXiv 2106.05237). `consistent`: the
    very pixels that the student sees. `independent`: the image augmented anew, as strongly. `fixed`: the clean image,
    whose logits are computed once."""
    ensemble_epochs: Literal["each", "shared"] = "each"
    """`each`: every teacher is trained for its `epochs`. `shared`: each of n for `epochs` / n, rounded down, with a
    warmup as much shorter, so that an ensemble costs what one teacher alone costs."""

    @model_validator(mode="after")
    def _one_name_for_the_same_weights(self) -> "Distillation":
        if self.teacher_weights is not None:
            first = self.teacher_weights[0]
            multiples = tuple(float(f"{weight / first:.12g}") for weight in self.teacher_weights)
            object.__setattr__(
                self, "teacher_weights", multiples if set(multiples) != {1.0} or len(multiples) == 1 else None
            )
        return self

    @property
    def teachers_are_controls(self) -> bool:
        """Whether the teachers know nothing of the labels."""
        return self.teacher_control != NO_CONTROL


SelectedDistillation = Annotated[SerializeAsAny[Distillation], Selected()]


def member_learner(learner: Learner, distillation: Distillation, size: int) -> Learner:
    """Return the recipe by which one of several teachers is trained: they may share the epochs of one.

    Raises:
        ValueError: they cannot, by `sharing_mistake`.
    """
    if distillation.ensemble_epochs != SHARED_EPOCHS or size == 1:
        return learner
    if mistake := sharing_mistake(learner.epochs, learner.schedule, size):
        raise ValueError(f"ensemble_epochs {mistake}")
    epochs = learner.epochs // size
    return learner.model_copy(
        update={"epochs": epochs, "warmup_epochs": learner.warmup_epochs * epochs / learner.epochs}
    )


def sharing_mistake(epochs: int, schedule: str, size: int) -> str | None:
    """Return why so many teachers cannot share the epochs of one; None where they can."""
    if epochs < size:
        return f"'shared' leaves none of {epochs} epochs to each of {size} teachers; possible: {size} epochs or more"
    if schedule == "step":
        return "'shared' has no milestones for fewer epochs; possible: schedule cosine or constant"
    return None


class Metrics(SelectingSection):
    """How the per-epoch metrics are taken."""

    kind: ClassVar[Kind] = ATTENTION_MAP
    selector: ClassVar[str] = "attention"

    attention: str = "grad_cam"
    """`grad_cam`: class activation map of the predicted class, weighted by gradients. `cam`: summed over the classes,
    as in arXiv 2405.00739. Or one of a plug-in, `package:name`. Transformers that classify by a class token have the
    rollout of their attention instead."""
    cam_threshold: float = Field(0.4, gt=0.0, lt=1.0)
    """A pixel belongs to the attention region where its map, scaled to [0, 1] per image, is above this."""
    affinity: bool = False
    """Report `affinity` and `diversity`. They need a teacher without augmentation, which is trained where none is."""
    per_class: bool = False
    """Report fidelity and attention overlap by class, lists as long as there are classes, in every row of `epochs`."""
    extra: ExtraMetrics = ()
    """Metrics that are reported in addition, `[{name: brier_score}]` say: built-in ones, and those of plug-ins."""

    @model_validator(mode="after")
    def _one_order(self) -> "Metrics":
        """Write extra metrics sorted by name: another order is the same trial."""
        columns = [metric.column for metric in self.extra]
        if len(set(columns)) < len(columns):
            raise ValueError(f"extra has {max(columns, key=columns.count)!r} twice")
        object.__setattr__(self, "extra", tuple(sorted(self.extra, key=lambda metric: metric.name)))
        return self


SelectedMetrics = Annotated[SerializeAsAny[Metrics], Selected()]
