"""Hosts that tests of a file share, and a cluster of one of them."""

from collections.abc import Callable, Iterator

import pytest

from tests.cluster.hosts import Host, free_port, hosts


@pytest.fixture(scope="module")
def make_host() -> Iterator[Callable[..., Host]]:
    with hosts() as make:
        yield make


@pytest.fixture(scope="module")
def cluster(make_host: Callable[..., Host], tmp_path_factory: pytest.TempPathFactory) -> tuple[Host, str]:
    """A head that runs trials, without authentication."""
    head = make_host("head", tmp_path_factory.mktemp("hosts"))
    return head, head.head(free_port(), "--num-cpus=1", "--include-dashboard=false")
