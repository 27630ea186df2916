import re
from pathlib import Path

import pytest
import yaml
from dvc.utils.serialize import parse_yaml
from hypothesis import given
from hypothesis import strategies as st

from conftest import PROJECT, run_stage
from stages.errors import UserError
from stages.optimizers import OPTIMIZERS
from stages.parameters import (
    ConvertToTensors,
    Evaluate,
    GenerateData,
    TrainClassifier,
    TrainRegression,
    read_parameters,
)
from stages.yaml_loader import Loader

NAMES = ", ".join(OPTIMIZERS)
ALL = (GenerateData, ConvertToTensors, TrainRegression, TrainClassifier, Evaluate)
PLAIN = "Write it as a plain decimal number, such as 10, 0.1 or 1e-4, without quotes."

# record, text of params.yaml, what to put in its place, the sentence behind "params.yaml: "
WRONG = [
    (TrainClassifier, "device: cpu", "device: gpu", "device must be one of {cpu, cuda, mps, auto}; got 'gpu'. Did you mean 'cpu'?"),
    (TrainClassifier, "device: cpu", "device: CUDA", "device must be one of {cpu, cuda, mps, auto}; got 'CUDA'. Did you mean 'cuda'?"),
    (TrainClassifier, "device: cpu", "device: 3", "device must be one of {cpu, cuda, mps, auto}; got 3."),
    (TrainRegression, "device: cpu", "devise: cpu", "device is missing; it must be one of {cpu, cuda, mps, auto}."),
    (TrainClassifier, "name: RMSprop", "name: RMSprp", f"train_classifier.optimizer.name must be one of {{{NAMES}}}; got 'RMSprp'. Did you mean 'RMSprop'?"),
    (TrainClassifier, "name: RMSprop", "name: LBFGS", f"train_classifier.optimizer.name must be one of {{{NAMES}}}; got 'LBFGS'."),
    (TrainClassifier, "name: RMSprop", "eps: 0.1", f"train_classifier.optimizer.name is missing; it must be one of {{{NAMES}}}."),
    (TrainClassifier, "lr: 1.0e-3", "lr: fast", "train_classifier.optimizer.lr must be a number from 0 to 1e30; got 'fast'."),
    (TrainClassifier, "lr: 1.0e-3", "lr: '1e-3'", f"train_classifier.optimizer.lr must be a number from 0 to 1e30; got '1e-3'. {PLAIN}"),
    (TrainClassifier, "lr: 1.0e-3", "lr: -1", "train_classifier.optimizer.lr must be a number from 0 to 1e30; got -1."),
    (TrainClassifier, "lr: 1.0e-3", "lr: true", "train_classifier.optimizer.lr must be a number from 0 to 1e30; got true."),
    (TrainClassifier, "lr: 1.0e-3", "lr: .inf", "train_classifier.optimizer.lr must be a number from 0 to 1e30; got '.inf'."),
    (TrainClassifier, "lr: 1.0e-3", "lr: 1e999", "train_classifier.optimizer.lr must be a number from 0 to 1e30; got Infinity."),
    (TrainClassifier, "lr: 1.0e-3", "alpha: 0.9", "train_classifier.optimizer.lr is missing; it must be a number from 0 to 1e30."),
    (TrainClassifier, "lr: 1.0e-3", "lr: 0.1\n    momentun: 0.9", "train_classifier.optimizer.momentun is no parameter; train_classifier.optimizer takes lr, name, weight_decay, maximize, alpha, eps, momentum, centered. Did you mean 'momentum'?"),
    (TrainRegression, "name: SGD", "name: SGD\n    nesterov: true", "train_regression.optimizer.nesterov must be false, or come with a momentum above 0 and no dampening; got true."),
    (TrainRegression, "name: SGD", "name: Adam\n    betas: [0.9, 1.5]", "train_regression.optimizer.betas must be a list of two numbers, each at least 0 and below 1; got [0.9, 1.5]."),
    (TrainRegression, "loss_reduction: sum", "loss_reduction: mena", "train_regression.loss_reduction must be one of {sum, mean}; got 'mena'. Did you mean 'mean'?"),
    (TrainRegression, "initial_weight: 0.1", "initial_weight:", "train_regression.initial_weight must be a number from -1e30 to 1e30; got null."),
    (TrainRegression, "epochs: 100", "epochs: 0", "train_regression.epochs must be a whole number of at least 1; got 0."),
    (TrainRegression, "epochs: 100", "epochs: 1_000", f"train_regression.epochs must be a whole number of at least 1; got '1_000'. {PLAIN}"),
    (TrainRegression, "dtype: float64", "dtype: float16", "train_regression.dtype must be one of {float64, float32}; got 'float16'. Did you mean 'float64'?"),
    (TrainRegression, "train_regression:", "train_regression: 5\nx:", "train_regression must be a section of keys and values; got 5."),
    (TrainRegression, "train_regression:", "x:", "train_regression is missing; it must be a section of keys and values."),
    (TrainClassifier, "hidden: 10", "hiden: 10", "train_classifier.hiden is no parameter; train_classifier takes seed, hidden, epochs, loss_on, dtype, snapshots, optimizer. Did you mean 'hidden'?"),
    (TrainClassifier, "hidden: 10", "hidden: 10.0", "train_classifier.hidden must be a whole number of at least 1; got 10.0."),
    (TrainClassifier, "loss_on: probabilities", "loss_on: logit", "train_classifier.loss_on must be one of {probabilities, logits}; got 'logit'. Did you mean 'logits'?"),
    (TrainClassifier, "[0, 1, 2, 3, 4, 10, 50]", "[0, 52]", "train_classifier.snapshots must be an ascending list of epochs from 0 to at most epochs, which is 51; got [0, 52]."),
    (TrainClassifier, "[0, 1, 2, 3, 4, 10, 50]", "[1, 2]", "train_classifier.snapshots must be an ascending list of epochs from 0 to at most epochs, which is 51; got [1, 2]."),
    (TrainClassifier, "[0, 1, 2, 3, 4, 10, 50]", "[0, 2, 2]", "train_classifier.snapshots must be an ascending list of epochs from 0 to at most epochs, which is 51; got [0, 2, 2]."),
    (TrainClassifier, "[0, 1, 2, 3, 4, 10, 50]", "[0, a]", "train_classifier.snapshots must be a list of one or more epochs, which are whole numbers; got [0, 'a']."),
    (GenerateData, "n_samples: 1000", "n_samples: 1", "generate_data.regression.n_samples must be a whole number of at least 2; got 1."),
    (GenerateData, "noise_std: 0.3", "noise_std: -0.3", "generate_data.regression.noise_std must be a number from 0 to 1e30; got -0.3."),
    (GenerateData, "std: 0.25", "std: 0", "generate_data.classification.std must be a number above 0, at most 1e30; got 0."),
    (GenerateData, "  seed: 0", "  seed: -1", "generate_data.seed must be a whole number from 0 to 9223372036854775807; got -1."),
    (GenerateData, "  regression:", "  regresion:", "generate_data.regresion is no parameter; generate_data takes seed, regression, classification. Did you mean 'regression'?"),
    (GenerateData, "[[0.2, 0.2], [0.8, 0.8]]", "[[0.2, 0.2]]", "generate_data.classification.centers must be a list of two or more centers, each a list of two numbers from -1e30 to 1e30; got [[0.2, 0.2]]."),
    (GenerateData, "n_test: 1000", "n_test: 1", "generate_data.regression.n_test must be a whole number of at least 2; got 1."),
    (GenerateData, "n_samples_per_class: 1000", "n_samples_per_class: 0", "generate_data.classification.n_samples_per_class must be a whole number of at least 1; got 0."),
    (GenerateData, "n_test_per_class: 1000", "n_test_per_class: 0", "generate_data.classification.n_test_per_class must be a whole number of at least 1; got 0."),
    (GenerateData, "  seed: 0", "  seed: 9223372036854775808", "generate_data.seed must be a whole number from 0 to 9223372036854775807; got 9223372036854775808."),
    (GenerateData, "noise_std:", "noise:", "generate_data.regression.noise is no parameter; generate_data.regression takes weight, noise_std, source, target, features, test_fraction, n_samples, n_test. Did you mean 'noise_std'?"),
    (GenerateData, "    std:", "    sdt:", "generate_data.classification.sdt is no parameter; generate_data.classification takes centers, std, source, target, features, test_fraction, n_samples_per_class, n_test_per_class. Did you mean 'std'?"),
    (GenerateData, "weight: 2.0", "weight: 1e31", "generate_data.regression.weight must be a number from -1e30 to 1e30; got 1e+31."),
    (TrainClassifier, "hidden: 10", "hidden: 0", "train_classifier.hidden must be a whole number of at least 1; got 0."),
    (TrainClassifier, "epochs: 51", "epochs: 0", "train_classifier.epochs must be a whole number of at least 1; got 0."),
    (TrainClassifier, "[0, 1, 2, 3, 4, 10, 50]", "[]", "train_classifier.snapshots must be a list of one or more epochs, which are whole numbers; got []."),
    (GenerateData, "[[0.2, 0.2], [0.8, 0.8]]", "[[1, 2], [1, 2]]", "generate_data.classification.centers must be a list of centers that all differ; got [[1, 2], [1, 2]]."),
    (GenerateData, "source: simulate", "source: simulated", "generate_data.regression.source must be simulate, or the name of a .csv or .parquet file in data/external/; got 'simulated'."),
    (GenerateData, "source: simulate", "source: data/external/a.csv", "generate_data.regression.source must be simulate, or the name of a .csv or .parquet file in data/external/; got 'data/external/a.csv'."),
    (GenerateData, "target: y", "target: ''", "generate_data.regression.target must be the name of a column; got ''."),
    (GenerateData, "features: all", "features: []", "generate_data.regression.features must be all, or a list of one or more names of columns; got []."),
    (GenerateData, "features: all", "features: [a, 1]", "generate_data.regression.features must be all, or a list of one or more names of columns; got ['a', 1]."),
    (GenerateData, "features: all", "features: [a, a]", "generate_data.regression.features must be all, or a list of columns that differ, without target, 'y'; got ['a', 'a']."),
    (GenerateData, "features: all", "features: [a, y]", "generate_data.regression.features must be all, or a list of columns that differ, without target, 'y'; got ['a', 'y']."),
    (GenerateData, "test_fraction: 0.2", "test_fraction: 0", "generate_data.regression.test_fraction must be a number between 0 and 1; got 0."),
    (GenerateData, "test_fraction: 0.2", "test_fraction: 1", "generate_data.regression.test_fraction must be a number between 0 and 1; got 1."),
    (ConvertToTensors, "classification: false", "classification: no", "convert_to_tensors.standardize.classification must be true or false; got 'no'."),
    (TrainRegression, "bias: false", "bias: 0", "train_regression.bias must be true or false; got 0."),
    (Evaluate, "noise_std: 0.3", "noise_std: loud", "generate_data.regression.noise_std must be a number from 0 to 1e30; got 'loud'."),
]  # fmt: skip

