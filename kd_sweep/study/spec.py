"""The study file as typed fields. A rule that needs neither dataset nor cluster is checked when the spec is built."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ByteSize, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

DATASETS = ("digits", "cifar10", "cifar100", "tiny_imagenet", "image_folder", "image_list")
"""All but the embedded digits lie at `data.path`."""

IMAGE_SIZES = {"digits": 16, "cifar10": 32, "cifar100": 32, "tiny_imagenet": 64}
"""`data.image_size` where a study file leaves it out. The model's default, 16, names trials and stays for ever."""

RESERVED_NAMES = ("teachers", "logits", "datasets")
"""Folders of a results root that are no studies."""

MAX_COUNT = 1_000_000
"""Upper limit of epochs, trials and the like, so that a slip of the keyboard is an error and not a full disk."""

Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class Strict(BaseModel):
    """Unknown keys, wrong types, NaN and infinity are errors; instances never change."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        serialize_by_alias=True,
    )


class Data(Strict):
    """Which images, at which size, and how validation is split off."""

    name: str = "digits"
    """`digits` (scikit-learn's, embedded), `cifar10`, `cifar100`, `tiny_imagenet`, `image_folder` (a folder per class,
    in `train/` and `test/` or alone) or `image_list` (text files of `path label` lines, as for ImageNet-LT)."""
    path: str | None = None
    """Where the dataset lies; for an `image_list`, the folder that the paths in the lists start from."""
    download: bool = False
    """Download `cifar10` or `cifar100` to `path` at launch where it is not there yet."""
    train_list: str | None = None
    """The training images of an `image_list`."""
    val_list: str | None = None
    """The validation images of an `image_list`; `validation_fraction` of the training images when null."""
    imbalance_ratio: float | None = Field(None, ge=1.0)
    """Make the training set long-tailed: class i of K keeps n_max * imbalance_ratio^(-i / (K - 1)) images, drawn with
    `split_seed`, so that the first class has this many times the images of the last. Null: all images."""
    image_size: int = Field(16, ge=8, le=1024)
    """Height and width that models see, in pixels. Where it is left out: `digits` 16, `cifar10` and `cifar100` 32,
    `tiny_imagenet` 64; an `image_folder` and an `image_list` need it."""
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
    """Digest of the dataset's files, filled in at launch: a changed dataset is noticed, a moved one does not matter."""

    @model_validator(mode="before")
    @classmethod
    def _image_size_of_the_dataset(cls, content: Any) -> Any:
        """Write the size out, so that it is in the frozen study and in every digest."""
        name = content.get("name", "digits") if isinstance(content, dict) else None
        image_size = IMAGE_SIZES.get(name) if isinstance(name, str) else None
        return content if image_size is None else {"image_size": image_size, **content}

    @model_validator(mode="after")
    def _path_where_needed(self) -> "Data":
        if self.name in DATASETS and self.name != "digits" and not self.path:
            raise ValueError(f"path is needed for data.name {self.name!r}")
        if self.name == "digits" and self.path:
            raise ValueError("path has no meaning for data.name 'digits', which is embedded")
        return self

    @model_validator(mode="after")
    def _image_size_where_needed(self) -> "Data":
        if self.name in ("image_folder", "image_list") and "image_size" not in self.model_fields_set:
            raise ValueError(
                f"image_size is needed for data.name {self.name!r}: height and width that models see, 32 or 224 say"
            )
        return self

    @model_validator(mode="after")
    def _fields_of_other_datasets(self) -> "Data":
        if self.name == "image_list" and not self.train_list:
            raise ValueError("train_list is needed for data.name 'image_list'")
        for key in ("train_list", "val_list"):
            if self.name != "image_list" and getattr(self, key) is not None:
                raise ValueError(f"{key} has no meaning for data.name {self.name!r}; possible: with 'image_list'")
        if self.download and self.name not in ("cifar10", "cifar100"):
            raise ValueError(f"download is not offered for data.name {self.name!r}; possible: cifar10, cifar100")
        return self


class Augmentation(Strict):
    """What `augmentation_strength` scales, and how."""

    pipeline: Literal["strength", "weak_strong", "randaugment", "autoaugment", "trivialaugment", "mixup", "cutmix"] = (
        "strength"
    )
    """`strength`: `transforms`, continuously. `weak_strong`: the paper's two presets for the dataset, 0 weak and 1
    strong, in between the share of images that are shown strong. `randaugment`, `trivialaugment`: strength is the
    magnitude, and below 1/2 also the probability, strength * 2, of each operation. `autoaugment`: strength is the share
    of images. `mixup`, `cutmix`: an image has up to strength / 2 of another one in it, and of its label. But for
    `weak_strong`, 0 is no augmentation."""
    transforms: tuple[Literal["geometry", "color", "erasing"], ...] = ("geometry", "color", "erasing")
    """Geometry: flip, shift, scale, rotate, shear. Color: brightness, contrast, saturation. Erasing: one rectangle."""

    @model_validator(mode="after")
    def _transforms_are_of_one_pipeline(self) -> "Augmentation":
        if self.pipeline != "strength" and self.transforms != ("geometry", "color", "erasing"):
            raise ValueError(f"transforms has no meaning for pipeline {self.pipeline!r}; possible: with 'strength'")
        return self


