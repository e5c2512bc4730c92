"""Reports of epochs that nothing has trained."""

from kd_sweep.driver.worker_messages import EpochReport
from kd_sweep.study.metric_catalogue import METRICS_VERSION, REPORTED_METRICS


def report_of(epoch: int, *, epoch_s: float = 1.0, value: float = 0.5, **metrics: float | None) -> EpochReport:
    """Return a report in which every metric is ``value``, but for these."""
    return EpochReport(
        epoch=epoch,
        metrics={**dict.fromkeys(REPORTED_METRICS, value), **metrics},
        metrics_version=METRICS_VERSION,
        lists={},
        learning_rate=0.1,
        epoch_s=epoch_s,
        train_images_per_s=1.0,
        host="a",
        pid=1,
    )
