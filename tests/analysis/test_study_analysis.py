import io
import json
import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from kd_sweep.analysis.analysis_output import output_analysis
from kd_sweep.analysis.chain import CHAIN
from kd_sweep.analysis.claims.verdict_tables import LEVELS, VERDICTS
from kd_sweep.analysis.correlations import CORRELATIONS
from kd_sweep.analysis.effects import EFFECTS
from kd_sweep.analysis.interactions import INTERACTIONS
from kd_sweep.analysis.seed_components import COMPONENTS
from kd_sweep.analysis.study_analysis import analyse
from kd_sweep.errors import QueryError
from tests.analysis.tables import planted, trial, write_study

SCHEMAS = {
    **{"effects": EFFECTS, "correlations": CORRELATIONS, "verdicts": VERDICTS, "levels": LEVELS},
    **{"components": COMPONENTS, "interactions": INTERACTIONS, "chain": CHAIN},
}


def awkward():
    """Constant outcomes, nulls, a single seed at one strength: where NaN would come from."""
    made = planted(seeds=3)
    made += [trial(1.0, 1, 0, val_accuracy=0.5, ece=0.0, val_loss=None)]
    return [{**row, "entropy_student": 1.0} for row in made]


def written(analysis, results, format, **options):
    out = io.BytesIO()
    output_analysis(
        analysis, results, format, out, options.pop("folder", None), complete=options.pop("complete", False)
    )
    return out.getvalue().decode()


def refuse(constant):
    raise AssertionError(f"{constant} in JSON")


def numbers(value):
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from numbers(item)
    elif isinstance(value, float):
        yield value


def test_json_is_one_object_with_a_list_per_table_and_no_nan(tmp_path):
    results = write_study(tmp_path, awkward())
    answer = json.loads(written(analyse(results, resamples=500), results, "json"), parse_constant=refuse)
    assert [name for name, value in answer.items() if isinstance(value, list)] == list(SCHEMAS)
    assert all(list(row) == SCHEMAS[name].names for name in SCHEMAS for row in answer[name])
    assert (answer["study"], answer["num_completed"], answer["num_stopped"]) == ("planted", 28, 0)
    assert all(map(math.isfinite, numbers(answer)))


def test_parquet_lies_in_the_study_and_opens_in_pandas(tmp_path):
    results = write_study(tmp_path, awkward())
    analysis = analyse(results, "planted", resamples=500)
    locations = written(analysis, results, "parquet").split()
    folder = tmp_path / "planted" / "analysis"
    assert locations == [str(folder / f"{name}.parquet") for name in SCHEMAS]
    for name, schema in SCHEMAS.items():
        table = pq.read_table(folder / f"{name}.parquet")
        assert table.schema.equals(schema)
        assert table.schema.metadata[b"num_completed"] == b"28"
        assert len(pd.read_parquet(folder / f"{name}.parquet")) == table.num_rows
        assert table.num_rows > 0 or name == "components"  # of studies that vary seeds apart
    assert results.studies() == ["planted"]
    assert results.table("trials").num_rows == 28


def test_csv_goes_to_the_named_folder(tmp_path):
    results = write_study(tmp_path / "root", planted(seeds=3))
    analysis = analyse(results, resamples=500)
    written(analysis, results, "csv", folder=tmp_path / "out")
    assert not (tmp_path / "root" / "planted" / "analysis").exists()
    for name, schema in SCHEMAS.items():
        frame = pd.read_csv(tmp_path / "out" / f"{name}.csv")
        assert list(frame.columns) == schema.names
    assert len(pd.read_csv(tmp_path / "out" / "effects.csv")) == analysis.effects.num_rows


