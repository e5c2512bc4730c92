from kd_sweep.errors import KdSweepError, SpecError, StudyLockedError, TrialError, UserError, alternatives


def test_alternatives_names_the_nearest_first():
    assert alternatives("epoch", ["width", "epochs"]) == "did you mean 'epochs'? possible: epochs, width"
    assert alternatives("zzz", ["b", "a"]) == "possible: a, b"
    assert alternatives("zzz", []) == "none are possible"


def test_files_are_not_alike_by_their_ending():
    names = ["logits-matching.yaml", "digits.yaml"]
    assert alternatives("nothing.yaml", names, suffixes=(".yaml", ".yml")) == f"possible: digits.yaml, {names[0]}"
    assert alternatives("digit.yml", names, suffixes=(".yaml", ".yml")).startswith("did you mean 'digits.yaml'?")


def test_long_lists_are_cut_and_counted():
    assert alternatives("zzz", [f"n{i}" for i in range(10)], limit=2) == "possible: n0, n1, … (10 in all)"


def test_exit_codes_follow_the_command_line_s_contract():
    assert SpecError("x").exit_code == UserError("x").exit_code == StudyLockedError("x").exit_code == 2
    assert TrialError("x").exit_code == KdSweepError("x").exit_code == 1
