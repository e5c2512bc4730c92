"""Tables of reports: widths that fit a page, cells that stay whole, and numbers that are nothing."""

from kd_sweep.figures.report.shown_tables import Heading, ShownTable, cell_lines, column_widths, without_dust

TABLE = ShownTable(
    "",
    [Heading("outcome"), Heading("Augmentation strength", is_number=True), Heading("mean", is_number=True)],
    [("Fidelity on augmented validation images", "0.5", "0.9742 [0.9701, 0.9783]"), ("Gap", "1", "-")],
)


def test_a_table_that_fits_is_not_broken() -> None:
    assert column_widths(TABLE, 100) == [39, 12, 23]


def test_text_is_broken_before_means_and_no_word_of_a_heading_nor_an_interval_ever_is() -> None:
    for room in (78, 60, 51, 50, 44):
        widths = column_widths(TABLE, room)
        assert widths is not None
        assert sum(widths) + 4 <= room
        text, strength, mean = widths
        assert text >= 12
        assert strength >= len("Augmentation")
        assert mean == 23 or text == 12
        assert mean >= len("[0.9701, 0.9783]")
    assert column_widths(TABLE, 43) is None


def test_an_interval_is_broken_from_its_mean_and_nowhere_else() -> None:
    assert cell_lines("0.9742 [0.9701, 0.9783]", 23) == ["0.9742 [0.9701, 0.9783]"]
    assert cell_lines("0.9742 [0.9701, 0.9783]", 22) == ["0.9742", "[0.9701, 0.9783]"]
    assert cell_lines("[0.9701, 0.9783]", 3) == ["[0.9701, 0.9783]"]
    assert cell_lines("", 5) == [""]


def test_rounding_errors_are_nothing_and_all_else_stays() -> None:
    assert without_dust([1.2e-17, -0.0123456789, None, "kl", 3]) == [0.0, -0.0123456789, None, "kl", 3]
