"""Terms: numbers that only grow, whoever claims them at once, and the files that bear them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kd_sweep.storage.root import Root
from kd_sweep.storage.terms import Claim, claim_name, claim_term, claims_on, of_term, rivals, terms_of, unfinished
from tests.damage import UnreliableDisk


@pytest.fixture(params=["local", "no rename and no locks"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Root:
    return Root.open(tmp_path) if request.param == "local" else UnreliableDisk().opened(tmp_path)


def test_of_many_that_claim_at_once_no_two_get_the_same_term(root: Root) -> None:
    with ThreadPoolExecutor(8) as pool:
        terms = list(pool.map(lambda number: claim_term(root, "attempt", f"{number:04x}"), range(40)))
    assert len(set(terms)) == 40
    assert [claim.term for claim in claims_on("attempt", root.files())] == [max(terms)]
    assert claim_term(root, "attempt", "ffff") == max(terms) + 1


def test_a_claim_that_comes_too_late_finds_the_others(root: Root) -> None:
    early, late = Claim(1, "aa"), Claim(1, "bb")
    root.write_bytes(claim_name("lease.json", early), b"{}")
    assert rivals(root, "lease.json", early) == []
    root.write_bytes(claim_name("lease.json", late), b"{}")
    assert rivals(root, "lease.json", late) == [early]
    assert claims_on("lease.json", ["lease.json", "other-00000001-aa.json", *root.files()]) == [early, late]


def test_names() -> None:
    assert claim_name("lease.json", Claim(7, "c0ffee")) == "lease-00000007-c0ffee.json"
    assert of_term("trials/trials.parquet", 3) == "trials/trials-00000003.parquet"
    names = ["last-00000003.safetensors", "last-00000001.safetensors", "last-00000002.safetensors.corrupt", "last.x"]
    assert terms_of("last.safetensors", names) == [1, 3]


def test_only_what_earlier_writers_left_unfinished_is_theirs_to_lose(tmp_path: Path) -> None:
    root = Root.open(tmp_path)
    for term in (1, 2, 3):
        for name in ("model.safetensors", "teacher.json", "epochs/00000004-00000007.parquet"):
            with root.replace(of_term(name, term)):
                assert unfinished(root.files(), before=term) == []
                assert len(unfinished(root.files(), before=term + 1)) == 1
    assert unfinished([".study.yaml.0123456789ab.tmp", "notes-00000001.txt"], before=9) == []
