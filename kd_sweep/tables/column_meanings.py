"""What the columns of the tables mean, in the words of docs/tables.md: for whoever writes SQL on the page."""

import re

from kd_sweep.study.metric_catalogue import METRICS

COLUMN_MEANINGS: dict[str, dict[str, str]] = {
    "studies": {
        "study": "The study's name.",
        "created_at": "First launch.",
        "updated_at": "When this row last changed.",
        "sampler": "Name of the sampler.",
        "scheduler": "Name of the scheduler.",
        "objectives": 'JSON list of `{"metric": …, "mode": …}`.',
        "spec": "The study file with every default written out, YAML.",
        "num_planned": "Trials that the study asks for; with adaptive seeds, by what has been decided so far.",
        "seeds_judged": "Of adaptive seeds: how many are complete, and which verdicts they leave open; null without.",
        "kd_sweep_version": "Of the last launch or resume.",
        "status": (
            "`running`, `completed`, `incomplete` (trials are left, failed or held back by the "
            "budget), `interrupted` (its driver died)."
        ),
    },
    "trials": {
        "study": "The study's name.",
        "trial_id": "Digest of the trial's configuration.",
        "status": (
            "How it stands: `pending`, `running`, `completed`, `stopped`, `failed`, `preempted`, `lost` or "
            "`interrupted`."
        ),
        "augmentation_strength": (
            "The mean of the teachers' strengths: of all of them where they are equal, and then of "
            "the student too unless `student_strength` is searched."
        ),
        "ensemble_size": "How many teachers.",
        "student": "The student's model.",
        "teacher": ("The teachers' model; where teachers differ, that of each, member 1 first: `resnet8, wrn-16-2`."),
        "config": "The whole configuration, JSON.",
        "num_epochs": "Epochs asked for.",
        "last_epoch": "The newest epoch reported; null before the first.",
        "metrics_version": "Of the metrics' definitions, as in `epochs`.",
        "best_epoch": "The epoch at which the first objective was best, the first of equals.",
        "objective": "The first objective after `last_epoch`.",
        "best_objective": "The first objective after `best_epoch`.",
        "rung": "The epoch at which the scheduler stopped the trial; null for the others.",
        "suggestion": (
            "Which one it was of all that an adaptive sampler (`tpe`, say) suggested in the study's "
            "life, from 0; known points count, so numbers are left out, and with `seeds` all trials "
            "of a point have its number. Null for the other samplers."
        ),
        "generation": "Of `nsga2` and `nsga3`, from 0.",
        "attempts": "How often the trial was started.",
        "error": "Why it failed, one line.",
        "traceback": "The same in full.",
        "started_at": "Its first start.",
        "finished_at": "When it ended, in whatever way.",
        "train_s": "Sum of `epoch_s`.",
        "host": "Where it ran last.",
    },
    "epochs": {
        "study": "The study's name.",
        "trial_id": "Digest of the trial's configuration.",
        "epoch": "From 1.",
        "ensemble_size": "How many teachers.",
        "metrics_version": ("Of the metrics' definitions; null in rows of before the column, which are of version 1."),
        "learning_rate": "At the epoch's last step.",
        "epoch_s": "Seconds of training and evaluation.",
        "train_images_per_s": "Of the training alone.",
        "finished_at": (
            "When the driver received it; later than that of every epoch before, so that it gives the order of arrival."
        ),
        "host": ("Where the worker ran; null for an epoch that was read from a checkpoint after a crash."),
        "pid": "Of the worker; null likewise.",
        "attempt": "Which start of the trial it belongs to, from 1.",
    },
    "teachers": {
        "study": "A study that uses it; a teacher that several studies share has a row in each.",
        "teacher_id": "Digest of everything that its weights depend on; the name of its folder.",
        "member": "Place in the ensemble, from 1.",
        "control": "`shuffled_labels` or `random_weights` of a teacher that knows nothing, else `none`.",
        "val_accuracy": "Top-1, clean validation images, after its last epoch.",
        "train_accuracy": "Top-1, its training stream, during its last epoch; null where it was not trained.",
        "train_s": "Seconds of its epochs, whichever study trained it.",
        "host": "Where it was trained.",
    },
    "notes": {
        "trial_id": "Null where the note is about the study.",
        "note_id": "For `kd-sweep note … --delete`.",
        "tags": "Words to find it by: `WHERE list_contains(tags, 'rerun')`.",
        "author": "The name of the user who wrote it; null where there was none.",
    },
}
"""By table, of columns that are no metrics and do not speak for themselves."""
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_METRICS = {
    metric.name: "As the paper's code computes it; docs/metrics.md says how."
    if metric.kind == "paper code"
    else _LINK.sub(r"\1", metric.meaning)
    for metric in METRICS
}


def column_meaning(table: str, column: str) -> str | None:
    """Return what a column of a table means; None where that is not known, as of a searched field."""
    return COLUMN_MEANINGS.get(table, {}).get(column) or _METRICS.get(column)
