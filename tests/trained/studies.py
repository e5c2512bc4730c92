"""Studies of whole trials without a driver."""

from kd_sweep.distill.checkpoints import CHECKPOINTS
from kd_sweep.storage.root import Root
from kd_sweep.tables.reader import open_results
from kd_sweep.tables.trial_lookup import find_trials
from kd_sweep.tables.writer import StudyWriter
from tests.distill.trials import run
from tests.tables.rows import trial_row


def write_study(root, *configs):
    """Run the trials and write the rows that a driver would."""
    rows = {}
    for config in configs:
        rows[config.trial_id] = run(config, root, root / "s" / CHECKPOINTS / config.trial_id)
    with StudyWriter(Root.open(root), "s") as writer:
        for number, config in enumerate(configs):
            last = {"last_epoch": len(rows[config.trial_id]), "config": config.model_dump_json()}
            writer.upsert_trial(trial_row(number, trial_id=config.trial_id, **last))
    return rows


def only_trial(root, config):
    return find_trials(open_results(root), [config.trial_id])[0]
