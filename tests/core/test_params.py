"""params.yaml: an invalid value is rejected in one sentence, and DVC reads the same values."""

# ruff: noqa: E501  (sentences in one piece)

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.serialize import parse_yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import ARTICLE, set_key, write_params
from stages.core.errors import UserError
from stages.core.optimizers import OPTIMIZERS
from stages.core.params import format_value, load_yaml, read_params, to_tuples
from stages.core.schema import STAGES

NAMES = ", ".join(OPTIMIZERS)
PLAIN = "Write it as a plain decimal number, such as 10, 0.1 or 1e-4, without quotes."
INTEGER = "Write it as a plain integer, such as 10, without quotes."
SEED = "an integer from 0 to 2**63 - 1"
SNAPSHOTS = "an ascending list of epochs that starts with 0; got"
WIDTHS = "a list of one or more widths, all integers >= 1; got"
FEATURES = "all, or a list of one or more column names; got"
TABLE = (
    "the path of a .csv, .tsv, .csv.gz, .tsv.gz or .parquet file, or of a folder of .parquet files"
)

# key, value as it is written in the file, the sentence behind "params.yaml: <key> must be "
INVALID = [
    ("device", "gpu", "one of {cpu, cuda, mps, auto}; got 'gpu'. Did you mean 'cpu'?"),
    ("device", "CUDA", "one of {cpu, cuda, mps, auto}; got 'CUDA'. Did you mean 'cuda'?"),
    ("device", "3", "one of {cpu, cuda, mps, auto}; got 3."),
    ("generate_data.seed", "-1", f"{SEED}; got -1."),
    ("generate_data.seed", "9223372036854775808", f"{SEED}; got 9223372036854775808."),
    ("generate_data.seed", "1.5", f"{SEED}; got 1.5."),
    ("generate_data.regression", "", "a section of keys and values; got null."),
    ("generate_data.regression.n_samples", "1", "an integer >= 2; got 1."),
    ("generate_data.regression.n_valid", "1", "an integer >= 2; got 1."),
    ("generate_data.regression.n_test", "1", "an integer >= 2; got 1."),
    ("generate_data.regression.weight", "1e31", "a number from -1e30 to 1e30; got 1e+31."),
    ("generate_data.regression.noise_std", "-0.3", "a number from 0 to 1e30; got -0.3."),
    ("generate_data.classification.n_samples_per_class", "0", "an integer >= 1; got 0."),
    ("generate_data.classification.n_valid_per_class", "0", "an integer >= 1; got 0."),
    ("generate_data.classification.n_test_per_class", "0", "an integer >= 1; got 0."),
    ("generate_data.classification.std", "0", "a number > 0 and <= 1e30; got 0."),
    ("generate_data.classification.centers", "[[0, 1]]", "a list of two or more centers, each a list of two numbers; got [[0, 1]]."),
    ("generate_data.classification.centers", "[[0, 1], [2]]", "a list of two or more centers, each a list of two numbers; got [[0, 1], [2]]."),
    ("generate_data.classification.centers", "[[1, 2], [1, 2]]", "a list of distinct centers; got [[1, 2], [1, 2]]."),
    ("convert_to_tensors.regression.table", "data.txt", f"{TABLE}; got 'data.txt'."),
    ("convert_to_tensors.regression.table", ".csv", f"{TABLE}; got '.csv'."),
    ("convert_to_tensors.regression.table", "data.csv.bz2", f"{TABLE}; got 'data.csv.bz2'."),
    ("convert_to_tensors.regression.table", "data/sales.v2", f"{TABLE}; got 'data/sales.v2'."),
    ("convert_to_tensors.regression.table", "..", f"{TABLE}; got '..'."),
    ("convert_to_tensors.regression.target", "''", "a column name; got ''."),
    ("convert_to_tensors.regression.target", "2020", "a column name; got 2020. Put the name in quotation marks: '2020'."),
    ("convert_to_tensors.regression.missing", "skip", "one of {refuse, drop, impute}; got 'skip'."),
    ("convert_to_tensors.regression.split", "first", "random, last or group:<column>; got 'first'."),
    ("convert_to_tensors.regression.split", "'group:'", "random, last or group:<column>; got 'group:'."),
    ("convert_to_tensors.regression.valid_fraction", "0", "a number > 0 and < 1; got 0."),
    ("convert_to_tensors.regression.test_fraction", "0.8", "a number < 1 - valid_fraction, which is 0.8; got 0.8."),
    ("convert_to_tensors.regression.features", "[]", "all, or a list of one or more column names; got []."),
    ("convert_to_tensors.regression.features", "[a, 1]", f"{FEATURES} ['a', 1]. Put the name in quotation marks: '1'."),
    ("convert_to_tensors.regression.features", "a", "all, or a list of one or more column names; got 'a'."),
    ("convert_to_tensors.regression.features", "[a, a]", "all, or a list of distinct columns without the target 'y'; got ['a', 'a']."),
    ("convert_to_tensors.regression.features", "[a, y]", "all, or a list of distinct columns without the target 'y'; got ['a', 'y']."),
    ("convert_to_tensors.regression.test_fraction", "0", "a number > 0 and < 1; got 0."),
    ("convert_to_tensors.regression.test_fraction", "1", "a number > 0 and < 1; got 1."),
    ("convert_to_tensors.classification.standardize", "no", "true or false; got 'no'."),
    ("timeout", "0", "an integer from 1 to 1000000; got 0."),
    ("timeout", "10000000000", "an integer from 1 to 1000000; got 10000000000."),
    ("train_regression", "5", "a section of keys and values; got 5."),
    ("train_regression.initial_weight", "", "a number from -1e30 to 1e30; got null."),
    ("train_regression.bias", "0", "true or false; got 0."),
    ("train_regression.epochs", "0", "an integer >= 1; got 0."),
    ("train_regression.epochs", "'10'", f"an integer >= 1; got '10'. {INTEGER}"),
    ("train_regression.loss_reduction", "mena", "one of {sum, mean}; got 'mena'. Did you mean 'mean'?"),
    ("train_regression.dtype", "float16", "one of {float64, float32}; got 'float16'. Did you mean 'float64'?"),
    ("train_classifier.hidden", "10", f"{WIDTHS} 10."),
    ("train_classifier.hidden", "[]", f"{WIDTHS} []."),
    ("train_classifier.hidden", "[10.0]", f"{WIDTHS} [10.0]."),
    ("train_classifier.hidden", "[10, 0]", f"{WIDTHS} [10, 0]."),
    ("train_classifier.class_weight", "balance", "one of {none, balanced}; got 'balance'. Did you mean 'balanced'?"),
    ("train_classifier.epochs", "0", "an integer >= 1; got 0."),
    ("train_classifier.loss_on", "logit", "one of {probabilities, logits}; got 'logit'. Did you mean 'logits'?"),
    ("train_classifier.snapshots", "[1, 2]", f"{SNAPSHOTS} [1, 2]."),
    ("train_classifier.snapshots", "[0, 2, 2]", f"{SNAPSHOTS} [0, 2, 2]."),
    ("train_classifier.snapshots", "[0, a]", "a list of one or more epochs, all integers; got [0, 'a']."),
    ("train_classifier.snapshots", "[]", "a list of one or more epochs, all integers; got []."),
    ("train_classifier.optimizer", "5", "a section of keys and values; got 5."),
    ("train_classifier.optimizer.name", "RMSprp", f"one of {{{NAMES}}}; got 'RMSprp'. Did you mean 'RMSprop'?"),
    ("train_classifier.optimizer.name", "LBFGS", f"one of {{{NAMES}}}; got 'LBFGS'."),
    ("train_classifier.optimizer.lr", "fast", "a number from 0 to 1e30; got 'fast'."),
    ("train_classifier.optimizer.lr", "'1e-3'", f"a number from 0 to 1e30; got '1e-3'. {PLAIN}"),
    ("train_classifier.optimizer.lr", "-1", "a number from 0 to 1e30; got -1."),
    ("train_classifier.optimizer.lr", "true", "a number from 0 to 1e30; got true."),
    ("train_classifier.optimizer.lr", ".inf", "a number from 0 to 1e30; got Infinity."),
    ("train_classifier.optimizer.lr", ".nan", "a number from 0 to 1e30; got NaN."),
]  # fmt: skip

