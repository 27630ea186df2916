"""Tables of one's own: read as they are, or refused in one sentence with file, row and column."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import call_main
from stages import tables
from stages.errors import UserError
from stages.generate_data import held_out, own_classification, stream
from stages.parameters import GenerateData, read_parameters
from stages.tables import column_names, numbers, read_chunks, read_table

NUMBER = "must be a number from -1e30 to 1e30; got"

# content of the file, the sentence behind "data/external/own.csv"
WRONG = [
    ("", " must be a table below a line of column names; it is empty."),
    ("a,t\n", " must have rows below the column names; it has none."),
    ("a,t\n1,2\nx,3\n", f": row 2, column a {NUMBER} 'x'. Correct the table."),
    ("a,t\n1,2\n,3\n", f": row 2, column a {NUMBER} '', a missing value. Correct the table."),
    ("a,t\n1,2\n2,NA\n", f": row 2, column t {NUMBER} 'NA', a missing value. Correct the table."),
    ("a,t\n1,2\n2,\n", f": row 2, column t {NUMBER} '', a missing value. Correct the table."),
    ("a,t\n1,2\n-inf,3\n", f": row 2, column a {NUMBER} '-inf'. Correct the table."),
    ("a,t\n1,2\n1e31,3\n", f": row 2, column a {NUMBER} '1e31'. Correct the table."),
    ("a,t\n1,2\n-1e31,3\n", f": row 2, column a {NUMBER} '-1e31'. Correct the table."),
    ("a,t\n+1,2\n++2,3\n", f": row 2, column a {NUMBER} '++2'. Correct the table."),
    ("a,t\n1,2\n1e400,3\n", f": row 2, column a {NUMBER} '1e400'. Correct the table."),
    ("a,t,a\n1,2,3\n", ": each column must have a name of its own; a stands 2 times. Rename one."),
    ("a, ,t\n1,2,3\n", ": each column must have a name; column 2 has none. Name it."),
    ("a,,t\n1,2,3\n", ": each column must have a name; column 2 has none. Name it."),
    ("a,t\n1,2\n\n3,4\n", f": row 2, column a {NUMBER} '', a missing value. Correct the table."),
    ("a,t\n1,2\n3,4\n\n", f": row 3, column a {NUMBER} '', a missing value. Correct the table."),
    ("a;t\n1;2\n", " must have commas between its values; line 1 has semicolons. Save it with commas."),
    ("a\tt\n1\t2\n", " must have commas between its values; line 1 has tabs. Save it with commas."),
    ("a|t\n1|2\n", " must have commas between its values; line 1 has bars. Save it with commas."),
    ("a,t\n1,2\n1,2,3\n", ": row 2 must have 2 values, as line 1 has; it has 3."),
    ("a,t\n1,2\n5\n", ": row 2 must have 2 values, as line 1 has; it has 1."),
    ('a,n,t\n1,u,2\n2,"v,3\n3,w,4\n', ": the quotation mark that opens in row 2 must be closed; it is not. Close it."),
    ("a,t", " must have rows below the column names; it has none."),
    ("a,u\n1,2\n", ": column t must be one of {a, u}; it is not. Correct target or features in params.yaml."),
    ("n,t\nu,1\nv,2\n", " must have a column of numbers besides t; it has none."),
    ("split,t\n1,2\n2,3\n", ": column split has the name of the pipeline's own; rename it."),
    ("a,t\n1,2\n2,2\n", ": column t must vary, to be predicted; it is 2 in every row. Choose another target."),
    ("a,t\n1,2\né,3\n".encode("latin1"), " must be UTF-8 text; line 3 is not. Save it as UTF-8."),
    ("é,t\n1,2\n".encode("latin1"), " must be UTF-8 text; line 1 is not. Save it as UTF-8."),
    ("a,t\n1,2\n".encode("utf-16"), " must be UTF-8 text; line 1 is not. Save it as UTF-8."),
]  # fmt: skip

WRONG_CLASSES = [
    ("a,t\n1,r\n2,r\n3,s\n", ": each class must have two rows or more, one to train on and one held out; in column t, s has only row 3."),
    ("a,t\n1,r\n2, \n3,s\n", ": row 2, column t must be a label, text or a whole number; got a missing value. Correct the table."),
    ("a,t\n1,r\n2,r\n", ": column t must hold two classes or more; it is r in every row. Choose another target."),
]  # fmt: skip

WRONG_PARQUET = [
    ({"a": [1.0, np.nan], "t": [1, 2]}, f": row 2, column a {NUMBER} None, a missing value. Correct the table."),
    ({"a": [1.0, np.inf], "t": [1, 2]}, f": row 2, column a {NUMBER} inf. Correct the table."),
    ({"a": [1.0, 2.0], "t": [True, False]}, f": row 1, column t {NUMBER} True. Correct the table."),
    ({"a": ["x", "y"], "t": [1, 2]}, " must have a column of numbers besides t; it has none."),
]  # fmt: skip


@pytest.fixture
def own(small):
    """Return a function that lets a task read a table with the target t."""
    Path("data/external").mkdir(parents=True)

    def use(task, name, content=None, *changes):
        path = Path("data/external", name)
        if isinstance(content, dict):
            pd.DataFrame(content).to_parquet(path)
        elif content is not None:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        text = Path("params.yaml").read_text()
        head, section = text.split(f"  {task}:", 1)
        section = section.replace("source: simulate", f"source: {name}", 1)
        section = section.replace("target: y #", "target: t #", 1)
        section = section.replace("target: label #", "target: t #", 1)
        for old, new in changes:
            assert old in section
            section = section.replace(old, new, 1)
        Path("params.yaml").write_text(f"{head}  {task}:{section}")

    return use


def refusal():
    with pytest.raises(UserError) as error:
        call_main("generate_data")
    assert not list(Path("data").rglob("*.tmp"))
    return str(error.value)


@pytest.mark.parametrize(("content", "sentence"), WRONG)
def test_wrong_table_is_answered_by_one_sentence(own, content, sentence):
    own("regression", "own.csv", content)
    assert refusal() == f"data/external/own.csv{sentence}"


@pytest.mark.parametrize(("content", "sentence"), WRONG_CLASSES)
def test_wrong_labels_are_answered_by_one_sentence(own, content, sentence):
    own("classification", "own.csv", content)
    assert refusal() == f"data/external/own.csv{sentence}"


@pytest.mark.parametrize(("content", "sentence"), WRONG_PARQUET)
def test_wrong_parquet_is_answered_by_one_sentence(own, content, sentence):
    own("regression", "own.parquet", content)
    assert refusal() == f"data/external/own.parquet{sentence}"


def test_missing_table_is_answered_by_one_sentence(own):
    own("regression", "own.csv")
    assert refusal() == "data/external/own.csv is missing; put the table there."


def test_labels_with_a_fraction_are_refused(own):
    own("classification", "own.parquet", {"a": [1, 2], "t": [0.5, 1.5]})
    assert refusal() == (
        "data/external/own.parquet: column t must hold labels, which are text or whole numbers; it "
        "holds double. Convert it, or choose another target."
    )


@pytest.mark.parametrize("size", [0, 4, 100, -1, -30])
def test_truncated_parquet_is_refused(own, size):
    own("regression", "own.parquet", {"a": [1, 2], "t": [1, 2]})
    path = Path("data/external/own.parquet")
    path.write_bytes(path.read_bytes()[:size])
    assert refusal() == (
        f"{path} must be a whole Parquet file; it is damaged or cut off. Copy it anew."
    )


def test_damaged_page_of_a_parquet_is_refused(tmp_path):
    path = tmp_path / "own.parquet"
    pd.DataFrame({"a": np.random.default_rng(0).random(1000)}).to_parquet(path)
    content = bytearray(path.read_bytes())
    content[4:40] = b"\xff" * 36
    path.write_bytes(content)
    with pytest.raises(UserError, match="must be a whole Parquet file"):
        list(read_chunks(str(path), ["a"]))


def test_file_of_another_kind_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"own.xlsx must be a .csv or a .parquet file"):
        column_names(str(tmp_path / "own.xlsx"))


def test_listed_feature_that_holds_text_is_refused(own):
    own("regression", "own.csv", "a,n,t\n1,u,3\n2,v,4\n", ("features: all", "features: [a, n]"))
    assert refusal() == f"data/external/own.csv: row 1, column n {NUMBER} 'u'. Correct the table."


def test_all_features_are_all_columns_of_numbers_and_the_rest_is_named(own, capsys):
    own("regression", "own.csv", "a,day,t,n\n1,2026-01-01,2,u\n4,2026-01-02,5,v\n7,x,8,w\n")
    call_main("generate_data")
    assert (
        "3 rows of 1 features, 1 held out, without day, n (no numbers, or the index)"
        in capsys.readouterr().out
    )
    table = pd.read_parquet("data/raw/regression.parquet")
    assert list(table) == ["a", "t", "split"]
    assert sorted(table["a"]) == [1, 4, 7]


def test_listed_features_come_in_their_order(own):
    own("regression", "own.csv", "a,b,t\n1,2,3\n4,5,6\n", ("features: all", "features: [b, a]"))
    call_main("generate_data")
    assert list(pd.read_parquet("data/raw/regression.parquet")) == ["b", "a", "t", "split"]


def test_every_value_is_read_to_the_last_bit(own):
    values = np.random.default_rng(0).standard_normal(500) * 10.0 ** np.arange(-250, 250) / 1e250
    frame = pd.DataFrame({"a": values, "t": np.arange(500)})
    frame.map(repr).to_csv("data/external/own.csv", index=False)
    own("regression", "own.csv")
    call_main("generate_data")
    table = pd.read_parquet("data/raw/regression.parquet").sort_values("t")
    np.testing.assert_array_equal(table["a"], values)


def test_csv_and_parquet_give_the_same_data(own):
    columns = {"a": [1.5, 2, 3, 4], "t": ["u", "v", "u", "v"]}
    own("classification", "own.parquet", columns)
    call_main("generate_data")
    before = Path("data/raw/classification.parquet").read_bytes()
    pd.DataFrame(columns).to_csv("data/external/own.csv", index=False)
    own("classification", "own.csv", None, ("source: own.parquet", "source: own.csv"))
    call_main("generate_data")
    assert Path("data/raw/classification.parquet").read_bytes() == before


@pytest.mark.parametrize(
    ("texts", "labels"),
    [(["1", "2"], [1, 2]), (["01", "2"], ["01", "2"]), (["u", "1"], ["1", "u"])],
)
def test_labels_are_whole_numbers_if_all_are_written_as_such(own, texts, labels):
    own("classification", "own.csv", "a,t\n" + "".join(f"1,{text}\n" for text in texts * 2))
    call_main("generate_data")
    table = pd.read_parquet("data/raw/classification.parquet")
    assert sorted(table["t"].unique()) == labels


def test_categories_and_flags_of_a_parquet_are_text(own):
    for labels in (pd.Categorical(["u", "v"] * 2), [True, False] * 2):
        own("classification", "own.parquet", {"a": [1, 2, 3, 4], "t": labels})
        call_main("generate_data")
        table = pd.read_parquet("data/raw/classification.parquet")
        assert sorted(table["t"].unique()) in (["u", "v"], ["false", "true"])


@pytest.mark.parametrize(
    "column",
    [pa.array(["1.5", "2", "3"], pa.string_view()), pa.array([1.5, 2, 3]).dictionary_encode()],
)
def test_columns_of_any_of_arrows_kinds_are_read(own, column):
    own("regression", "own.parquet")
    pq.write_table(pa.table({"a": column, "t": [1, 2, 3]}), "data/external/own.parquet")
    call_main("generate_data")
    assert sorted(pd.read_parquet("data/raw/regression.parquet")["a"]) == [1.5, 2, 3]


def test_split_holds_out_the_fraction_of_each_class(own):
    rows = "".join(f"{number},{'u' if number < 10 else 'v'}\n" for number in range(40))
    own("classification", "own.csv", f"a,t\n{rows}", ("test_fraction: 0.2", "test_fraction: 0.3"))
    call_main("generate_data")
    table = pd.read_parquet("data/raw/classification.parquet")
    assert table.query("split == 'test'")["t"].value_counts().to_dict() == {"u": 3, "v": 9}
    assert sorted(table["a"]) == list(range(40))


def test_split_is_drawn_from_the_seed(own):
    own("regression", "own.csv", "a,t\n" + "".join(f"{n},{n % 7}\n" for n in range(50)))
    splits = []
    for seed in (0, 0, 1):
        text = Path("params.yaml").read_text()
        Path("params.yaml").write_text(
            re.sub(
                "  seed: [0-9] # study. Seed of every",
                f"  seed: {seed} # study. Seed of every",
                text,
            )
        )
        call_main("generate_data")
        table = pd.read_parquet("data/raw/regression.parquet")
        splits.append(table.query("split == 'test'")["a"].to_list())
    assert splits[0] == splits[1] != splits[2]
    assert len(splits[0]) == 10


@pytest.mark.parametrize(
    ("n_rows", "fraction", "n_test"), [(2, 0.01, 1), (2, 0.99, 1), (10, 0.25, 2), (10, 0.16, 2)]
)
def test_both_parts_have_a_row(n_rows, fraction, n_test):
    assert len(held_out(n_rows, fraction, stream(0, 0, 2))) == n_test


def test_chunks_give_the_whole_table_and_faults_their_row(tmp_path, monkeypatch):
    path = str(tmp_path / "own.csv")
    pd.DataFrame({"a": range(5000), "t": range(5000)}).to_csv(path, index=False)
    monkeypatch.setattr(tables, "BLOCK", 4096)
    assert len(list(read_chunks(path, ["a"]))) > 3
    table, _ = read_table(path, "t", "all")
    assert numbers(table.column("a").chunk(0), path, "a").tolist() == list(range(5000))
    with pytest.raises(UserError, match="row 105, column t"):
        numbers(pa.array(["1", "2", "x"]), path, "t", first_row=103)


def test_byte_order_mark_is_no_part_of_the_first_name(own):
    own("regression", "own.csv", "\ufeffa,t\n1,2\n3,4\n")
    call_main("generate_data")
    assert list(pd.read_parquet("data/raw/regression.parquet")) == ["a", "t", "split"]


def test_name_may_hold_what_separates_values_elsewhere(tmp_path):
    (tmp_path / "own.csv").write_text("a;b,c|d,t\n1,2,3\n")
    assert column_names(str(tmp_path / "own.csv")) == ["a;b", "c|d", "t"]


def test_decimals_of_a_parquet_are_numbers(own):
    own("regression", "own.parquet")
    column = pa.array([1, 2, 3]).cast(pa.decimal128(21, 1))
    pq.write_table(pa.table({"a": column, "t": [1, 2, 3]}), "data/external/own.parquet")
    call_main("generate_data")
    assert sorted(pd.read_parquet("data/raw/regression.parquet")["a"]) == [1, 2, 3]


def test_column_split_that_is_not_used_is_no_trouble(own):
    own("regression", "own.csv", "a,split,t\n1,u,3\n2,v,4\n", ("features: all", "features: [a]"))
    call_main("generate_data")
    assert sorted(pd.read_parquet("data/raw/regression.parquet")["a"]) == [1, 2]


def test_quotes_inside_a_value_are_no_trouble(own):
    own("regression", "own.csv", 'n,a,t\n5" pipe,1,2\n"a ""b"", c",3,4\n')
    call_main("generate_data")
    assert sorted(pd.read_parquet("data/raw/regression.parquet")["a"]) == [1, 3]


def test_value_longer_than_a_block_is_told(tmp_path):
    (tmp_path / "own.csv").write_text("a,t\n1,2\n" + "1" * (3 * tables.BLOCK) + ",3\n")
    with pytest.raises(UserError, match=f"must have rows of less than {tables.BLOCK} bytes"):
        list(read_chunks(str(tmp_path / "own.csv"), ["a", "t"]))


def test_index_that_pandas_writes_is_no_feature(own, capsys):
    frame = pd.DataFrame({"a": [1, 2, 3, 4], "t": [5, 6, 7, 8]}).iloc[[2, 0, 3, 1]]
    frame.to_parquet("data/external/own.parquet")
    own("regression", "own.parquet")
    call_main("generate_data")
    assert list(pd.read_parquet("data/raw/regression.parquet")) == ["a", "t", "split"]
    assert "without __index_level_0__ (no numbers, or the index)" in capsys.readouterr().out


def test_labels_beyond_64_bits_are_refused(own):
    labels = np.array([2**63 + 5, 1] * 2, dtype=np.uint64)
    own("classification", "own.parquet", {"a": [1, 2, 3, 4], "t": labels})
    assert refusal().endswith(
        "column t must hold labels of 64 bits; it holds larger numbers. Convert them to text."
    )


def test_missing_whole_number_is_no_label(own):
    labels = pd.array([1, 1, None, 2], dtype="Int64")
    own("classification", "own.parquet", {"a": [1, 2, 3, 4], "t": labels})
    assert "own.parquet: row 3, column t must be a label" in refusal()


def test_fault_in_a_later_chunk_of_numbers_has_its_row():
    with pytest.raises(UserError, match="own.parquet: row 8, column a must be a number"):
        numbers(pa.array([1.0, None]), "own.parquet", "a", first_row=7)


def test_rows_held_out_are_the_fraction_in_the_tables_order(own):
    rows = "".join(f"{n},{n % 7}\n" for n in range(50))
    own("regression", "own.csv", f"a,t\n{rows}", ("test_fraction: 0.2", "test_fraction: 0.5"))
    call_main("generate_data")
    held = pd.read_parquet("data/raw/regression.parquet").query("split == 'test'")["a"].to_list()
    assert len(held) == 25
    assert held == sorted(held)


def test_split_of_the_classes_is_drawn_from_the_seed(own):
    rows = "".join(f"{n},{'uv'[n % 2]}\n" for n in range(50))
    own("classification", "own.csv", f"a,t\n{rows}")
    data = read_parameters(GenerateData).generate_data.classification
    first, again, other = (
        own_classification("data/external/own.csv", seed, data)[1].tolist() for seed in (0, 0, 1)
    )
    assert first == again != other
    assert first == sorted(first)
