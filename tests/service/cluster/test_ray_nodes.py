"""Questions to a Ray that does not answer. To one that does: `tests/service/page/test_page_of_running_service.py`."""

import socket
from pathlib import Path

from kd_sweep.service.cluster.ray_nodes import RayNodes


def test_a_ray_that_does_not_answer_is_named_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        nodes = RayNodes(tmp_path, address)
        assert nodes.report().problem == f"Ray at {address} does not answer: Connection refused"
        nodes.close()