# The optimizer of the regression, the sentence behind "params.yaml: train_regression.optimizer."
INVALID_OPTIMIZERS = [
    ({"lr": 0.1}, f"name is missing; it must be one of {{{NAMES}}}."),
    ({"name": "SGD"}, "lr is missing; it must be a number from 0 to 1e30."),
    ({"name": "SGD", "lr": 0.1, "nesterov": True}, "nesterov must be false, or come with momentum > 0 and without dampening; got true."),
    ({"name": "Adam", "lr": 0.1, "betas": [0.9, 1.5]}, "betas must be a list of two numbers >= 0 and < 1; got [0.9, 1.5]."),
    ({"name": "Adam", "lr": 0.1, "betas": [0.9]}, "betas must be a list of two numbers >= 0 and < 1; got [0.9]."),
    ({"name": "SGD", "lr": 0.1, "momentun": 0.9}, "momentun is not a parameter; train_regression.optimizer has name, lr, weight_decay, momentum, dampening, nesterov. Did you mean 'momentum'?"),
]  # fmt: skip

# key, what it is called instead, the sentence behind "params.yaml: "
RENAMED = [
    ("device", "devise", "device is missing; it must be one of {cpu, cuda, mps, auto}."),
    ("train_regression", "x", "train_regression is missing; it must be a section of keys and values."),
    ("train_classifier.hidden", "hiddn", "train_classifier.hiddn is not a parameter; train_classifier has seed, hidden, epochs, batch_size, chunk_rows, loss_on, class_weight, dtype, snapshots, optimizer. Did you mean 'hidden'?"),
    ("generate_data.regression", "regresson", "generate_data.regresson is not a parameter; generate_data has seed, regression, classification. Did you mean 'regression'?"),
    ("generate_data.regression.noise_std", "noise", "generate_data.regression.noise is not a parameter; generate_data.regression has n_samples, n_valid, n_test, weight, noise_std. Did you mean 'noise_std'?"),
    ("convert_to_tensors.regression.table", "source", "convert_to_tensors.regression.source is not a parameter; convert_to_tensors.regression has table, target, features, missing, split, valid_fraction, test_fraction, seed, standardize."),
]  # fmt: skip

