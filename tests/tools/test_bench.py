"""The benchmark: what it computes, what it writes, and each of its parts on a few rows."""

import json
import math
import re
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from conftest import ARTICLE, PROJECT, run, write_params
from stages.core.errors import UserError
from stages.core.schema import STAGES
from tools.bench import __main__ as bench
from tools.bench import (
    copies,
    environment,
    growth,
    loops,
    measuring,
    page,
    pipeline,
    ranks,
    training,
)
from tools.bench.measuring import Usage

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="/proc, which shows memory by kind, is missing"
)
PEERS = PROJECT / ".venv/bench/installed"
needs_peers = pytest.mark.skipif(
    not PEERS.exists(), reason=".venv/bench is missing; `make bench` makes it"
)


@pytest.fixture
def project(monkeypatch, tmp_path):
    """Let copies be made of a project that has the article's parameters."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("stages", "tools", ".dvc"):
        (folder / name).symlink_to(PROJECT / name)
    monkeypatch.chdir(folder)
    write_params(ARTICLE)
    monkeypatch.setattr(copies, "PROJECT", folder)
    return folder


@pytest.fixture
def sized(project, tmp_path):
    """Return a copy with 40 rows in each table, and its tensors."""
    folder = tmp_path / "sized"
    copies.sized_copy(folder, 40, 40, 0.5)
    copies.set_params(folder, growth.SETTINGS)
    copies.make_data(folder)
    return folder


# Numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("power", [0.5, 1, 2])
def test_exponent_is_that_of_the_time_above_the_start(power):
    rows = [10, 1000]
    seconds = [3 + 0.2 * n**power for n in rows]
    assert measuring.exponent(rows, seconds, 3) == pytest.approx(power)


@pytest.mark.parametrize("seconds", [[3.05, 9], [4, 2.9]])
def test_growth_within_noise_has_no_exponent(seconds):
    assert measuring.exponent([10, 1000], seconds, 3) is None


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0123456, "12.3 ms"),
        (0.9, "900 ms"),
        (1.234, "1.23 s"),
        (12.34, "12.3 s"),
        (1234.6, "1235 s"),
    ],
)
def test_seconds_have_three_digits(value, shown):
    assert measuring.format_seconds(value) == shown


@pytest.mark.parametrize(
    ("rate", "shown"), [(2.345e6, "2.35 M"), (0.1e6, "0.100 M"), (37e6, "37.0 M"), (-1, "-")]
)
def test_rates_are_in_millions(rate, shown):
    assert measuring.format_rate(rate) == shown


@pytest.mark.parametrize(
    ("ratio", "aims", "shown"),
    [
        (0.912, {}, "0.91"),
        (0.912, {"least": 0.95}, "**0.91** (aim: at least 0.95)"),
        (0.96, {"least": 0.95}, "0.96 (aim: at least 0.95)"),
        (1.3, {"most": 1.25}, "**1.30** (aim: at most 1.25)"),
        (1.2, {"most": 1.25}, "1.20 (aim: at most 1.25)"),
        (12.34, {"least": 7}, "12.3 (aim: at least 7)"),
        (-0.2, {"least": 7}, "-"),
    ],
)
def test_ratio_shows_its_aim_and_whether_it_misses_it(ratio, aims, shown):
    assert measuring.format_ratio(ratio, **aims) == shown


def test_ways_are_called_in_turn_and_their_first_call_does_not_count():
    calls, times = [], {"a": iter([9, 1, 5, 2, 7]), "b": iter([9, 4, 8])}

    def way(name):
        return lambda: calls.append(name) or next(times[name])

    medians = measuring.measure(2, {"a": way("a"), "b": way("b")}, rare=["b"], repeats=2)
    assert "".join(calls) == "ab" + "aba" * 2
    assert medians == {"a": 3.5, "b": 6}  # of 1, 5, 2, 7 and of 4, 8


def test_way_is_timed():
    assert 0.05 <= measuring.timed(lambda: time.sleep(0.05))() < 1


# Processes ----------------------------------------------------------------------------------------

HOLD = """
import mmap, sys, time
own = b"x" * (64 * 2**20)
with open(sys.argv[1], "rb") as file:
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
sum(mapped[::4096])
time.sleep(0.1)
del own
time.sleep(0.1)
"""


@needs_proc
def test_peaks_of_a_child_tell_own_memory_from_mapped_files(tmp_path):
    big = tmp_path / "big"
    big.write_bytes(b"x" * (32 * 2**20))
    empty = tmp_path / "empty"
    empty.write_bytes(b"x")
    few = measuring.run("python", "-c", HOLD.replace("64 *", "1 *"), str(empty), cwd=tmp_path)
    many = measuring.run("python", "-c", HOLD, str(big), cwd=tmp_path)
    assert many.anonymous - few.anonymous == pytest.approx(63, abs=4)
    assert many.mapped - few.mapped == pytest.approx(32, abs=4)
    assert many.seconds > 0.1


def test_process_without_proc_has_unknown_peaks(tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "read_memory", lambda _: {})
    usage = measuring.run("python", "-c", "", cwd=tmp_path)
    assert (usage.anonymous, usage.mapped) == (None, None)
    assert measuring.format_memory(measuring.median([1.0, usage.anonymous])) == "-"


@pytest.mark.parametrize("call", [measuring.run, measuring.output])
def test_command_that_fails_is_reported_with_its_last_line(call, tmp_path):
    code = "import sys; sys.exit('first\\nlast')"
    with pytest.raises(UserError, match=r"`python -c .*` must succeed; it ended with: last$"):
        call("python", "-c", code, cwd=tmp_path)


# The page -----------------------------------------------------------------------------------------

TEXT = (
    "a\n<!-- bench: one -->\n\nold\n\n<!-- end -->\nb\n<!-- bench: two -->\n\nx\n\n<!-- end -->\n"
)


def test_section_is_replaced_and_the_rest_stays():
    text = page.replace_section(TEXT, "one", r"| \1 |")
    assert text == TEXT.replace("old", r"| \1 |")
    assert page.replace_section(text, "one", "old") == TEXT


@pytest.mark.parametrize("text", [TEXT.replace("one", "three"), TEXT + TEXT])
def test_page_without_one_such_section_is_rejected(text):
    with pytest.raises(UserError, match=r"one section between `<!-- bench: one -->`"):
        page.replace_section(text, "one", "new")


def test_page_has_every_section():
    text = page.PAGE.read_text()
    marks = re.findall(r"<!-- bench: (\w+) -->", text)
    assert sorted(marks) == ["memory", "pipeline", "ranks", "settings", "times", "training"]
    for name in marks:
        page.replace_section(text, name, "")


def test_figure_has_the_seconds_of_every_stage(tmp_path, monkeypatch):
    sizes = (10**3, 10**5, 10**7)
    usages = {
        stage: {n: Usage(1 + number * n / 1e6, 1.0, 1.0) for n in sizes}
        for number, stage in enumerate(STAGES)
    }
    *lines, ideal = page.draw_growth(usages).axes[0].get_lines()
    assert [line.get_label() for line in lines] == list(STAGES)
    for number, line in enumerate(lines):
        np.testing.assert_allclose(line.get_xdata(), sizes)
        np.testing.assert_allclose(line.get_ydata(), [1 + number * n / 1e6 for n in sizes])
    (x0, x1), (y0, y1) = ideal.get_data()
    assert y1 / y0 == x1 / x0 == 100
    assert y1 > 51  # above the slowest stage

    monkeypatch.setattr(page, "FIGURE", tmp_path / "figure.png")
    page.write_figure(usages)
    assert (tmp_path / "figure.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(("n", "shown"), [(1000, "1,000"), (10**7, "10 million")])
def test_counts_are_short(n, shown):
    assert page.format_count(n) == shown


# Copies -------------------------------------------------------------------------------------------


def test_copy_has_the_rows_it_is_made_for(project, tmp_path):
    folder = tmp_path / "copy"
    copies.sized_copy(folder, 2000, 600, 0.1)
    content = yaml.safe_load((folder / "params.yaml").read_text())["generate_data"]
    assert (
        content["regression"] | {"n_samples": 2000, "n_valid": 200, "n_test": 200}
        == (content["regression"])
    )
    classes = {"n_samples_per_class": 300, "n_valid_per_class": 30, "n_test_per_class": 30}
    assert content["classification"] | classes == content["classification"]
    assert yaml.safe_load((project / "params.yaml").read_text()) == ARTICLE


def test_copy_trains_on_the_simulated_tables(project, tmp_path):
    changes = {"convert_to_tensors.regression.table": "data/external/mine.csv"}
    copies.set_params(project, changes | {"train_classifier.hidden": [20, 20]})
    folder = tmp_path / "copy"
    copies.sized_copy(folder, 40, 40, 0.5)
    copies.make_data(folder)
    assert len(training.training_tensors(folder, "float64")[0]) == 40
    content = yaml.safe_load((folder / "params.yaml").read_text())
    assert content["train_classifier"]["hidden"] == [10]


def test_rows_of_trainings_are_in_random_order(sized):
    x, y, X, labels = training.training_tensors(sized, "float32")
    assert not x.equal(x.sort().values)
    assert x.sort().values.allclose(torch.linspace(0, 1, 40, dtype=torch.float64))
    assert (y - 2 * x).std() == pytest.approx(0.3, rel=0.5)  # pairs stay together
    assert X.dtype == torch.float32
    assert not labels.equal(labels.sort().values)
    assert X[labels == 1].mean() > X[labels == 0].mean()


# The pipeline -------------------------------------------------------------------------------------


def test_flat_script_does_the_articles_work(tmp_path):
    done = run(sys.executable, pipeline.SCRIPT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    weight = torch.load(tmp_path / "weight.pt", weights_only=True).item()
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    # What is left of the distance to least squares after 100 epochs: (1 - 2 lr sum(x^2))^100.
    x = np.linspace(0, 1, 1000)
    left = (1 - 2e-4 * (x @ x)) ** 100
    assert weight == pytest.approx(
        metrics["least_squares"] + left * (0.1 - metrics["least_squares"]), abs=1e-9
    )
    assert metrics["accuracy"] == pytest.approx(0.955, abs=0.02)
    assert len(list(tmp_path.glob("*.png"))) == 7
    for name, rows in (("train_regression.csv", 101), ("train_classifier.csv", 52)):
        assert len(np.loadtxt(tmp_path / name, delimiter=",")) == rows


def test_pipeline_is_measured_beside_its_floor(finished_project, monkeypatch, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import time\ntime.sleep(0.2)")
    monkeypatch.setattr(copies, "PROJECT", finished_project)
    monkeypatch.setattr(pipeline, "IMPORTS", {"a": "json", "b": "csv"})
    monkeypatch.setattr(pipeline, "SCRIPT", script)
    ran = []

    def spy(*command, cwd):
        ran.append((cwd.name, *command))
        return measuring.run(*command, cwd=cwd)

    monkeypatch.setattr(pipeline, "run", spy)
    table = pipeline.pipeline_section(tmp_path, rounds=1).splitlines()
    assert len(table) == 2 + 4
    python = ("flat", sys.executable, str(script))
    cold = [("project", "dvc", "repro", "-f"), ("floor", "dvc", "repro", "-f")]
    cold += [python, (*python, "--animation")]
    assert ran == cold * 2 + [("project", "dvc", "repro"), ("floor", "dvc", "repro")] * 2
    assert "at most 1.25" in table[2]
    assert "at most 1.2)" in table[3]
    lock = yaml.safe_load((tmp_path / "floor/dvc.lock").read_text())
    assert [stage["cmd"] for stage in lock["stages"].values()] == [
        "python -c 'import json'",
        "python -c 'import csv'",
    ]
    assert (tmp_path / "project/dvc.lock").exists()


def test_row_shows_both_sides_and_their_ratio():
    shown = pipeline.row("a", "b", 3.0, 2.0, 1.25)
    assert shown == ["a", "3.00 s", "b", "2.00 s", "**1.50** (aim: at most 1.25)"]


# Stages -------------------------------------------------------------------------------------------


def usages_of(seconds, anonymous=100.0, mapped=50.0):
    return {n: Usage(taken, anonymous, mapped) for n, taken in seconds.items()}


def test_times_table_has_rates_and_exponents_of_what_grows():
    sizes = (10**3, 10**6, 10**7)
    usages = {
        "convert_to_tensors": usages_of({10**3: 1.0, 10**6: 2.0, 10**7: 11.0}),
        "train_regression": usages_of({10**3: 1.0, 10**6: 2.0, 10**7: 101.0}),
        "evaluate": usages_of({10**3: 1.0, 10**6: 6.0, 10**7: 6.0}),
        "report": usages_of({10**3: 1.0, 10**6: 1.0, 10**7: 1.0}),
    }
    rows = growth.times_table(usages, sizes).splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert cells[0][4:] == ["2.40 M", "1.0 (aim: at most 1)", "2.00"]  # 2.4e7 rows in 10 s
    assert cells[1][4:] == ["10.0 M", "**2.0** (aim: at most 1)", "2.00"]  # 1e9 rows in 100 s
    assert cells[2][6] == "**6.00** (aim: at most 5)"
    assert cells[3][4:6] == ["-", "within noise"]


def test_memory_table_has_peaks_above_the_imports():
    usages = {
        "evaluate": usages_of({10: 1.0}, 150.4, 40.0),
        "report": usages_of({10: 1.0}, 1400.0, 20.0),
    }
    rows = growth.memory_table(usages, (10,), {"evaluate": 100.0, "report": 200.0}).splitlines()
    assert rows[2:] == [
        "| evaluate | 50 + 40 |",
        "| report | **1,200** (aim: at most 1,024) + 20 |",
    ]


def test_memory_is_unknown_without_proc():
    usages = {"evaluate": usages_of({10: 1.0}, None, None)}
    assert growth.memory_table(usages, (10,), {}).endswith("| evaluate | - + - |")


def test_every_stage_is_measured_and_settings_are_run(project, monkeypatch, tmp_path):
    monkeypatch.setattr(growth, "SHARE", 0.5)
    usages = growth.measure_growth(tmp_path, (40,), rounds=1)
    assert list(usages) == list(STAGES)
    assert all(0.05 < usage[40].seconds < 60 for usage in usages.values())
    folder = growth.growth_folder(tmp_path, 40)
    assert (folder / "metrics/report.html").exists()
    content = yaml.safe_load((folder / "params.yaml").read_text())
    assert content["train_classifier"]["batch_size"] == 16384
    imports = growth.import_memory(folder)
    if imports:  # where there is /proc
        above = usages["train_regression"][40].anonymous - imports["train_regression"]
        assert abs(above) < 30
        assert imports["train_regression"] > imports["report"] > 1

    monkeypatch.setattr(growth, "RECOMMENDED", (growth.Setting(40, 1.5, 5, None, 0.01, 3, 20),))
    row = growth.settings_table(tmp_path, (40,)).splitlines()[2]
    x, y, *_ = training.training_tensors(folder, "float64")
    least_squares = (x @ y / (x @ x)).item()
    assert row.startswith(f"| 40 | 1.5, 5, full | {least_squares:.4g}")
    actual, predicted = np.loadtxt(
        folder / "metrics/confusion.csv", delimiter=",", skiprows=1, dtype=str
    ).T
    assert row.endswith(f"| 0.01, 3, 20 | {np.mean(actual == predicted):.5f} |")
    history = np.loadtxt(folder / "metrics/train_classifier.csv", delimiter=",", skiprows=1)
    assert len(history) == 4


# Training -----------------------------------------------------------------------------------------


def test_flat_loop_of_the_regression_records_what_the_stage_does(project, tmp_path):
    sized = tmp_path / "sized"
    copies.sized_copy(sized, 40, 40, 1)
    copies.make_data(sized)
    settings = {
        "train_regression.loss_reduction": "sum",
        "train_regression.optimizer.lr": 1e-4,
        "train_regression.epochs": 4,
    }
    copies.set_params(sized, settings)
    measuring.run("python", "-m", "stages", "train_regression", cwd=sized)
    tensors, _ = training.load_tensors(str(sized / "data/tensors/regression.safetensors"))
    flat = loops.article_regression(tensors, 5)
    ours = np.loadtxt(sized / "metrics/train_regression.csv", delimiter=",", skiprows=1)
    np.testing.assert_allclose(flat, ours, rtol=1e-5)


def test_flat_loop_of_the_classifier_measures_validation_rows_as_stored(sized):
    tensors, _ = training.load_tensors(str(sized / "data/tensors/classification.safetensors"))
    alike = {"X_valid": tensors["X_train"], "y_valid": tensors["y_train"]}
    history = loops.article_classifier(tensors | alike, 4)
    # With the statistics of all training rows, these rows have the losses that they train with.
    np.testing.assert_allclose([row[1:3] for row in history], [row[3:5] for row in history])


def least_squares_steps(x, y, lr, batches):
    """Return the weight after one step of gradient descent per batch, from 0.1."""
    weight = 0.1
    for rows in batches:
        weight -= lr * 2 * np.mean(x[rows] * (x[rows] * weight - y[rows]))
    return weight


def test_regression_loops_descend_the_gradient():
    generator = np.random.default_rng(0)
    x, y = generator.random((2, 100))
    tensors = torch.from_numpy(x), torch.from_numpy(y)
    full = least_squares_steps(x, y, loops.REGRESSION_LR, [slice(None)] * 3)
    for size in (7, 100):
        assert loops.regression_in_chunks(*tensors, 3, size)[-1][2] == pytest.approx(full)
    halves = least_squares_steps(x, y, loops.REGRESSION_LR, [slice(50), slice(50, 100)] * 3)
    assert loops.regression_in_slices(*tensors, 3, 50, False)[-1][2] == pytest.approx(halves)
    for one in (
        loops.regression_in_slices(*tensors, 3, 100, True),
        loops.regression_in_loader(*tensors, 3, 100),
    ):
        assert one[-1][2] == pytest.approx(full)
        loss = np.mean((x * 0.1 - y) ** 2)
        assert one[0][1] == pytest.approx(loss)


def test_classifier_loops_agree_and_learn():
    y = torch.arange(200) % 2
    X = (
        0.2
        + 0.6 * y[:, None]
        + 0.1 * torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    )
    ends = []
    for loop, shuffled in (
        (loops.classifier_in_slices, (False,)),
        (loops.classifier_in_slices, (True,)),
        (loops.classifier_in_loader, ()),
    ):
        torch.manual_seed(0)
        history = loop(X, y, 60, 200, *shuffled)
        ends.append([*history[0][1:], *history[-1][1:]])
        assert history[-1][1] < history[0][1]
        assert history[-1][2] > 0.9
    np.testing.assert_allclose(ends, [ends[0]] * 3, rtol=1e-3)


def test_network_is_the_articles_without_its_softmax():
    layers = [type(layer) for layer in loops.new_network(torch.float32)]
    assert layers == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]


def test_bandwidth_is_that_of_the_fastest_dot_product(monkeypatch):
    clock = iter([0, 1, 10, 14, 20, 22])  # 1 s to warm up, 4 s, 2 s
    monkeypatch.setattr(loops.time, "perf_counter", lambda: next(clock))
    assert loops.bandwidth(1000, 2) == 16 * 1000 / 2


def test_epochs_of_a_stage_are_those_after_the_first(sized, monkeypatch):
    clock = iter([0, 7, 100, 102])  # 7 s for 1 + 3 epochs, 2 s for one
    histories = []

    def tick():
        path = sized / "metrics/train_regression.csv"
        histories.append(len(path.read_text().splitlines()) if path.exists() else 0)
        return next(clock)

    monkeypatch.setattr("tools.bench.epochs.time.perf_counter", tick)
    assert loops.stage_passes(sized, "train_regression", 3, {})() == 5
    assert histories == [0, 6, 6, 3]  # lines: names, and epochs 0 to 4 or 0 to 1
    assert Path.cwd() != sized


def test_training_is_measured_without_peers(project, tmp_path):
    sizes = training.Sizes(full=400, batches=200, batch=(100,))
    table = training.training_section(tmp_path, 1, sizes, None).splitlines()[2:]
    ways = [row.split(" | ")[3] for row in table]
    assert ways == [
        *("this project", "flat loop with validation") * 2,
        *("this project", "chunks of 65,536", "one piece", "limit: memory bandwidth"),
        *("this project", "slices", "slices, shuffled", "DataLoader") * 2,
        *("this project", "slices", "slices, shuffled"),
    ]
    assert [row.split(" | ")[2] for row in table[-4:]] == ["float32"] + ["float64"] * 3
    assert all(re.search(r" M \| ", row) for row in table if "this project" not in row)


def test_rows_have_the_rate_and_the_proportion():
    rates = {"this project": 2e6, "slices": 1e6, "DataLoader": 5e5}
    rows = training.table_rows("classifier", "1,024", "float32", rates)
    assert [row[4:] for row in rows] == [
        ["2.00 M", "1"],
        ["1.00 M", "2.00 (aim: at least 0.95)"],
        ["0.500 M", "**4.00** (aim: at least 7)"],
    ]


@needs_peers
def test_peers_train(tmp_path):
    generator = np.random.default_rng(0)
    arrays = {"x": generator.random(64), "y": generator.random(64)}
    arrays |= {"X": generator.random((64, 2)), "labels": np.arange(64) % 2}
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    python = PEERS.parent / "bin/python"
    with environment.start_peers(python) as peers:
        for task, dtype in (("regression", "float64"), ("classifier", "float32")):
            ways = training.peer_ways(peers, training.PEERS, tmp_path, task, 32, dtype)
            assert list(ways) == ["Lightning", "skorch", "scikit-learn"]
            assert all(0 < way() < 60 for way in ways.values())
        process = peers.process
    assert process.poll() is not None


def test_peers_that_end_are_reported(tmp_path, monkeypatch):
    script = tmp_path / "script.py"
    script.write_text("print('ready', flush=True)\ninput()")
    monkeypatch.setattr(environment, "SCRIPT", script)
    ends = pytest.raises(UserError, match="must not end early")
    with environment.start_peers(Path(sys.executable)) as peers, ends:
        peers.way(way="skorch")()


def test_peers_are_left_out_where_they_cannot_be_installed(tmp_path, monkeypatch, capsys):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("no-such-package==1.0\n")
    monkeypatch.setattr(environment, "REQUIREMENTS", requirements)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    assert environment.find_peers(tmp_path / "bench") is None
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert "Lightning, skorch and scikit-learn are left out" in line
    assert "no-such-package" in line
    assert not (tmp_path / "bench/installed").exists()


def test_installed_peers_are_not_installed_again(tmp_path):
    (tmp_path / "installed").touch()
    (tmp_path / "kept").touch()
    assert environment.find_peers(tmp_path) == tmp_path / "bin/python"
    assert (tmp_path / "kept").exists()  # a new environment starts from an empty folder


def test_peers_use_the_projects_torch():
    pinned = re.search(r"^torch==\S+", (environment.REQUIREMENTS).read_text(), flags=re.MULTILINE)
    locked = re.search(
        r"^torch==\S+", (PROJECT / "requirements.lock").read_text(), flags=re.MULTILINE
    )
    assert pinned[0] == locked[0]


# Ranks --------------------------------------------------------------------------------------------


def test_epochs_are_timed_in_one_process_and_in_two(sized, monkeypatch):
    monkeypatch.setattr(ranks, "PASSES", {"train_regression": 2})
    for n_ranks in (1, 2):
        assert math.isfinite(ranks.epochs_under(sized, "train_regression", n_ranks)())
    history = np.loadtxt(sized / "metrics/train_regression.csv", delimiter=",", skiprows=1)
    assert len(history) == 2


def test_one_rank_is_started_as_by_default_and_more_by_torchrun():
    assert ranks.launcher(1) == [ARTICLE["launcher"]]
    assert ranks.launcher(4) == ["torchrun", "--standalone", "--nproc-per-node=4"]


def test_rows_compare_with_one_rank():
    rows = ranks.table_rows("train_classifier", 10**6, None, {1: 4.0, 2: 2.5, 4: 2.0})
    assert [[row[0], row[3], *row[5:]] for row in rows] == [
        ["classifier", "1", "4.00 s", "0.250 M", "1.00"],
        ["classifier", "2", "2.50 s", "0.400 M", "**1.60** (aim: at least 1.8)"],
        ["classifier", "4", "2.00 s", "0.500 M", "2.00"],
    ]


# The command --------------------------------------------------------------------------------------


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Let the command work on a copy of the page; return the sections and plans it measures."""
    shutil.copy(page.PAGE, tmp_path / "page.md")
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    calls = []

    def measure(name, root, plan, quick):
        calls.append((name, plan))
        return {"times" if name == "stages" else name: f"table of {name}"}

    monkeypatch.setattr(bench, "measure", measure)
    return calls


def test_tables_are_written_and_printed(measured, capsys):
    bench.main(["--only", "ranks", "--only", "stages"])
    assert [name for name, _ in measured] == ["stages", "ranks"]
    text = page.PAGE.read_text()
    assert "<!-- bench: times -->\n\ntable of stages\n\n<!-- end -->" in text
    assert "<!-- bench: ranks -->\n\ntable of ranks\n\n<!-- end -->" in text
    assert "times:\n\ntable of stages\n" in capsys.readouterr().out


def test_quick_writes_nothing_and_large_adds_a_size(measured):
    before = page.PAGE.read_text()
    bench.main(["--quick", "--large", "--rounds", "7"])
    assert page.PAGE.read_text() == before
    assert [name for name, _ in measured] == list(bench.SECTIONS)
    assert measured[0][1].sizes[-1] == 10**8
    assert measured[0][1].rounds == 7


def test_no_rounds_are_rejected():
    with pytest.raises(UserError, match="--rounds must be an integer >= 1; got 0"):
        bench.main(["--rounds", "0"])