BROKEN = [
    (b"", "params.yaml must hold sections of keys; got null."),
    (b"- 1\n", "params.yaml must hold sections of keys; got [1]."),
    (b"a: [1\n", "params.yaml must be YAML; line 2 is not: expected ',' or ']', but got '<stream end>'."),
    (b"a: 1\na: 2\n", "params.yaml must be YAML; line 1 is not: a key of the section that starts here stands twice."),
    (b"a: !!python/object:os.system 1\n", "params.yaml must be YAML; line 1 is not: could not determine a constructor for the tag 'tag:yaml.org,2002:python/object:os.system'."),
    (b"\xff\xfe\n", "params.yaml must be UTF-8 text; byte 0 is not."),
    (b"a: \x00\n", "params.yaml must be YAML; it has an unacceptable character #x0000: special characters are not allowed."),
]  # fmt: skip


def message(record):
    with pytest.raises(UserError) as error:
        read_parameters(record)
    return str(error.value)


@pytest.mark.parametrize(("record", "old", "new", "sentence"), WRONG)
def test_wrong_value_is_answered_by_one_sentence(edit, record, old, new, sentence):
    edit((old, new))
    assert message(record) == f"params.yaml: {sentence}"


@pytest.mark.parametrize(("content", "sentence"), BROKEN)
def test_broken_file_is_answered_by_one_sentence(edit, content, sentence):
    Path("params.yaml").write_bytes(content)
    assert message(TrainRegression) == sentence