class Learner(Strict):
    """A network and the recipe that trains it."""

    model: str = "resnet8"
    """`resnet8`, `resnet14`, … `resnet110` (CIFAR-style), a wide one such as `wrn-16-2`, or a torchvision or timm
    classifier by name."""
    width: int | None = Field(None, ge=1, le=1024)
    """Channels of the first stage of a CIFAR-style ResNet (16 when null); no meaning for other models."""
    stem: Literal["full", "small"] = "full"
    """Of a torchvision or timm network made for 224 pixels. `small` leaves out its first two halvings, so that 32-pixel
    images end in a feature map of 4 x 4: a convolution of stride 2 gets stride 1, a pooling is left out."""
    weights: str | None = None
    """What training starts from: a .safetensors or .pth file of the same network, or `pretrained` for the weights that
    torchvision or timm downloads. A classifier of other classes is left out. Null: random weights."""
    weights_digest: str | None = None
    """Digest of that file's content, filled in at launch: other weights make another teacher, a moved file does not."""
    epochs: Count = 8
    batch_size: int = Field(64, ge=2, le=MAX_COUNT)
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = Field(0.1, gt=0.0)
    """Peak learning rate."""
    momentum: float = Field(0.9, ge=0.0, lt=1.0)
    """Of `sgd`."""
    nesterov: bool = True
    """Of `sgd`: Nesterov's momentum; plain when false."""
    weight_decay: float = Field(5e-4, ge=0.0)
    schedule: Literal["constant", "cosine", "step"] = "cosine"
    warmup_epochs: float = Field(1.0, ge=0.0)
    """Linear warm-up from zero, in epochs; fractions are allowed."""
    milestones: tuple[Count, ...] = ()
    """Epochs after which the `step` schedule multiplies the learning rate by `gamma`."""
    gamma: float = Field(0.1, gt=0.0, lt=1.0)
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0)
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of forward passes on training images, while the network learns and, of a teacher, while it teaches. Weights,
    optimiser, losses and everything on validation images are float32."""

    @model_validator(mode="after")
    def _schedule_is_complete(self) -> "Learner":
        if self.schedule == "step" and not self.milestones:
            raise ValueError("milestones are needed for schedule 'step'")
        if self.warmup_epochs >= self.epochs and self.warmup_epochs > 1.0:
            raise ValueError(f"warmup_epochs {self.warmup_epochs:g} is not less than epochs {self.epochs}")
        return self


class Distillation(Strict):
    """What the student is trained on: alpha * CE + (1 - alpha) * match."""

    loss: Literal["kl", "mse_logits", "dkd", "none"] = "kl"
    """`kl`: temperature² * KL(teacher || student) at `temperature`. `mse_logits`: mean squared error of the logits.
    `dkd`: decoupled KD, whose two parts have weights of their own. `none`: the labels alone, whatever `alpha` says; the
    teachers are compared with and teach nothing."""
    temperature: float = Field(4.0, gt=0.0)
    alpha: Fraction = 0.1
    """Weight of the cross-entropy with the hard label; 1 - alpha is the weight of the teachers."""
    ensemble_reducer: Literal["teachers", "probabilities"] = "teachers"
    """`teachers`: mean over teachers of the match with each. `probabilities`: match with the mean of their softened
    probabilities; not for `mse_logits`."""
    teacher_weights: tuple[Annotated[float, Field(gt=0.0)], ...] | None = Field(None, min_length=1)
    """Weight of each member, member 1 first, in either mean; an ensemble of M uses the first M, divided by their sum.
    Equal when null."""
    target_class_weight: float = Field(1.0, ge=0.0)
    """Of `dkd`: weight of the part about the labelled class against all others (alpha in arXiv 2203.08679)."""
    non_target_class_weight: float = Field(8.0, ge=0.0)
    """Of `dkd`: weight of the part about the other classes among themselves (beta in arXiv 2203.08679)."""

    teacher_batchnorm: Literal["eval", "train"] = "eval"
    """`eval`: teachers are frozen. `train`: their batch norm sees a batch as in training and its statistics go on
    drifting while they teach, as in the paper's published code; metrics are taken with the drifted statistics."""

    @model_validator(mode="after")
    def _reducer_fits_the_loss(self) -> "Distillation":
        if self.ensemble_reducer == "probabilities" and self.loss == "mse_logits":
            raise ValueError(
                "ensemble_reducer 'probabilities' has no meaning for loss 'mse_logits'; possible: teachers"
            )
        return self


