"""The holder of a lease: read from the lease's files, and whether its process still lives."""

import dataclasses
import json
import time

from kd_sweep.storage.process_identity import PidScope, is_alive, this_pid_scope, this_process
from kd_sweep.storage.root import Root
from kd_sweep.storage.terms import Claim, claim_name, claims_on

DRIVER_LEASE = "driver-lease.json"
"""The driver's lease in a study's folder. Its files have the term and a token in their names besides."""

_LAST_TIME = 253_402_300_799.0
"""The end of the year 9999: no clock shows more."""
_LONGEST_LEASE_S = 86_400.0
_DAMAGED = ""
"""The host of a file that names no holder."""
tokens_held: set[str] = set()
"""Of the leases that this process holds: one of its own that could not be released is free."""


@dataclasses.dataclass(frozen=True)
class Holder:
    """The content of a lease file. Times are seconds since 1970 on the holder's clock."""

    host: str
    pid: int
    process_start: str | None
    acquired_at: float
    renewed_at: float
    counter: int
    """Goes up with every renewal."""
    token: str
    """Names this acquisition: no two are equal."""
    lease_s: float
    boot_id: str | None = None
    pid_namespace: str | None = None
    released: bool = False
    """Whether it has given the lease up."""
    term: int = 0
    """Which acquisition this is: every one has a higher number than those before it."""

    @property
    def claim(self) -> Claim:
        """The claim in whose file this holder is written."""
        return Claim(self.term, self.token)

    @property
    def is_here(self) -> bool:
        """Whether the holder's pid can be looked up from this process."""
        return PidScope(self.host, self.boot_id, self.pid_namespace) == this_pid_scope()

    @property
    def age_s(self) -> float:
        """Seconds since the lease was taken."""
        return max(0.0, time.time() - self.acquired_at)

    @property
    def silent_s(self) -> float:
        """Seconds since it was renewed; negative where the holder's clock is ahead of ours."""
        return time.time() - self.renewed_at

    @property
    def is_expired(self) -> bool:
        """Whether the last renewal is further away than the lease is long, into the past or the future."""
        return abs(self.silent_s) > self.lease_s

    @property
    def is_alive(self) -> bool:
        """Whether the holder still counts: its process lives here, or it renewed recently elsewhere."""
        if self.released:
            return False
        if self.is_here and (self.pid, self.process_start) == this_process():
            return self.token in tokens_held
        return is_alive(self.pid, self.process_start) if self.is_here else not self.is_expired

    def __str__(self) -> str:
        silent = max(0.0, self.silent_s)
        return f"pid {self.pid} on {self.host} for {duration(self.age_s)} (renewed {duration(silent)} ago)"


def is_lease_file(file: str, name: str = DRIVER_LEASE) -> bool:
    """Whether a file in the folder of the lease ``name`` is one of those that the lease consists of."""
    return bool(claims_on(name, [file])) or file.startswith(f".{name.partition('.')[0]}")


def holder_of(root: Root, name: str = DRIVER_LEASE) -> Holder | None:
    """Return the holder of the lease ``name``, alive or not; None if there is none. A damaged file names no holder."""
    holders = [holder for holder in latest_holders(root, name) if not holder.released and holder.host != _DAMAGED]
    return max(holders, key=lambda holder: holder.is_alive, default=None)


def damaged_lease(root: Root, name: str = DRIVER_LEASE) -> str | None:
    """Return the file of the latest term if it is damaged and names no holder, else None."""
    latest = [holder for holder in latest_holders(root, name) if holder.host == _DAMAGED]
    return claim_name(name, latest[0].claim) if latest else None


def latest_holders(root: Root, name: str) -> list[Holder]:
    """Return the holders of the latest term: one, or two while a second does not know yet that it is too late."""
    while True:
        claims = claims_on(name, root.files())
        try:
            return [_read(root, name, claim) for claim in claims if claim.term == claims[-1].term]
        except FileNotFoundError:  # a later holder has deleted it
            continue


def _read(root: Root, name: str, claim: Claim) -> Holder:
    try:
        content = json.loads(root.read_bytes(claim_name(name, claim)))
        fields = {field.name for field in dataclasses.fields(Holder)}
        holder = Holder(**{key: value for key, value in content.items() if key in fields})
        _check_types(holder)
        return dataclasses.replace(holder, term=claim.term, token=claim.token)
    except (ValueError, TypeError, AttributeError, RecursionError):
        # Only a power cut can leave half a file: renewals are not synced. Nobody renews it, so it expires.
        return Holder(_DAMAGED, 0, None, 0.0, 0.0, 0, claim.token, 0.0, term=claim.term)


def _check_types(holder: Holder) -> None:
    """Raise `ValueError` if the values are not what a holder writes."""
    times = (holder.acquired_at, holder.renewed_at, holder.lease_s)
    numbers = (holder.pid, holder.counter, *times)
    texts = (holder.process_start, holder.boot_id, holder.pid_namespace)
    is_sound = (
        isinstance(holder.host, str)
        and holder.host != _DAMAGED
        and isinstance(holder.released, bool)
        and all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers)
        and all(isinstance(number, int) and 0 <= number < 2**63 for number in (holder.pid, holder.counter))
        and all(0 <= number <= _LAST_TIME for number in times)  # NaN is neither
        and holder.lease_s <= _LONGEST_LEASE_S
        and all(text is None or isinstance(text, str) for text in texts)
    )
    if not is_sound:
        raise ValueError("not what a holder writes")


def write_holder(root: Root, name: str, holder: Holder, *, durable: bool = True) -> None:
    """Write the file of a holder's own term."""
    content = json.dumps(dataclasses.asdict(holder)).encode()
    root.write_bytes(claim_name(name, holder.claim), content, durable=durable)


def duration(seconds: float) -> str:
    """Return a time as messages give it: `90 s`, `5 min`, `2.0 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
