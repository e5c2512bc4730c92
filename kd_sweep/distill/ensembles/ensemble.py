"""The teachers of a trial and their outputs on its images: read where they are kept, computed where they are not.

A batch goes through a teacher in the same composition either way, so both ways give the same bits.

Shapes: B batch, C classes, M teachers, N training images of an epoch, R ways to pair images, V validation images, h x w
map, H x W image.
"""

import functools
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor, nn

from kd_sweep.attention.compared_maps import ComparedMaps, Overlaps
from kd_sweep.attention.maps import enlarged_to_unit_range, maps_id, small_attention_maps
from kd_sweep.attention.randomised import KeptCorrelations, kept_correlations
from kd_sweep.attention.regions import other_images, pairs_of
from kd_sweep.augmentation.stream import AugmentationStream
from kd_sweep.distill.ensembles.epoch_answers import EnsembleEpoch
from kd_sweep.distill.ensembles.member import Member
from kd_sweep.distill.ensembles.shared_epoch import SharedEpoch
from kd_sweep.distill.image_means import ImageMeans
from kd_sweep.distill.teacher_logits import CleanOutputs, LogitCache
from kd_sweep.distill.teachers import TrainedTeacher, ensure_teacher
from kd_sweep.errors import TrialError
from kd_sweep.metrics.class_overlap import ClassMeans, overlap_per_class
from kd_sweep.metrics.predictions import affinity, diversity, ensemble_log_probabilities, top_1
from kd_sweep.metrics.split_metrics import (
    Lists,
    chance_metrics,
    teacher_attention_metrics,
    teacher_lists,
    teacher_metrics,
)
from kd_sweep.storage.root import Location
from kd_sweep.study.metric_catalogue import null_where
from kd_sweep.study.metric_record import Null
from kd_sweep.study.trial import TrialConfig

MAX_COMPARED_PIXELS = 2**25
"""In the maps of a teacher's validation images: what more are compared by, over 40 MB, is made anew for each batch."""

T = TypeVar("T")