class Metrics(Strict):
    """How the per-epoch metrics are taken."""

    attention: Literal["cam", "grad_cam"] = "cam"
    """`cam`: class activation map, summed over the classes. `grad_cam`: that of the predicted class, weighted by
    gradients. Transformers that classify by a class token have one kind of map, the rollout of their attention."""
    cam_threshold: float = Field(0.4, gt=0.0, lt=1.0)
    """A pixel belongs to the attention region where its map, scaled to [0, 1] per image, is above this."""
    affinity: bool = False
    """Report `affinity` and `diversity`. They need a teacher without augmentation, which is trained where none is."""
    per_class: bool = False
    """Report `fidelity_per_class_val`, a list as long as there are classes, in every row of `epochs`."""


Scalar = bool | int | float | str | None
Value = Scalar | tuple[Scalar, ...]
"""What a searched field can be. Only `teacher_strengths` is a list."""


class Grid(Strict):
    """Every value, crossed with the other grids. A scalar alone (`seed: 0`) is a grid of one."""

    grid: tuple[Value, ...] = Field(min_length=1)


class Choice(Strict):
    """One of these values."""

    choice: tuple[Value, ...] = Field(min_length=1)


class Uniform(Strict):
    """A number between two bounds, both included."""

    uniform: tuple[float, float]
    step: float | None = Field(None, gt=0.0)
    """Round to multiples of this above the lower bound."""
    log: bool = False
    """Uniform in the logarithm."""

    @model_validator(mode="after")
    def _bounds(self) -> "Uniform":
        low, high = self.uniform
        if not low < high:
            raise ValueError(f"the lower bound {low:g} is not below the upper bound {high:g}")
        if self.log and (low <= 0 or self.step is not None):
            raise ValueError("log needs a lower bound above 0 and no step")
        if self.step is not None and self.step > high - low:
            raise ValueError(f"step {self.step:g} is larger than the range from {low:g} to {high:g}")
        return self


class IntRange(Strict):
    """A whole number between two bounds, both included. Written `int: [low, high]`."""

    bounds: tuple[int, int] = Field(alias="int")
    step: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> "IntRange":
        low, high = self.bounds
        if not low < high:
            raise ValueError(f"the lower bound {low} is not below the upper bound {high}")
        if self.step > high - low:
            raise ValueError(f"step {self.step} is larger than the range from {low} to {high}")
        return self


DIMENSION_KINDS = ("grid", "choice", "uniform", "int")


def dimension_kind(dimension: Any) -> str | None:
    """Return which one of `DIMENSION_KINDS` a search dimension is, or None where that is not clear."""
    if isinstance(dimension, dict):
        kinds = [kind for kind in DIMENSION_KINDS if kind in dimension]
        return kinds[0] if len(kinds) == 1 else None
    for model, kind in ((Grid, "grid"), (Choice, "choice"), (Uniform, "uniform"), (IntRange, "int")):
        if isinstance(dimension, model):
            return kind
    return None


Dimension = Annotated[
    Annotated[Grid, Tag("grid")]
    | Annotated[Choice, Tag("choice")]
    | Annotated[Uniform, Tag("uniform")]
    | Annotated[IntRange, Tag("int")],
    Discriminator(dimension_kind),
]