def test_verdicts_come_first_in_words_and_then_in_tables(tmp_path):
    made = [*planted(seeds=3), trial(0.0, 1, 9, status="stopped", last_epoch=1)]
    results = write_study(tmp_path, made)
    analysis = analyse(results, resamples=500)
    text = written(analysis, results, "table")
    assert "27 completed trials (3 strengths, 3 ensemble sizes, 3 seeds); left out: 1 stopped by the scheduler." in text
    whole = written(analysis, results, "table", complete=True)
    for shown, titles in {
        text: ("Verdicts on", "Effects of strength 0 to 0.5", "Effects of ensemble size 1 to 3", "How to read it"),
        whole: ("Verdicts on", "Verdicts in figures", "Every strength", "Means, and effects", "Rank correlations"),
    }.items():
        offsets = [shown.index(f"\n{title}") for title in titles]
        assert offsets == sorted(offsets)
    for shown, column in ((whole, "sentence"), (text, "summary")):
        sentences = [line[2:] for line in shown.splitlines() if line.startswith("- ")]
        # Both undecided ones have one reason, which is said once.
        told = [
            row[column].replace(f": no verdict, since {row['reason']}", "") for row in analysis.verdicts.to_pylist()
        ]
        assert sorted(sentences) == sorted(told)
    untested = [text.startswith("Not tested") for text in sentences]
    assert untested == sorted(untested)
    assert "covers at most 75%" in text
    assert "nan" not in text.lower().replace("finance", "")
    num_rows = sum(table.num_rows for table in (analysis.effects, analysis.correlations, analysis.levels))
    assert text.count("\n") < 70 < num_rows <= whole.count("\n")
    assert ("--all says" in text, "--all says" in whole) == (True, False)


def test_a_summary_is_a_part_of_its_sentence_and_verdicts_are_counted(tmp_path):
    results = write_study(tmp_path, planted(seeds=3))
    analysis = analyse(results, resamples=500)
    rows = analysis.verdicts.to_pylist()
    for row in rows:
        said, more = row["summary"], row["sentence"]
        assert said.partition(")")[0] == more.partition(")")[0]
        if row["p"] is not None:
            shown = f"{row['p_corrected']:.2g}"
            assert f" p {'below 0.001' if row['p_corrected'] < 0.001 else shown}, corrected for 6 tests." in said
            assert "bootstrap" in more
            assert "Against 0: 0.25 " in more
        assert not any(part in said for part in ("bootstrap", "Against 0:", "By images:"))
    (title,) = [line for line in written(analysis, results, "table").splitlines() if line.startswith("Verdicts on")]
    counts = Counter(row["verdict"] for row in rows)
    assert title.partition("): ")[2].split(", ")[-1] == f"{counts['not tested']} not tested"
    assert sorted(title.partition("): ")[2].split(", ")) == sorted(f"{n} {name}" for name, n in counts.items())


def test_sentences_state_effect_interval_pairs_and_seeds(tmp_path):
    rows = analyse(write_study(tmp_path, planted(seeds=3)), resamples=500).verdicts.to_pylist()
    gap = next(row for row in rows if row["outcome"] == "generalization_gap")
    assert gap["verdict"] == "supported"
    sentence = gap["sentence"]
    assert sentence.startswith(
        "Supported: stronger augmentation narrows the generalization gap (generalization_gap). "
        f"From strength 0 to 0.5 its size changes by {gap['effect']:+.4f} (mean of 3 seeds, 9 pairs; "
        f"t interval [{gap['t_low']:+.4f}, {gap['t_high']:+.4f}], bootstrap [{gap['low']:+.4f}, {gap['high']:+.4f}])"
    )
    assert "The means fall with every step. Lowest at 0.5 (95 %: 0.5)." in sentence
    assert f"Trend: p {gap['p']:.2g}, corrected {gap['p_corrected']:.2g}; curvature " in sentence
    assert sentence.count("for 6 tests.") == 1
    one_seed = analyse(write_study(tmp_path / "one", planted(seeds=1)), resamples=500).verdicts.to_pylist()
    iou = next(row for row in one_seed if row["outcome"] == "attention_iou_teachers")
    assert "(mean of 1 seed, 2 pairs). The means fall with every step." in iou["sentence"]
    assert (
        "An interval needs at least 3 seeds. One seed shows no spread, so how many would decide it is unknown."
        in iou["sentence"]
    )


