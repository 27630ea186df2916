"""Put everything on one page: numbers beside their limits, curves, figures, parameters and data.

params.yaml, data/raw/*.parquet, metrics/* -> metrics/report.html, one file that needs no other and
no network, in light and dark, on a phone and on paper.
"""

from collections.abc import Iterator, Sequence

from stages.parameters import Report, read_parameters
from stages.startup import quick_imports

if __name__ == "__main__":  # a wrong value is answered before the work
    read_parameters(Report)

with quick_imports():
    import csv
    import hashlib
    import json
    import re
    from base64 import b64encode
    from html import escape
    from pathlib import Path

    from PIL import Image

    from stages.files import damaged, replacing, require
    from stages.metrics import leaves

REPORT = "metrics/report.html"
# Tables, and the tensors made of them
TABLES = {
    "data/raw/regression.parquet": "data/tensors/regression.safetensors",
    "data/raw/classification.parquet": "data/tensors/classification.safetensors",
}
SUMMARY = "metrics/tensors.json"
METRICS = {
    "metrics/train_regression.json": "train_regression",
    "metrics/train_classifier.json": "train_classifier",
    "metrics/evaluate.json": "evaluate",
}
# History, column, title
CURVES = {
    "train_regression": (("loss", "Loss against epoch"), ("weight", "Weight against epoch")),
    "train_classifier": (("loss", "Loss against epoch"), ("accuracy", "Accuracy against epoch")),
}
# Figure, what it shows for one who cannot see it
FIGURES = {
    "regression": (
        ("regression_data.png", "The training points of the regression"),
        ("regression_before.png", "The fit before training"),
        ("regression_film.gif", "Film of the fit, epoch by epoch"),
        ("regression_after.png", "The fit after training"),
    ),
    "classifier": (
        ("classification_data.png", "The training points by class"),
        ("classifier_before.png", "Predicted classes before training"),
        ("classifier_epochs.png", "Predicted classes at several epochs of the training"),
        ("classifier_after.png", "Predicted classes after training"),
        ("classifier_confusion.png", "Confusion matrix of the test points"),
    ),
}

WIDE = 700  # pixels, above which a figure takes the place of two

STYLE = """
:root { color-scheme: light dark;
  --ink: #1a1a1a; --paper: #fff; --soft: #667; --line: #ddd; --mark: #0072b2 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --paper: #16181c; --soft: #a5acb8; --line: #3a3f47;
    --mark: #56b4e9 }
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.5 system-ui, sans-serif }
h1, h2, h3 { line-height: 1.2; text-wrap: balance }
h2 { margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: 1.5rem }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 }
caption { text-align: left; font-weight: 600; padding: .3rem 0 }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; font-weight: normal }
th, td span { overflow-wrap: anywhere }
thead th { color: var(--soft) }
td { font-variant-numeric: tabular-nums }
@media (max-width: 30rem) { table { font-size: .85rem } }
.grid { display: grid; gap: 1rem; grid-auto-flow: dense;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)) }
.wide { grid-column: 1 / -1 }
figure { margin: 0; break-inside: avoid }
figure img { display: block; width: 100%; height: auto; background: #fff; border-radius: .4rem }
figure svg { display: block; width: 100%; height: auto }
figcaption { color: var(--soft); padding: .3rem 0 }
polyline { fill: none; stroke: var(--mark); stroke-width: 2 }
svg path { fill: none; stroke: var(--line) }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif }
@media print { :root { --ink: #000; --paper: #fff; --soft: #444; --line: #bbb; --mark: #0072b2 }
  body { max-width: none; padding: 0; font-size: .8rem }
  h2, h3, caption { break-after: avoid }
  tr { break-inside: avoid }
  .grid { grid-template-columns: 1fr 1fr } }
""".strip()


def shown(value: object) -> str:
    """Return a value as the page shows it."""
    if not isinstance(value, str):
        value = f"{value:.6g}" if isinstance(value, float) else json.dumps(value)
    text = escape(value)
    return f"<span>{text}</span>" if len(text) > 20 else text  # which may break anywhere