BROKEN = [
    (b"", "must contain sections with keys; got null."),
    (b"- 1\n", "must contain sections with keys; got [1]."),
    (b"a: [1\n", "must be valid YAML; line 2: did not find expected ',' or ']'."),
    (b"a: 1\n---\nb: 2\n", "must be valid YAML; line 2: expected a single document in the stream, but found another document."),
    (b"a: b: c\n", "must be valid YAML; line 1: mapping values are not allowed in this context."),
    (b"a: 1\na: 2\n", 'must be valid YAML; line 2: found duplicate key "a" with value "2" (original value: "1").'),
    (b"a: !!python/object:os.system 1\n", "must be valid YAML; line 1: could not determine a constructor for the tag 'tag:yaml.org,2002:python/object:os.system'."),
    (b"\xff\xfe\n", "must be UTF-8 text; byte 0 is not."),
    (b"a: \x00\n", "must be valid YAML; unacceptable character #x0000: control characters are not allowed."),
]  # fmt: skip


def stage_of(key: str) -> str:
    """Return a stage that reads `key`."""
    section = key.partition(".")[0]
    return section if section in STAGES else "train_classifier"


def error_of(stage: str) -> str:
    with pytest.raises(UserError) as error:
        read_params(STAGES[stage])
    return str(error.value)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("key", "text", "sentence"), INVALID)
def test_invalid_value_is_rejected_in_one_sentence(key: str, text: str, sentence: str) -> None:
    content = deepcopy(ARTICLE)
    set_key(content, key, "HERE")
    Path("params.yaml").write_text(yaml.safe_dump(content).replace("HERE", text))
    assert error_of(stage_of(key)) == f"params.yaml: {key} must be {sentence}"


@pytest.mark.parametrize(("optimizer", "sentence"), INVALID_OPTIMIZERS)
def test_invalid_optimizer_is_rejected_in_one_sentence(
    optimizer: dict[str, Any], sentence: str
) -> None:
    content = deepcopy(ARTICLE)
    content["train_regression"]["optimizer"] = optimizer
    write_params(content)
    assert error_of("train_regression") == f"params.yaml: train_regression.optimizer.{sentence}"


@pytest.mark.parametrize(("key", "new", "sentence"), RENAMED)
def test_missing_or_unknown_key_is_rejected_in_one_sentence(
    key: str, new: str, sentence: str
) -> None:
    content = deepcopy(ARTICLE)
    *parents, last = key.split(".")
    section = content
    for parent in parents:
        section = section[parent]
    section[new] = section.pop(last)
    write_params(content)
    assert error_of(stage_of(key)) == f"params.yaml: {sentence}"


@pytest.mark.parametrize(("content", "sentence"), BROKEN)
def test_broken_file_is_rejected_in_one_sentence(content: bytes, sentence: str) -> None:
    Path("params.yaml").write_bytes(content)
    assert error_of("train_regression") == f"params.yaml {sentence}"


def test_date_that_does_not_exist_is_rejected_in_one_sentence() -> None:
    Path("params.yaml").write_text("a: 2001-99-99\n")
    assert error_of("evaluate").startswith("params.yaml must be valid YAML; ")


def test_missing_file_is_rejected_in_one_sentence() -> None:
    assert (
        error_of("evaluate") == "params.yaml is missing; run this from the project's root folder."
    )


@pytest.mark.parametrize("stage", STAGES)
def test_stage_reads_the_sections_of_its_model(stage: str) -> None:
    write_params(ARTICLE)
    content = to_tuples(ARTICLE)
    expected = {key: content[key] for key in STAGES[stage].model_fields}
    assert read_params(STAGES[stage]).model_dump(exclude_unset=True) == expected


