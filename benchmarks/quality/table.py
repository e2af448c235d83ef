"""The results as a table, as CSV and JSON, and as a figure of SSIM against seconds."""

import csv
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.quality.scores import Scores

COLUMNS = ("ssim", "ssim_body", "ssim_uniform7", "ssim_zscore", "psnr", "nmse")


@dataclass(frozen=True)
class Result:
    """One model or codec: one score of the split for each seed.

    Attributes:
        name: of the model or codec.
        scores: of the split, one for each seed.
        curve: seconds and validation SSIM during training, of each seed.
        about: further columns by name: epochs, steps, images a second, parameters.
    """

    name: str
    scores: Sequence[Scores]
    curve: Sequence[Sequence[tuple[float, float]]] = ()
    about: Mapping[str, float] = field(default_factory=dict)

    def mean(self, name: str) -> float:
        """Return the mean over slices and seeds."""
        return statistics.fmean(_mean(scores.slices[name]) for scores in self.scores)

    def spread(self, name: str) -> float:
        """Return the standard deviation over seeds; NaN with one seed."""
        means = [_mean(scores.slices[name]) for scores in self.scores]
        return statistics.stdev(means) if len(means) > 1 else math.nan

    def of_slices(self, name: str) -> list[float]:
        """Return the mean over seeds of each slice."""
        return [
            statistics.fmean(values)
            for values in zip(*(s.slices[name] for s in self.scores), strict=True)
        ]


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(value for value in values if not math.isnan(value))


def rows(results: Sequence[Result]) -> list[dict[str, str]]:
    """Return the table's rows, best SSIM first; differences are to the first result, by slice."""
    first = results[0]
    found = []
    for result in sorted(results, key=lambda each: -each.mean("ssim")):
        gaps = [
            b - a for a, b in zip(first.of_slices("ssim"), result.of_slices("ssim"), strict=True)
        ]
        row = {"model": result.name, "bits/pixel": f"{result.scores[0].bits_per_pixel:.4f}"}
        row |= {name: f"{result.mean(name):.4f}" for name in COLUMNS}
        row["± seeds"] = f"{result.spread('ssim'):.4f}"
        row[f"minus {first.name}"] = f"{statistics.fmean(gaps):+.4f}"
        row["slices better"] = f"{sum(gap > 0 for gap in gaps)} of {len(gaps)}"
        whole = [scores.whole for scores in result.scores if scores.whole]
        for name in dict.fromkeys(name for w in whole for name in w):
            row[name] = f"{statistics.fmean(w[name] for w in whole):.3g}"
        row |= {name: f"{value:,.4g}" for name, value in result.about.items()}
        found.append(row)
    return found


def write(results: Sequence[Result], folder: Path, title: str) -> None:
    """Write `scores.json`, `scores.csv` and `ssim_by_seconds.svg`."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = [asdict(result) for result in results]
    (folder / "scores.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    table = rows(results)
    names = list(dict.fromkeys(name for row in table for name in row))
    with (folder / "scores.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(table)
    _draw(results, folder / "ssim_by_seconds.svg", title)


def as_markdown(results: Sequence[Result]) -> str:
    """Return the table in Markdown."""
    table = rows(results)
    names = list(dict.fromkeys(name for row in table for name in row))
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    lines += [f"| {' | '.join(row.get(name, '') for name in names)} |" for row in table]
    return "\n".join(lines)


def _draw(results: Sequence[Result], path: Path, title: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5))
    for result in results:
        for number, curve in enumerate(result.curve):
            label = result.name if number == 0 else None
            color = f"C{list(results).index(result) % 10}"
            axes.plot(*zip(*curve, strict=True), color=color, label=label)
        if not result.curve:
            axes.axhline(result.mean("ssim"), linestyle=":", color="0.5")
            axes.annotate(result.name, (0, result.mean("ssim")), fontsize=7)
    axes.set(xlabel="seconds of training", ylabel="validation SSIM (main protocol)", title=title)
    axes.legend()
    figure.savefig(path)
    pyplot.close(figure)