def breakable(name: str) -> str:
    """Return a name that breaks, where it must, after its dots and slashes."""
    return re.sub(r"([./])", r"\1<wbr>", escape(name))


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table; the first cell of a row is its heading."""
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = [
        f'<tr><th scope="row">{breakable(str(first))}</th>'
        + "".join(f"<td>{shown(cell)}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    ]
    body = "\n".join(lines)
    return (
        f"<table><caption>{escape(caption)}</caption>\n<thead><tr>{columns}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody></table>"
    )


def regression_rows(metrics: dict, training: dict) -> Iterator[tuple]:
    """Yield (what, value, limit or baseline, its value) of the regression."""
    line = metrics["regression"]
    yield "training loss", training["loss"], "least squares", training["least_squares_loss"]
    for name in ("weight", "bias"):
        if name in line:
            yield name, line[name], "least squares", line[f"least_squares_{name}"]
    best = line.get("least_squares_weights", {})
    for name, value in line.get("weights", {}).items():
        yield f"weight of {name}", value, "least squares", best[name]
    test = line["test"]
    if "noise_variance" in line:
        yield "test MSE", test["mse"], "noise variance", line["noise_variance"]
        yield "test R²", test["r2"], "noise variance", line["noise_r2"]
        return
    least_squares = line["least_squares"]["test"]
    yield "test MSE", test["mse"], "least squares", least_squares["mse"]
    yield "test MSE", test["mse"], "mean of y", line["mean"]["test"]["mse"]
    yield "test R²", test["r2"], "least squares", least_squares["r2"]


def classifier_rows(metrics: dict, training: dict) -> Iterator[tuple]:
    """Yield (what, value, limit or baseline, its value) of the classifier."""
    classifier = metrics["classifier"]
    yield "training loss", training["loss"], "floor", training["loss_floor"]
    for split in ("train", "test"):
        accuracy, cross_entropy = classifier[split]["accuracy"], classifier[split]["cross_entropy"]
        if "bayes_accuracy" in classifier:
            yield f"{split} accuracy", accuracy, "Bayes", classifier["bayes_accuracy"]
            best = classifier["bayes_cross_entropy"]
            yield f"{split} cross entropy", cross_entropy, "Bayes", best
            continue
        most = classifier["majority"][split]["accuracy"]
        yield f"{split} accuracy", accuracy, "majority class", most
        frequencies = classifier["prior"][split]["cross_entropy"]
        yield f"{split} cross entropy", cross_entropy, "class frequencies", frequencies


def curve(rows: Sequence[dict[str, str]], column: str, title: str) -> str:
    """Return a column of a history against the epoch as a line, 480 by 240."""
    epochs, values = ([float(row[name]) for row in rows] for name in ("epoch", column))
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    points = " ".join(
        f"{80 + 390 * epoch / (epochs[-1] or 1):.1f},{205 - 190 * (value - low) / span:.1f}"
        for epoch, value in zip(epochs, values, strict=True)
    )
    told = f"{column} {values[0]:.6g} at epoch 0, {values[-1]:.6g} at epoch {epochs[-1]:.0f}"
    return (
        f'<figure><svg viewBox="0 0 480 240" role="img" aria-label="{escape(f"{title}: {told}")}">'
        f'<path d="M80 10V205H475"/><polyline points="{points}"/>'
        f'<text x="74" y="20" text-anchor="end">{high:.4g}</text>'
        f'<text x="74" y="205" text-anchor="end">{low:.4g}</text>'
        f'<text x="80" y="225">0</text>'
        f'<text x="470" y="225" text-anchor="end">epoch {epochs[-1]:.0f}</text></svg>'
        f"<figcaption>{escape(title)}: {escape(told)}</figcaption></figure>"
    )


def image(name: str, alt: str) -> str:
    """Return a figure of metrics/figures with the whole image in it."""
    path = Path("metrics/figures", name)
    require(str(path), maker="evaluate")
    kind, content = path.suffix[1:], b64encode(path.read_bytes()).decode()
    try:
        with Image.open(path) as opened:
            width, height = opened.size
    except OSError:
        raise damaged(str(path), maker="evaluate") from None
    wide = ' class="wide"' if width > WIDE else ""
    return (
        f'<figure{wide}><img alt="{escape(alt)}" width="{width}" height="{height}" '
        f'src="data:image/{kind};base64,{content}">'
        f"<figcaption>{escape(alt)}</figcaption></figure>"
    )


def read_json(path: str, maker: str) -> dict:
    """Return the content of a file of metrics."""
    require(path, maker)
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError:
        raise damaged(path, maker) from None


def read_curves(stage: str) -> str:
    """Return the curves of a training stage."""
    path = f"metrics/{stage}.csv"
    require(path, maker=stage)
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        titles = dict(CURVES[stage])
        if any(column.startswith("weight_") for column in rows[0]):
            titles["weight"] = "Length of the weights, of which there are several, against epoch"
        return "\n".join(curve(rows, column, title) for column, title in titles.items())
    except (ValueError, LookupError, TypeError):
        raise damaged(path, maker=stage) from None


def data_rows() -> Iterator[tuple[str, int, int, int, str]]:
    """Yield path, rows to train on and held out, bytes and md5, as in dvc.lock, of the tables."""
    tensors = read_json(SUMMARY, maker="convert_to_tensors")
    for path, name in TABLES.items():
        require(path, maker="generate_data")
        content = Path(path).read_bytes()
        rows = {each["tensor"]: each["shape"][0] for each in tensors[name]}
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        yield path, rows["y_train"], rows["y_test"], len(content), md5


def page(parameters: dict) -> str:
    """Return the page; `parameters` are those of params.yaml."""
    contents = {path: read_json(path, maker) for path, maker in METRICS.items()}
    line, clusters, metrics = contents.values()
    head = ("what", "here", "beside", "its value")
    sections = (
        ("Regression", "regression", "train_regression", regression_rows, line),
        ("Classifier", "classifier", "train_classifier", classifier_rows, clusters),
    )
    body = ["<h1>Getting started with PyTorch: results</h1>"]
    for title, name, stage, rows, training in sections:
        numbers = list(rows(metrics, training[stage]))
        images = "\n".join(image(*each) for each in FIGURES[name])
        body += [
            f"<section><h2>{title}</h2>",
            table("Numbers beside their limits", head, numbers),
            f'<h3>Curves</h3>\n<div class="grid">\n{read_curves(stage)}\n</div>',
            f'<h3>Figures</h3>\n<div class="grid">\n{images}\n</div></section>',
        ]
    body += [
        "<section><h2>Parameters and data</h2>",
        table("Parameters", ("key", "value"), list(leaves(parameters))),
        table("Data", ("file", "to train on", "held out", "bytes", "md5"), list(data_rows())),
        "</section>",
    ]
    content = "\n".join(body)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n<title>Getting started with PyTorch: results</title>\n'
        f"<style>\n{STYLE}\n</style>\n</head>\n<body>\n<main>\n{content}\n</main>\n</body>\n</html>\n"
    )


def main() -> None:
    """Run the stage."""
    parameters = read_parameters(Report).model_dump(exclude_unset=True)
    content = page(parameters)
    with (
        replacing(REPORT) as temporary,
        open(temporary, "w", encoding="utf-8", newline="\n") as file,
    ):
        file.write(content)
    print(f"report: {REPORT}, {len(content.encode()) / 1000:.0f} kB, opens in any browser")


if __name__ == "__main__":
    main()