class Ensemble:
    """Teachers that do not learn, each loaded when its output on an image is first needed.

    Where `distillation.teacher_batchnorm` is `train` they drift: their batch norm is in training mode on the images
    that the student learns from. Then they are this trial's own copies, and no output is kept for other trials, or for
    another epoch.

    Args:
        config: the trial.
        stream: the student's stream.
        cache: where their outputs are kept.
        root: the results root.
        device: where they run.
        num_threads: for training a teacher that is missing.
    """

    def __init__(
        self,
        config: TrialConfig,
        stream: AugmentationStream,
        cache: LogitCache,
        *,
        root: Location,
        device: torch.device,
        num_threads: int | None,
    ) -> None:
        drifting = config.distillation.teacher_batchnorm == "train"

        @functools.cache
        def trained(teacher_id: str) -> TrainedTeacher:
            return ensure_teacher(teachers[teacher_id], root, device=str(device), num_threads=num_threads)

        teachers = {teacher.teacher_id: teacher for teacher in (*config.teachers, config.reference_teacher)}
        self._needed = [teacher.teacher_id for teacher in config.needed_teachers]
        self._trained = trained
        self._members = [Member(teacher, trained, drifting) for teacher in config.teachers]
        self._reference = Member(config.reference_teacher, trained, drifting=False)
        self._stream = stream
        self._teacher_stream = stream.with_seeds_of(config.teacher_stream)
        self._is_fixed = config.distillation.teacher_view == "fixed"
        self._measures_affinity = config.measures_affinity
        self._cache = LogitCache(root, enabled=False) if drifting else cache
        self._device = device
        self._metrics = config.metrics
        self._drifting = drifting

    def ensure_trained(self) -> None:
        """Train the teachers that the trial needs and nobody has trained."""
        for teacher_id in self._needed:
            self._trained(teacher_id)

    def epoch(self, epoch: int, shared: SharedEpoch | None = None) -> EnsembleEpoch:
        """Return the teachers' answers to one epoch of the stream, which other students may share."""
        if self._drifting:
            for stale in ("_clean", "_compared", "_right", "clean_logits", "clean_metrics", "clean_lists"):
                self.__dict__.pop(stale, None)
        fixed = self._fixed if self._is_fixed else None
        shared = shared or SharedEpoch(1)
        return EnsembleEpoch(self._members, self._stream, self._teacher_stream, self._cache, epoch, fixed, shared)

    @property
    def drifting_models(self) -> Mapping[str, nn.Module]:
        """The teachers that a checkpoint has to hold the statistics of, by name; none where they are frozen."""
        return {f"teacher-{m.teacher_id}": m.model for m in self._members} if self._drifting else {}

    @cached_property
    def _fixed(self) -> list[Tensor]:
        """Each teacher's logits on all clean training images, in their order, on the CPU."""
        return [self._fixed_logits(member) for member in self._members]

    def _fixed_logits(self, member: Member) -> Tensor:
        train = self._stream.dataset.train
        logits_NC = self._cache.clean_train(member.teacher_id, (len(train), self._stream.dataset.num_classes))
        if logits_NC is None:
            batches = self._stream.clean_batches(train)
            logits_NC = torch.cat([member.fixed_logits(batch.images_BDHW).cpu() for batch in batches])
            self._cache.keep_clean_train(member.teacher_id, logits_NC)
        return logits_NC

    @cached_property
    def _clean(self) -> list[CleanOutputs]:
        """Each teacher's outputs on the clean validation images, on the device."""
        return [self._clean_outputs(member) for member in self._members]

    @cached_property
    def clean_logits(self) -> Tensor:
        """The teachers' logits on the clean validation images, (M, V, C)."""
        return torch.stack([outputs.logits_VC for outputs in self._clean])

    @cached_property
    def clean_metrics(self) -> dict[str, float | None]:
        """The metrics of the teachers alone, which are the same after every epoch unless they drift."""
        return {
            **dict.fromkeys(null_where(Null.ONE_TEACHER)),
            **teacher_metrics(self.clean_logits, self._val_labels),
            **self._attention(),
            **self._randomised,
            "affinity": self._affinity if self._measures_affinity else None,
            "diversity": self._diversity if self._measures_affinity else None,
        }

    @cached_property
    def clean_lists(self) -> Lists:
        """The metrics of the teachers alone that are lists; as `clean_metrics`."""
        by_class = self._overlap_per_class() if self._metrics.per_class and len(self._members) > 1 else None
        lists = teacher_lists(self.clean_logits, self._val_labels)
        return {**lists, "attention_overlap_teachers_per_class": by_class}

    def is_right(self, indices_B: Tensor) -> Tensor:
        """Return whether the ensemble classifies these clean validation images right, bool (B,)."""
        return self._right[indices_B.to(self._device, non_blocking=True)]

    @cached_property
    def _right(self) -> Tensor:
        return top_1(ensemble_log_probabilities(self.clean_logits)) == self._val_labels

    @property
    def _val_labels(self) -> Tensor:
        return self._stream.dataset.val.labels_N.to(self._device)

    def clean_maps(self, indices_RMB: Tensor) -> ComparedMaps:
        """Return what the teachers' attention maps on these clean validation images are compared by, of (R, M, B).

        Args:
            indices_RMB: indices of the images for each teacher, in each of the ways to pair them with others'; (B,)
                where they are the same for all, in one way.
        """
        num_ways = len(indices_RMB) if indices_RMB.ndim > 1 else 1
        per_member = indices_RMB.expand(num_ways, len(self._members), -1)
        members = zip(self._compared, per_member.unbind(1), strict=True)
        return ComparedMaps.stacked([compared(indices_RB) for compared, indices_RB in members])

    def maps_of_other_images(self, indices_B: Tensor) -> ComparedMaps:
        """Return the same as `clean_maps`, of clean validation images that are not these, in each way to pair them.

        Those are selected once and for all, and each image is another one's the same number of times; see
        `attention.regions.other_images`.
        """
        return self.clean_maps(self._others[:, 1:, indices_B])

    @cached_property
    def _compared(self) -> list[Callable[[Tensor], ComparedMaps]]:
        """Of each teacher, what returns its compared maps of some images; all are held where they are few."""
        dataset, threshold = self._stream.dataset, self._metrics.cam_threshold

        def of_member(outputs: CleanOutputs) -> Callable[[Tensor], ComparedMaps]:
            def of_images(indices_RB: Tensor) -> ComparedMaps:
                small_maps_Nhw = outputs.maps_Vhw[indices_RB.flatten().to(self._device, non_blocking=True)]
                maps_NHW = enlarged_to_unit_range(small_maps_Nhw, dataset.image_size)
                return ComparedMaps.of(maps_NHW.view(*indices_RB.shape, *maps_NHW.shape[1:]), threshold)

            if len(dataset.val) * dataset.image_size**2 > MAX_COMPARED_PIXELS:
                return of_images
            return ComparedMaps.concatenated([of_images(batch_B) for batch_B in self._stream.val_indices]).select

        return [of_member(outputs) for outputs in self._clean]

    @cached_property
    def _affinity(self) -> float | None:
        # That of the first epoch's augmentation: it belongs to the stream, not to an epoch.
        val = self._stream.dataset.val
        augmented = [self._reference.logits(batch.images_BDHW) for batch in self._stream.augmented_val(1)]
        clean = [self._reference.logits(batch.images_BDHW) for batch in self._stream.clean_batches(val)]
        return affinity(torch.cat(augmented), torch.cat(clean), self._val_labels)

    @cached_property
    def _diversity(self) -> float | None:
        return diversity(self._members[0].train_loss, self._reference.train_loss)

    @cached_property
    def _others(self) -> Tensor:
        """Indices of other validation images for a student and its teachers, (R, 2, V)."""
        return other_images(len(self._stream.dataset.val), 2)

    def _attention(self) -> Mapping[str, float | None]:
        num_members = len(self._members)
        overlap, apart = ImageMeans(), ImageMeans()
        others_RMV = other_images(len(self._stream.dataset.val), num_members)
        for indices_B in self._stream.val_indices:
            for means in teacher_attention_metrics(self.clean_maps(indices_B)):
                overlap.add(means, len(indices_B))
            if num_members > 1:
                for means in teacher_attention_metrics(self.clean_maps(others_RMV[:, :, indices_B])):
                    apart.add(means, len(indices_B))
        return {**overlap.values(), **chance_metrics(overlap.values(), apart.values())}

    def _overlap_per_class(self) -> list[float | None]:
        """Return how far teachers' regions overlap, by the class of the image; of two images that of the first."""
        labels_V = self._stream.dataset.val.labels_N
        overlap, apart = (ClassMeans(self._stream.dataset.num_classes) for _ in range(2))
        others_RMV = other_images(len(labels_V), len(self._members))
        first_P, _ = pairs_of(len(self._members))
        for indices_B in self._stream.val_indices:
            overlap.add(Overlaps.of_pairs(self.clean_maps(indices_B)).iou_SRPB[0], labels_V[indices_B])
            others_RMB = others_RMV[:, :, indices_B]
            apart.add(Overlaps.of_pairs(self.clean_maps(others_RMB)).iou_SRPB[0], labels_V[others_RMB[:, first_P]])
        return overlap_per_class(overlap, apart)

    @cached_property
    def _randomised(self) -> dict[str, float | None]:
        """The model-randomisation check of the teachers as they were trained, mean over images and members."""
        names = ("attention_randomised_classifier", "attention_randomised_network")
        try:
            of_members = [self._kept_correlations(member) for member in self._members]
        except TrialError:  # of a plug-in that was made for networks that have learned something
            return dict.fromkeys(names)
        columns = zip(names, zip(*of_members, strict=True), strict=True)
        return {name: float(torch.stack(values).mean()) for name, values in columns}

    def _kept_correlations(self, member: Member) -> KeptCorrelations:
        val, kind = self._stream.dataset.val, maps_id(self._metrics)

        def compute() -> KeptCorrelations:
            initial, redrawn = member.untrained_models(self._stream.dataset, self._device)
            images = (batch.images_BDHW for batch in self._stream.clean_batches(val))
            kept = kept_correlations(member.trained_model, initial, redrawn, images, self._metrics)
            self._cache.keep_kept_correlations(member.teacher_id, kind, kept)
            return kept

        return self._once(member, lambda: self._cache.kept_correlations(member.teacher_id, kind, len(val)), compute)

    def _clean_outputs(self, member: Member) -> CleanOutputs:
        dataset, device, kind = self._stream.dataset, self._device, maps_id(self._metrics)
        shape = (len(dataset.val), dataset.num_classes)

        def compute() -> CleanOutputs:
            outputs = self._compute_clean(member.model)
            self._cache.keep_clean(member.teacher_id, kind, outputs)
            return outputs

        outputs = self._once(member, lambda: self._cache.clean(member.teacher_id, kind, shape), compute)
        return CleanOutputs(outputs.logits_VC.to(device), outputs.maps_Vhw.to(device))

    def _once(self, member: Member, read: Callable[[], T | None], compute: Callable[[], T]) -> T:
        teacher = member.teacher_id
        return self._cache.once({teacher: teacher}, lambda _: read(), lambda _: {teacher: compute()})[teacher]

    def _compute_clean(self, model: nn.Module) -> CleanOutputs:
        logits, maps = [], []
        with torch.no_grad():
            for batch in self._stream.clean_batches(self._stream.dataset.val):
                logits_BC, maps_Bhw = small_attention_maps(model, batch.images_BDHW, self._metrics)
                logits.append(logits_BC)
                maps.append(maps_Bhw)
        return CleanOutputs(torch.cat(logits).cpu(), torch.cat(maps).cpu())
