"""The driver's lease of a study: later than every term that its tables know."""

from typing import Any

from kd_sweep.storage.lease import Lease
from kd_sweep.storage.lease_holder import DRIVER_LEASE
from kd_sweep.storage.root import Root
from kd_sweep.tables.current_files import latest_term


def study_lease(study_root: Root, study: str, **options: Any) -> Lease:
    """Take the driver's lease of the study in ``study_root``. Options and errors are those of `Lease.acquire`."""
    after = latest_term(study_root)
    return Lease.acquire(DRIVER_LEASE, root=study_root, what=f"study {study!r}", after=after, **options)
