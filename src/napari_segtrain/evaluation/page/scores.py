"""The parts of a run's page that say how good it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari_segtrain.runs import RunFolder

from ..confusion import ConfusionMatrix
from ..index import read_index, read_part
from ..report import MAIN_SCORES
from .chart import chart
from .html import Html, details, join, number, picture, table, tag

SPLITS = {"test": "test", "val": "validation", "train": "training"}
"""Parts of a split in the order in which a reader wants them, and their names."""
_MOST_IMAGES = 300
"""Images of one output that the page lists; the CSV file has all."""
_ERRORS = ("mae", "angular_error", "rmse", "hd95")
_WORDS = {
    "dice": "Dice",
    "iou": "IoU",
    "hd95": "HD95",
    "cldice": "clDice",
    "ap50": "AP50",
    "map": "mAP",
    "f1": "F1",
    "mae": "MAE",
    "angular_error": "angle, degrees",
}


def scores_section(run: RunFolder) -> Html:
    """Return scores of every part that was scored; a note when none was."""
    index = read_index(run)
    found = {split: read_part(run, f"{split}.json") for split in SPLITS}
    parts = [tag("h2", "Scores")]
    if not any(found.values()):
        advice = tag("code", f"segtrain evaluate {run.path} --split val")
        return join([*parts, tag("p", "Nothing was scored yet: ", advice, class_="quiet")])
    for split, summary in found.items():
        if summary:
            about = index.get(split)
            parts.append(_overview(split, summary, about if isinstance(about, dict) else {}))
    outputs = list(dict.fromkeys(name for summary in found.values() for name in summary))
    parts += [_output(run, name, found, index) for name in outputs]
    return join(parts)


def _overview(split: str, summary: Mapping[str, Any], about: Mapping[str, Any]) -> Html:
    columns = [score for score in MAIN_SCORES if any(row.get(score) is not None for row in summary.values())]
    head = ["output", *(_WORDS.get(score, score) for score in columns), "images"]
    rows = [
        [name, *(row.get(score) for score in columns), len(row.get("images", {}))]
        for name, row in summary.items()
    ]
    return join((tag("h3", f"On the {SPLITS[split]} part"), _told(about), table(head, rows)))


def _told(about: Mapping[str, Any]) -> Html:
    """Say what was scored with which weights."""
    if not about:
        return Html("")
    share = float(about.get("share") or 1.0)
    looked = f"{about.get('images')} of {about.get('of_images')} images"
    if share < 1:
        looked += f", {share:.1%} of the voxels, evenly spread: segtrain evaluate looks at all"
    weights = f"{about.get('checkpoint')}, epoch {about.get('epoch')}"
    return tag("p", f"{looked}; weights {weights}; {about.get('date')}", class_="quiet")


def _output(
    run: RunFolder, name: str, found: Mapping[str, Mapping[str, Any]], index: Mapping[str, Any]
) -> Html:
    parts = [tag("h3", f"Output {name}")]
    rows = {split: summary[name] for split, summary in found.items() if name in summary}
    matrices = {split: _matrix(row.get("confusion")) for split, row in rows.items()}
    known = {split: matrix for split, matrix in matrices.items() if matrix is not None}
    if known:
        shown = (_confusion(SPLITS[split], matrix) for split, matrix in known.items())
        parts.append(tag("div", *shown, class_="row"))
        parts += [_classes(SPLITS[split], rows[split], matrix) for split, matrix in known.items()]
    curves = [_curve(SPLITS[split], row["curve"]) for split, row in rows.items() if row.get("curve")]
    if curves:
        parts.append(tag("div", *curves, class_="row"))
    parts += [_images(SPLITS[split], row.get("images", {})) for split, row in rows.items()]
    parts += [_pictures(run, name, split, index) for split in rows]
    return join(parts)


def _matrix(value: Any) -> ConfusionMatrix | None:
    if not isinstance(value, dict):
        return None
    return ConfusionMatrix(tuple(value["classes"]), tuple(map(tuple, value["counts"])))


def _confusion(title: str, matrix: ConfusionMatrix) -> Html:
    shares = matrix.shares
    rows = []
    for row, counts in enumerate(matrix.counts):
        cells = [tag("th", matrix.classes[row])]
        for column, count in enumerate(counts):
            share = float(shares[row, column])
            style = f"background: rgba(var(--deep), {share:.3f})"
            text = f"{share:.1%}", tag("small", f"{count:,}")
            cells.append(tag("td", *text, style=style, class_="strong" if share > 0.5 else None))
        rows.append(tag("tr", *cells))
    head = tag("tr", tag("th", "true \\ predicted"), *(tag("th", name) for name in matrix.classes))
    caption = tag("p", f"Confusion of voxels, {title} part", class_="quiet")
    return tag("div", caption, tag("table", head, *rows, class_="confusion"), class_="wide")


def _classes(title: str, row: Mapping[str, Any], matrix: ConfusionMatrix) -> Html:
    """Return the classification report, with overlap and distance of each class where they are known."""
    report = matrix.report()
    accuracy = report.pop("accuracy")
    more = [score for score in ("dice", "iou", "hd95") if any(f"{score}_{c}" in row for c in matrix.classes)]
    head = ["", "precision", "recall", "F1", *(_WORDS[score] for score in more), "voxels"]
    rows = [
        [
            name,
            *(values[key] for key in ("precision", "recall", "f1-score")),
            *((row.get(f"{score}_{name}") if name in matrix.classes else "") for score in more),
            int(values["support"]),
        ]
        for name, values in report.items()
    ]
    told = f"Classes of the {title} part; accuracy {accuracy:.4f}"
    return details(told, table(head, rows), open_=True)


def _curve(title: str, curve: list[dict[str, float]]) -> Html:
    lines = {
        word: [(point["iou"], point[key]) for point in curve] for word, key in (("AP", "ap"), ("F1", "f1"))
    }
    drawn = chart(f"Objects, {title} part", lines, x_name="IoU threshold", limits=(0.0, 1.0))
    head = ["IoU", "AP", "F1", "found", "invented", "missed"]
    keys = ("iou", "ap", "f1", "found", "invented", "missed")
    return tag(
        "div", drawn, details("numbers", table(head, ([point[key] for key in keys] for point in curve)))
    )


def _images(title: str, images: Mapping[str, Mapping[str, Any]]) -> Html:
    """Return a row an image, the worst first."""
    known = [score for score in MAIN_SCORES if any(row.get(score) is not None for row in images.values())]
    if not known:
        return Html("")
    sign = -1.0 if known[0] in _ERRORS else 1.0

    def worth(item: tuple[str, Mapping[str, Any]]) -> float:
        value = item[1].get(known[0])
        return float("inf") if value is None else sign * float(value)

    ordered = sorted(images.items(), key=worth)[:_MOST_IMAGES]
    head = ["image", *(_WORDS.get(score, score) for score in known), "voxels"]
    rows = [[name, *(row.get(score) for score in known), row.get("voxels")] for name, row in ordered]
    rest = f", of {len(images)}" if len(images) > len(ordered) else ""
    return details(f"{len(ordered)} images of the {title} part{rest}, the worst first", table(head, rows))


def _box(region: list[list[int]]) -> str:
    return ", ".join(f"{start}:{stop}" for start, stop in region)


def _pictures(run: RunFolder, output: str, split: str, index: Mapping[str, Any]) -> Html:
    about = index.get(split)
    listed = about.get("pictures", []) if isinstance(about, dict) else []
    parts = []
    for rank in ("worst", "best"):
        chosen = [p for p in listed if p["output"] == output and p["rank"] == rank]
        figures = [
            picture(
                run.evaluation / entry["file"],
                f"{rank} {entry['place']}: {entry['image']} [{_box(entry['region'])}], "
                f"{_WORDS.get(entry['score'], entry['score'])} {number(entry['value'])}",
            )
            for entry in chosen
        ]
        if figures:
            title = f"The {rank} patches of the {SPLITS[split]} part"
            parts.append(details(title, tag("div", *figures, class_="row"), open_=split != "train"))
    return join(parts)
