"""What an object store answers while somebody else writes to it."""

import itertools
import json
import threading
from collections.abc import Iterator

import pytest

from kd_sweep.storage.root import Root
from tests.object_store import BUCKET, object_store, settings


@pytest.fixture
def slow_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pytest.importorskip("moto.server", reason="moto is not installed")
    with object_store(slow=0.5, slow_s=0.05) as proxy:
        for name, value in settings(*proxy.address).items():
            monkeypatch.setenv(name, value)
        yield f"s3://{BUCKET}"


@pytest.mark.parametrize(("every_s", "num_reads"), [(0.0, 20), (0.3, 40)])
def test_what_is_replaced_while_it_is_read_is_one_version(slow_store: str, every_s: float, num_reads: int) -> None:
    """As a lease is, which would be nobody's if half of it were read; also where reading takes longer than renewing."""
    root = Root.open(f"{slow_store}/torn")
    ended = threading.Event()

    def replace() -> None:
        for number in itertools.count():
            text = "x" * (number % 3 * 1000)
            root.write_bytes("file.json", json.dumps({"number": number, "text": text, "list": [{}]}).encode())
            if ended.wait(every_s):
                return

    root.write_bytes("file.json", b"{}")
    writer = threading.Thread(target=replace)
    writer.start()
    try:
        seen = [json.loads(root.read_bytes("file.json")) for _ in range(num_reads)]
    finally:
        ended.set()
        writer.join()
    numbers = [content["number"] for content in seen if content]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) > 5
