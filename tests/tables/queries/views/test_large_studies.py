"""Views of a study with hundreds of thousands of epochs, written as a sweep writes: small, and true."""

import gzip
import io
from pathlib import Path

import duckdb
import pytest

from benchmarks.generated_study import write
from kd_sweep.tables.queries.named_queries import NAMED_QUERIES, answer
from kd_sweep.tables.reader import open_results
from kd_sweep.tables.rendering.output_formats import render

pytestmark = pytest.mark.long
NUM_TRIALS, NUM_EPOCHS = 2_100, 200
MOST_BYTES = 300_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    write(folder, "generated", NUM_TRIALS, NUM_EPOCHS)
    return folder / "generated"


@pytest.mark.parametrize("name", [name for name, query in NAMED_QUERIES.items() if query.columns is not None])
@pytest.mark.parametrize("metric", ["val_accuracy", "ece"])
def test_answers_are_small(large: Path, name: str, metric: str) -> None:
    parameter = next((key for key in ("metric", "outcome") if key in NAMED_QUERIES[name].parameters.model_fields), None)
    table = answer(open_results(large), name, {parameter: metric} if parameter else {})
    sink = io.BytesIO()
    render(table, "json", sink)
    assert 0 < len(gzip.compress(sink.getvalue())) <= MOST_BYTES
    assert 0 < table.num_rows <= (NAMED_QUERIES[name].most_rows or 1)


def test_bands_and_density_are_those_of_the_files(large: Path) -> None:
    epochs = duckdb.read_parquet(f"{large}/epochs/*.parquet")
    ((number,),) = epochs.count("*").fetchall()
    assert number > NUM_TRIALS * NUM_EPOCHS * 0.9
    results = open_results(large)
    assert sum(answer(results, "density")["num_values"].to_pylist()) == number
    expected = duckdb.sql("""SELECT quantile_cont(val_accuracy, 0.9) FROM epochs
        GROUP BY augmentation_strength, ensemble_size, epoch
        ORDER BY augmentation_strength, ensemble_size, epoch""").fetchall()
    assert answer(results, "bands")["q0_9"].to_pylist() == pytest.approx([value for (value,) in expected])