def test_missing_file_is_answered_by_one_sentence(edit):
    Path("params.yaml").unlink()
    assert message(Evaluate) == "params.yaml is missing; run this from the top of the project."


@pytest.mark.parametrize("record", ALL)
def test_committed_parameters_are_right(edit, record):
    assert read_parameters(record).model_dump()


def test_defaults_are_the_articles(edit):
    data = read_parameters(GenerateData).generate_data
    own = {"source": "simulate", "target": "y", "features": "all", "test_fraction": 0.2}
    assert data.regression.model_dump() == own | {
        "n_samples": 1000, "n_test": 1000, "weight": 2.0, "noise_std": 0.3
    }  # fmt: skip
    assert data.classification.centers == ((0.2, 0.2), (0.8, 0.8))
    regression = read_parameters(TrainRegression).train_regression
    assert (regression.initial_weight, regression.epochs) == (0.1, 100)
    assert regression.loss_reduction == "sum"
    assert (regression.optimizer.name, regression.optimizer.arguments) == ("SGD", {"lr": 1e-4})
    classifier = read_parameters(TrainClassifier).train_classifier
    assert (classifier.hidden, classifier.epochs, classifier.loss_on) == (10, 51, "probabilities")
    assert (classifier.optimizer.name, classifier.optimizer.arguments) == ("RMSprop", {"lr": 1e-3})


def test_stage_checks_its_own_section_alone(edit):
    edit(("hidden: 10", "hidden: many"), ("n_samples: 1000", "n_samples: some"))
    assert read_parameters(TrainRegression).train_regression.epochs == 100


def test_records_cannot_be_changed(edit):
    with pytest.raises(ValueError, match="frozen"):
        read_parameters(TrainRegression).train_regression.epochs = 3