def test_analysis_does_not_depend_on_the_order_of_rows(tmp_path):
    made = planted(seeds=4)
    forwards = analyse(write_study(tmp_path / "a", made), resamples=500)
    backwards = analyse(write_study(tmp_path / "b", made[::-1]), resamples=500)
    assert forwards.tables["effects"].equals(backwards.tables["effects"])
    assert forwards.tables["correlations"].equals(backwards.tables["correlations"])
    assert forwards.tables["verdicts"].equals(backwards.tables["verdicts"])


def test_outcomes_can_be_chosen(tmp_path):
    found = analyse(write_study(tmp_path, planted(seeds=3)), resamples=500, outcomes=["val_accuracy"])
    assert set(found.effects["outcome"].to_pylist()) == {"val_accuracy"}
    assert set(found.correlations["y"].to_pylist()) == {"val_accuracy"}


def test_metrics_that_a_study_added_are_outcomes(tmp_path):
    made = [{**row, "mykd_margin": 3.0 * row["augmentation_strength"] + row["seed"] / 8} for row in planted(seeds=3)]
    analysis = analyse(write_study(tmp_path, made), resamples=500, outcomes=["mykd_margin"])
    effects = analysis.effects.to_pylist()
    (whole,) = [row for row in effects if row["is_pooled"] and (row["from_level"], row["to_level"]) == (0.0, 0.5)]
    assert (whole["outcome"], whole["estimate"], whole["num_seeds"]) == ("mykd_margin", pytest.approx(1.5), 3)
    pooled = [row for row in analysis.correlations.to_pylist() if row["ensemble_size"] is None]
    assert {(row["x"], row["y"]) for row in pooled} >= {("augmentation_strength", "mykd_margin")}


def test_the_table_says_what_is_held_and_left_out(tmp_path):
    planned = [(t, own) for t in planted(seeds=3) for own in (0.0, 0.5)]
    made = [{**t, "trial_id": f"{t['trial_id']}-{own}", "student_strength": own} for t, own in planned]
    untaught = {"loss": "none", "distillation_loss": "none", "val_accuracy": 0.5}
    made += [trial(0.0, 1, seed, student_strength=own, **untaught) for seed in range(3) for own in (0.0, 0.5)]
    results = write_study(tmp_path, made)
    analysis = analyse(results, resamples=500)
    text = written(analysis, results, "table", complete=True)
    assert "(3 teacher strengths, 2 student strengths, 3 ensemble sizes, 3 seeds)" in text
    assert "augmentation_strength is the teachers' (their mean), student_strength the student's" in text
    assert "6 trials learned from labels alone (distillation.loss none, or alpha 1)" in text
    assert analysis.about["num_untaught"] == 6
    heads = [line for line in text.splitlines() if line.startswith("| verdict") or "| num_pairs" in line]
    assert len(heads) == 2
    assert all("distillation_loss" in line and "varied" in line and "attention_maps" not in line for line in heads)
    plain = write_study(tmp_path / "plain", planted(seeds=3))
    text = written(analyse(plain, resamples=500), plain, "table", complete=True)
    assert not [line for line in text.splitlines() if line.startswith("|") and "distillation_loss" in line]


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_column_is_documented(name):
    page = (Path(__file__).parents[2] / "docs/statistics.md").read_text()
    section = page.split(f"### `{name}`")[1].split("\n#")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == SCHEMAS[name].names