@pytest.mark.parametrize(
    "path", ["a.csv", "b.c/a.tsv", "a.csv.gz", "a.tsv.gz", "b.parquet/", "a/b"]
)
def test_table_is_a_file_or_a_folder(path: str) -> None:
    content = deepcopy(ARTICLE)
    set_key(content, "convert_to_tensors.regression.table", path)
    write_params(content)
    params = read_params(STAGES["convert_to_tensors"]).model_dump()
    assert params["convert_to_tensors"]["regression"]["table"] == path


def test_stage_checks_only_its_own_sections() -> None:
    content = deepcopy(ARTICLE)
    set_key(content, "train_classifier.hidden", "many")
    set_key(content, "generate_data.regression.n_samples", "some")
    write_params(content)
    assert read_params(STAGES["train_regression"]).device == "cpu"


def test_last_snapshot_may_be_the_last_epoch() -> None:
    content = deepcopy(ARTICLE)
    set_key(content, "train_classifier.snapshots", [0, 51])
    write_params(content)
    params = read_params(STAGES["train_classifier"]).model_dump()
    assert params["train_classifier"]["snapshots"] == (0, 51)


def test_params_cannot_be_changed() -> None:
    write_params(ARTICLE)
    with pytest.raises(ValueError, match="frozen"):
        read_params(STAGES["train_regression"]).device = "cuda"


SPELLINGS = [
    *("1e-4", "1e-05", "1E5", "1.0e5", "12e03", "1e", "-.5e3", ".5", "5.", "+1", "-0", ".", "+"),
    *("010", "0o10", "0x1F", "0b11", "1_000", "_1", "1:30", "190:20:30", "2001-01-01", "1,5"),
    *("yes", "no", "on", "off", "true", "TRUE", "null", "~", ".inf", ".nan", "inf"),
    *("'1'", '"1e-4"'),
]


@pytest.mark.parametrize("text", SPELLINGS)
def test_every_spelling_of_a_number_means_what_it_means_to_dvc(text: str) -> None:
    Path("params.yaml").write_text(f"a: {text}\n")
    expected = parse_yaml(f"a: {text}\n", "params.yaml")
    assert repr(load_yaml()) == repr(expected)


@pytest.mark.parametrize("text", ["1e-4", "1e-05", "1E5", ".5", "5.", "-0.25", "7"])
def test_plain_number_is_read(text: str) -> None:
    Path("params.yaml").write_text(f"a: {text}\n")
    assert load_yaml() == {"a": float(text)}


@given(st.floats(0, 1e30))
@settings(max_examples=30)
def test_any_lr_survives_the_trip_through_yaml(lr: float) -> None:
    Path("params.yaml").write_text(f"a: {lr!r}\n")
    assert load_yaml() == {"a": lr}


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
keys = st.sampled_from(
    ["seed", "hidden", "epochs", "loss_on", "dtype", "snapshots", "optimizer", "name", "lr"]
)


@given(keys, values | st.lists(values, max_size=3) | st.dictionaries(keys, values, max_size=3))
@settings(max_examples=60)
def test_value_of_any_kind_is_read_or_rejected_in_one_sentence(key: str, value: object) -> None:
    content = deepcopy(ARTICLE)
    section = content["train_classifier"]
    (section if key in section else section["optimizer"])[key] = value
    Path("params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    try:
        sentence = f"params.yaml: {read_params(STAGES['train_classifier']).device}."
    except UserError as error:
        sentence = str(error)
    assert re.match(r"params\.yaml(:| must) .+[.?]$", sentence, re.DOTALL)


@pytest.mark.parametrize("key", [1, True, None, 1.5])
def test_key_that_is_not_text_is_rejected(article, key) -> None:
    article({"generate_data.regression": ARTICLE["generate_data"]["regression"] | {key: 2}})
    with pytest.raises(UserError, match="is not a parameter"):
        read_params(STAGES["generate_data"])


def test_key_with_the_name_of_an_optimizer_is_rejected(article) -> None:
    article({"train_regression.optimizer": {"name": "SGD", "lr": 0.1, "Adam": 4}})
    assert "train_regression.optimizer.Adam is not a parameter" in error_of("train_regression")


@pytest.mark.parametrize("content", ["a: !!bool x", "a: " + "[" * 3000, "a: &a [*a]"])
def test_file_that_yaml_cannot_hold_is_rejected(article, content) -> None:
    Path("params.yaml").write_text(content)
    assert error_of("evaluate").startswith("params.yaml must be valid YAML; ")


def test_text_in_an_error_is_as_written() -> None:
    assert format_value("é漢") == "'é漢'"


def test_text_without_a_digit_gets_no_advice_on_integers(article) -> None:
    article({"train_classifier.epochs": "many"})
    assert error_of("train_classifier").endswith("got 'many'.")