class Objective(Strict):
    """A reported metric, and whether more of it is better."""

    metric: str = "val_accuracy"
    mode: Literal["min", "max"] = "max"

    def better(self, value: float, best: float | None) -> bool:
        """Whether ``value`` is better than ``best``, the best so far."""
        if best is None:
            return True
        return value > best if self.mode == "max" else value < best

    def best_of(self, rows: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        """Return the row with the best value, the first of equals; None where no row has one."""
        best: Mapping[str, Any] | None = None
        for row in rows:
            value = row.get(self.metric)
            if value is not None and (best is None or self.better(value, best[self.metric])):
                best = row
        return best


class GridSampler(Strict):
    """Every combination of the grids."""

    name: Literal["grid"] = "grid"


class RandomSampler(Strict):
    """Independent draws; draw i depends on (seed, i) alone, so more trials extend a study."""

    name: Literal["random"]
    num_trials: Count = 20
    seed: Seed = 0


class TpeSampler(Strict):
    """Optuna's tree-structured Parzen estimator; several objectives are allowed."""

    name: Literal["tpe"]
    num_trials: Count = 20
    seed: Seed = 0
    num_startup_trials: Count = 10
    """Random trials before the first modelled one."""


class Nsga2Sampler(Strict):
    """Optuna's NSGA-II, a genetic search for the Pareto set of several objectives."""

    name: Literal["nsga2"]
    num_trials: Count = 50
    seed: Seed = 0
    population_size: int = Field(20, ge=2, le=MAX_COUNT)


Sampler = Annotated[GridSampler | RandomSampler | TpeSampler | Nsga2Sampler, Field(discriminator="name")]


class NoScheduler(Strict):
    """Every trial runs all its epochs."""

    name: Literal["none"] = "none"


class AshaScheduler(Strict):
    """Asynchronous successive halving: at each rung the worse trials stop."""

    name: Literal["asha"]
    metric: str | None = None
    """A reported metric; the first objective's when null."""
    mode: Literal["min", "max"] | None = None
    grace_period: Count = 1
    """The first rung, in epochs."""
    reduction_factor: float = Field(2.0, gt=1.0)
    """Rungs are `reduction_factor` times apart, and the best 1/`reduction_factor` go on from each."""


class MedianScheduler(Strict):
    """Stop a trial whose best value lies below the median of the other trials' running means."""

    name: Literal["median"]
    metric: str | None = None
    """A reported metric; the first objective's when null."""
    mode: Literal["min", "max"] | None = None
    grace_period: Count = 1
    """No trial stops before this epoch."""
    min_trials: Count = 3
    """No trial stops before this many others reached the epoch."""


Scheduler = Annotated[NoScheduler | AshaScheduler | MedianScheduler, Field(discriminator="name")]


class Resources(Strict):
    """What one trial, or the training of one teacher, occupies."""

    cpus: Count = 1
    gpus: float = Field(0.0, ge=0.0)
    """Fractions share a GPU between trials: 0.25 packs four on one."""
    custom: dict[str, Annotated[float, Field(ge=0.0)]] = {}
    """Ray's custom resources by name."""

    @field_validator("custom")
    @classmethod
    def _custom_is_not_built_in(cls, custom: dict[str, float]) -> dict[str, float]:
        for name in ("CPU", "GPU", "memory", "object_store_memory"):
            if name in custom:
                raise ValueError(f"{name!r} is one of Ray's own resources, not a custom one; possible: cpus, gpus")
        return custom

    @model_validator(mode="after")
    def _whole_gpus_above_one(self) -> "Resources":
        if self.gpus > 1 and not self.gpus.is_integer():
            raise ValueError(f"gpus {self.gpus} is not a fraction of one GPU or a whole number of them")
        return self


class Budget(Strict):
    """Where the study ends at the latest; what was not started then stays for a later launch."""

    max_trials: Count | None = None
    """Start no more than this many trials in the study's life."""
    max_hours: float | None = Field(None, gt=0.0)
    """Start no trial later than this many hours after the launch or resume."""


class Checkpoints(Strict):
    """Which weights of students stay on disk. What an unfinished trial goes on from always does."""

    best: bool = True
    """Keep those after the epoch that is best by the first objective, beside those after the newest epoch."""
    max_bytes: Annotated[ByteSize, Field(gt=0)] | None = None
    """Of the whole study's checkpoints, `50 GB` say. Above it, finished trials lose theirs, the worst by the first
    objective first. No limit when null."""


class StudySpec(Strict):
    """A whole study: what is fixed, what is searched, and how it is run."""

    name: Name
    """The study's folder under the results root."""
    data: Data = Data()
    augmentation: Augmentation = Augmentation()
    teacher: Learner = Learner()
    student: Learner = Learner()
    distillation: Distillation = Distillation()
    metrics: Metrics = Metrics()
    search: dict[str, Dimension] = {}
    """What varies: `augmentation_strength`, `ensemble_size`, `seed`, or any field above by its dotted name.

    `teacher_strengths` (a list for each value) and `student_strength` set teachers and student apart.
    """
    objectives: tuple[Objective, ...] = Field((Objective(),), min_length=1)
    """What samplers optimise and the leaderboard sorts by; several give a Pareto set."""
    sampler: Sampler = GridSampler()
    scheduler: Scheduler = NoScheduler()
    resources: Resources = Resources()
    budget: Budget = Budget()
    checkpoints: Checkpoints = Checkpoints()
    max_concurrent_trials: Count | None = None
    """As many as fit on the cluster when null."""
    retries: int = Field(1, ge=0, le=100)
    """How often a failed trial is tried again, from its newest checkpoint."""

    @field_validator("name")
    @classmethod
    def _name_is_free(cls, name: str) -> str:
        if name.lower() in RESERVED_NAMES:
            raise ValueError(f"{name!r} is taken: the results root keeps {name.lower()} of all studies in that folder")
        return name


def metric_of(spec: StudySpec) -> Objective | None:
    """Return the metric and mode that the scheduler judges by, or None where there is no scheduler."""
    scheduler = spec.scheduler
    if isinstance(scheduler, NoScheduler):
        return None
    first = spec.objectives[0]
    return Objective(metric=scheduler.metric or first.metric, mode=scheduler.mode or first.mode)