@pytest.mark.parametrize(
    ("made", "options", "message"),
    [
        (planted(seeds=1), {"study": "plantde"}, r"study: 'plantde' is not in .*did you mean 'planted'"),
        ([], {}, r"study: 'planted' has no completed trial to analyse \(no trials at all\)"),
        (
            [trial(0.0, 1, 0, status="stopped", last_epoch=1), trial(0.5, 1, 0, status="failed")],
            {},
            r"has no completed trial to analyse \(1 stopped, 1 failed\)",
        ),
        (
            [trial(0.5, size, 0, val_accuracy=0.5) for size in (1, 2)],
            {},
            "every completed trial of 'planted' has augmentation_strength 0.5; effects need at least two strengths",
        ),
        (planted(seeds=1), {"outcomes": ["val_acuracy"]}, "'val_acuracy'; did you mean 'val_accuracy'"),
        (planted(seeds=1), {"confidence": 95}, "confidence: 95 is not above 0 and below 1"),
        (planted(seeds=1), {"resamples": 5}, "resamples: 5 is not between 100 and 1000000"),
        (planted(seeds=1), {"margin": 2.0}, "margin: 2 is not a fraction"),
    ],
)
def test_mistakes_are_one_line(tmp_path, made, options, message):
    results = write_study(tmp_path, made)
    with pytest.raises(QueryError, match=message) as caught:
        analyse(results, **options)
    assert "\n" not in str(caught.value)


def test_one_of_several_studies_has_to_be_named(tmp_path):
    write_study(tmp_path, planted(seeds=1), "first")
    results = write_study(tmp_path, planted(seeds=2), "second")
    with pytest.raises(QueryError, match="holds 2 studies, name one; possible: first, second"):
        analyse(results)
    assert analyse(results, "second", resamples=500).about["num_completed"] == 18


def test_the_command_prints_and_writes(tmp_path, cli):
    write_study(tmp_path, planted(seeds=3))
    code, out, err = cli("analyse", tmp_path, "planted", "--resamples", 500, "--format", "json")
    assert code == 0, err
    assert len(json.loads(out)["verdicts"]) >= 5
    code, _, _ = cli(
        "analyse", tmp_path / "planted", "--resamples", 500, "--format", "parquet", "--out", tmp_path / "o"
    )
    assert (code, len(list((tmp_path / "o").iterdir()))) == (0, len(SCHEMAS))
    for wrong in (["nothing"], ["planted", "--format", "xml"], ["planted", "--out", tmp_path / "o"]):
        code, out, err = cli("analyse", tmp_path, *wrong)
        assert (code, out, err.count("\n")) == (2, "", 1), err


def test_trials_of_two_versions_of_a_plugin_are_never_averaged(tmp_path):
    made = [
        trial(strength, 1, seed, val_accuracy=level + strength / 10, distillation_loss_source=source)
        for level, source in ((0.5, "1+aa"), (0.8, "1+bb"))
        for strength in (0.0, 1.0)
        for seed in (0, 1)
    ]
    sample = analyse(write_study(tmp_path, made), resamples=100).sample
    values = {
        (setting.others[0][1], setting.augmentation_strength): list(trials.values())
        for setting, trials in sample.trials.of("val_accuracy").items()
    }
    assert values == {
        ("1+aa", 0.0): [0.5, 0.5],
        ("1+aa", 1.0): [0.6, 0.6],
        ("1+bb", 0.0): [0.8, 0.8],
        ("1+bb", 1.0): [0.9, 0.9],
    }


def test_equal_residuals_are_ties_whatever_rounding_makes_of_them(tmp_path):
    generator = np.random.default_rng(3)
    steps = {name: generator.integers(0, 3, (9, 5)) for name in ("attention_iou_teachers", "val_accuracy")}
    found = []
    for shift in (0.0, 0.1, 0.3):
        made = [
            trial(place / 8, 2, seed, **{name: shift + int(values[place, seed]) / 10 for name, values in steps.items()})
            for place, seed in np.ndindex(9, 5)
        ]
        rows = analyse(write_study(tmp_path / str(shift), made), resamples=100).correlations.to_pylist()
        found += [row["rho_within"] for row in rows if row["x"] == "attention_iou_teachers"]
    assert len(found) == 3
    assert found == pytest.approx([found[0]] * 3, abs=1e-12)


