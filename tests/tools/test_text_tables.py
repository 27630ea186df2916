import pytest

from tools.text_tables import format_change, format_table, format_value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.23456789, "1.23457"),
        (3.3e-9, "3.3e-09"),
        (12345678, "12345678"),
        ("logits", "logits"),
        (None, "-"),
        (True, "true"),
        ([0, 3], "[0, 3]"),
    ],
)
def test_values_are_written_with_six_digits_or_as_in_params_yaml(value, text):
    assert format_value(value) == text


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (0.00865699, 0.00265699, "-0.006"),  # 0.006000000000000001 in binary
        (0.951, 0.945, "-0.006"),
        (123.456, 0.000123456, "-123.456"),
        (3.3e-9, 3.4e-9, "+1e-10"),
        (0, 0.5, "+0.5"),
    ],
)
def test_change_has_no_digits_that_its_numbers_lack(old, new, text):
    assert format_change(old, new) == text


def test_columns_are_aligned_and_empty_ones_left_out():
    text = format_table(("a", "b", "long head"), [("1", "", "2"), ("333", "", "4")])
    assert text == "a    long head\n1    2\n333  4"


def test_markdown_is_a_table():
    text = format_table(("a", "b"), [("1", "2")], markdown=True)
    assert text == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_bar_in_a_cell_does_not_end_the_cell():
    assert format_table(("a|b",), [("c",)], markdown=True).splitlines()[0] == "| a\\|b |"