def test_every_key_has_a_comment_that_says_study_or_fixed():
    lines = (PROJECT / "params.yaml").read_text().splitlines()
    values = [line for line in lines if re.match(r"\s*\w+: [^#\s]", line)]
    assert len(values) >= 24
    for line in values:
        assert re.search(r" # (study|fixed)\. .", line), line


NUMBERS = [
    "1e-4",
    "1e-05",
    "1E5",
    "1e5",
    "1.0e5",
    ".5",
    "5.",
    "010",
    "0o10",
    "0x1F",
    "0b11",
    "1_000",
    "1_0.5",
    "yes",
    "no",
    "on",
    "off",
    "y",
    "null",
    "~",
    "Null",
    "true",
    "True",
    "TRUE",
    "false",
    ".inf",
    "-.Inf",
    ".nan",
    "+1",
    "-1",
    "+.5",
    "-.5",
    "-.5e3",
    "1:30",
    "190:20:30",
    "1e+5",
    "1.e3",
    "08",
    "-0",
    "1e",
    "12e03",
    ".",
    "+",
    "-2E+05",
    ".e5",
    "-010",
    "0_1",
    "_1",
    "5_",
    "+1e-3",
    "'1'",
    '"1e-4"',
    "'0.5'",
    "2001-01-01",
    "inf",
    "nan",
    "1,5",
]


def agrees_or_refuses(text):
    ours = yaml.load(f"a: {text}\n", Loader)["a"]
    if isinstance(ours, str):
        return True
    theirs = parse_yaml(f"a: {text}\n", "params.yaml")["a"]
    return type(ours) is type(theirs) and ours == theirs


@pytest.mark.parametrize("text", NUMBERS)
def test_every_spelling_of_a_number_is_read_as_dvc_does_or_is_text(text):
    assert agrees_or_refuses(text)


@pytest.mark.parametrize("text", ["1e-4", "1e-05", "1E5", ".5", "5.", "010", "-0.25", "7"])
def test_plain_numbers_are_read(text):
    assert yaml.load(text, Loader) == float(text)


@pytest.mark.parametrize(
    ("texts", "value"),
    [("null Null NULL ~", None), ("true True TRUE", True), ("false False FALSE", False)],
)
def test_plain_words_are_read(texts, value):
    assert [yaml.load(text, Loader) for text in texts.split()] == [value] * len(texts.split())
    assert yaml.load("a:", Loader) == {"a": None}


@given(st.text("0123456789.eE+-_xob", min_size=1, max_size=8).filter(lambda text: text != "-"))
def test_any_text_of_digits_is_read_as_dvc_does_or_is_text(text):
    assert agrees_or_refuses(text)


@given(st.floats(0, 1e30))
def test_any_lr_survives_the_trip_through_yaml(tmp_path_factory, lr):
    text = (PROJECT / "params.yaml").read_text().replace("lr: 1.0e-4", f"lr: {lr!r}")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("lr"))
        Path("params.yaml").write_text(text)
        assert read_parameters(TrainRegression).train_regression.optimizer.lr == lr


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
leaves = st.sampled_from(
    ["seed", "hidden", "epochs", "loss_on", "dtype", "snapshots", "optimizer", "name", "lr"]
)


@given(leaves, values | st.lists(values, max_size=3) | st.dictionaries(leaves, values, max_size=3))
def test_no_value_of_any_kind_makes_a_traceback(tmp_path_factory, key, value):
    content = yaml.safe_load((PROJECT / "params.yaml").read_text())
    section = content["train_classifier"]
    (section if key in section else section["optimizer"])[key] = value
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("any"))
        Path("params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        try:
            sentence = f"params.yaml: {read_parameters(TrainClassifier).device}."
        except UserError as error:
            sentence = str(error)
    assert re.match(r"params\.yaml(:| must) .+[.?]$", sentence, re.DOTALL)


@pytest.mark.parametrize(
    "stage", ["generate_data", "train_regression", "train_classifier", "evaluate"]
)
def test_wrong_value_ends_the_stage_at_once_without_traceback(edit, tmp_path, stage):
    (tmp_path / "stages").symlink_to(PROJECT / "stages")
    edit(
        ("seed: 0", "seed: none"),
        ("std: 0.3", "std: none"),
        ("initial_weight: 0.1", "initial_weight: none"),
    )
    ended = run_stage(stage, tmp_path, PYTHONPROFILEIMPORTTIME="1")
    assert ended.returncode == 1
    said = [line for line in ended.stderr.splitlines() if not line.startswith("import time:")]
    assert len(said) == 1
    assert said[0].startswith("params.yaml: ")
    assert not re.search(r"\| +(torch|pyarrow|matplotlib|pandas|numpy)$", ended.stderr, re.M)
    assert ended.stdout == ""