def effects_shown(text):
    """Title -> the line of what all rows share, and the rows, of each table of effects."""
    shown = {}
    for block in text.split("\n\n"):
        title, *lines = block.splitlines()
        if title.startswith("Effects of "):
            shared = lines.pop(0) if lines[0].startswith("Every row") else ""
            cells = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines if line.startswith("|")]
            shown[title.split(",")[0]] = (shared, [dict(zip(cells[0], row, strict=True)) for row in cells[1:]])
    return shown


def test_effects_for_people_are_those_of_the_claims_clearest_first(tmp_path):
    made = [{**row, "ece": row["val_accuracy"] / 3} for row in planted(seeds=5)]
    results = write_study(tmp_path, made)
    analysis = analyse(results, resamples=500)
    text = written(analysis, results, "table")
    shared, rows = effects_shown(text)["Effects of strength 0 to 0.5"]
    assert shared == "Every row: seeds 5."
    assert {row["outcome"] for row in rows} == {"val_accuracy", "generalization_gap", "attention_iou_teachers"}
    assert max(map(len, re.findall(r"^(?:\||\+).*$", text, re.MULTILINE))) <= 80
    clearness = []
    for row in rows:
        (whole,) = [
            effect
            for effect in analysis.effects.to_pylist()
            if (effect["outcome"], effect["varied"]) == (row["outcome"], "augmentation_strength")
            and effect["is_pooled"]
            and effect["kind"] == "lowest-highest"
        ]
        low, high = (float(end) for end in row["95 % interval (t)"].strip("[]").split(","))
        assert (float(row["effect"]), low, high) == pytest.approx(
            (whole["estimate"], whole["t_low"], whole["t_high"]), abs=1e-3
        )
        clearness.append(abs(whole["estimate"]) / (whole["t_high"] - whole["t_low"]))
    assert clearness == sorted(clearness, reverse=True)
    chosen = analyse(results, resamples=500, outcomes=["ece"])
    ((_, (only,)), _) = effects_shown(written(chosen, results, "table")).values()
    assert only["outcome"] == "ece"


@pytest.mark.parametrize("seeds", [1, 2])
def test_effects_without_an_interval_have_a_dash(tmp_path, seeds):
    results = write_study(tmp_path, planted(seeds=seeds))
    text = written(analyse(results, resamples=500), results, "table")
    for _, rows in effects_shown(text).values():
        assert all(math.isfinite(float(row["effect"])) for row in rows)
        assert all(row.get("95 % interval (t)", "-") == "-" for row in rows)


def test_what_no_seed_has_whole_is_named(tmp_path):
    made = [row for row in planted(seeds=3) if (row["ensemble_size"] - row["seed"]) % 3]
    text = written(analyse(results := write_study(tmp_path, made), resamples=500), results, "table")
    assert "No seed has every pair of settings: " in text
    assert "nan" not in text.lower()


def test_a_reason_that_undecided_verdicts_share_is_said_once(tmp_path):
    made = [{**row, "attention_iou_teachers": None} for row in planted(seeds=3)]
    made[0] |= {"status": "stopped", "last_epoch": 1}
    results = write_study(tmp_path, made)
    analysis = analyse(results, resamples=500)
    undecided = [row for row in analysis.verdicts.to_pylist() if row["verdict"] == "undecided"]
    assert {row["reason"] for row in undecided} == {
        "1 trial was stopped by the scheduler, so the completed trials are not a fair sample of its outcomes"
    }
    text = written(analysis, results, "table")
    assert text.count(undecided[0]["reason"]) == 1
    assert f"2 undecided, 7 not tested. Undecided since {undecided[0]['reason']}.\n" in text
    assert "- Undecided: stronger augmentation raises the student's accuracy (val_accuracy). From strength 0" in text
