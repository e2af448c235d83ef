"""The page on which MLflow shows a sweep: a shared view, stored as a tag of the experiment.

MLflow's pages save what they show (columns, order, charts) as one JSON object, and open it again by
the key of a shared view. That format is MLflow's own and not documented. It was read off the pages
of the version named here, is written by this version only, and is tested in a browser. Without the
view, a link with a filter and an order shows the same trials, with MLflow's own choice of charts.
"""

import base64
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.config.mlflow_names import OBJECTIVE

MLFLOW = "3.17."
"""How the number of each version of MLflow begins that has this format."""
KEY = "sweep"
TAG = f"mlflow.sharedViewState.{KEY}"
MAX_CHARACTERS = 5000
"""The longest tag of an experiment that each of MLflow's stores accepts."""
MAX_CURVES = 6
IMAGES = "figure"
"""The key under which the trials' figures are logged as images."""
_SECTION, _IMAGES_SECTION = "sweep", "images"

State = dict[str, Any]
"""A part of the JSON object."""


@dataclass(frozen=True)
class Page:
    """What the page shows, under the names that MLflow has.

    Attributes:
        name: the name of the view in MLflow's list of views.
        made: when the view was made, in milliseconds since 1970.
        trials: the filter that finds the sweep's trials.
        maximize: whether the highest objective is the best.
        columns: the parameters of the columns beside the objective.
        axes: the parameters of the parallel coordinates; each is a number or a choice.
        against_objective: the parameters that are drawn against the objective, one chart each.
        curves: the metrics that are drawn by epoch, the most important one first.
    """

    name: str
    made: int
    trials: str
    maximize: bool
    columns: Sequence[str]
    axes: Sequence[str]
    against_objective: Sequence[str]
    curves: Sequence[str]


def by_importance(names: Iterable[str], important: Sequence[str]) -> list[str]:
    """Return metrics: the important ones, then those of the objective's group, then the others.

    Args:
        names: the metrics, in the order in which they were recorded.
        important: the objective's metric and others, which need not be recorded.
    """
    group = f"{important[0].partition('/')[0]}/"
    rank = {name: place for place, name in reversed(list(enumerate(important)))}
    last = len(important)
    return sorted(names, key=lambda name: rank.get(name, last + (not name.startswith(group))))


def exponent_name(name: str) -> str:
    """Return the name in MLflow of the decimal logarithm of a parameter."""
    return f"log10 {name}"


def encode_view(page: Page) -> str:
    """Return the value of the tag; a page with too many charts for it loses the last ones."""
    charts = _charts(page)
    while len(value := _encode(page, charts)) > MAX_CHARACTERS and charts:
        charts.pop()
    return value


def _encode(page: Page, charts: list[State]) -> str:
    state = json.dumps(_state(page, charts)).encode()
    packed = base64.b64encode(zlib.compress(state, 9)).decode()
    view = {"name": page.name, "createdAt": page.made, "updatedAt": page.made}
    return json.dumps(view | {"state": f"deflate;{packed}"})


def decode_view(value: str) -> State:
    """Return the page's state in the value of a tag."""
    packed = json.loads(value)["state"].removeprefix("deflate;")
    state: State = json.loads(zlib.decompress(base64.b64decode(packed)))
    return state


def _state(page: Page, charts: list[State]) -> State:
    params = [f"params.`{name}`" for name in page.columns]
    return {
        "searchFilter": page.trials,
        "orderByKey": f"metrics.`{OBJECTIVE}`",
        "orderByAsc": not page.maximize,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [f"metrics.`{OBJECTIVE}`", *params, "tags.`sweep.state`"],
        "columnOrder": [],
        "columnWidths": {},
        "runsHiddenMode": "SHOWALL",
        "viewMaximized": False,
        "runListHidden": True,  # beside the charts; four images fit into a row without it
        "isAccordionReordered": True,  # otherwise MLflow sorts the sections by their names
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "globalLineChartConfig": {
            "xAxisKey": "step",
            "lineSmoothness": 0,
            "selectedXAxisMetricKey": "",
        },
        "compareRunCharts": charts,
        # MLflow adds its own sections below these, with a chart for each metric.
        "compareRunSections": [
            _section(_SECTION, page.name, columns=2, height=330),
            _section(_IMAGES_SECTION, IMAGES, columns=1, height=980),
        ],
    }


def _charts(page: Page) -> list[State]:
    """Return the charts, the most useful first."""
    curves = [_curve(name) for name in page.curves[:MAX_CURVES]]
    parallel = {"selectedParams": list(page.axes), "selectedMetrics": [OBJECTIVE]}
    return [
        _chart("PARALLEL", "parallel", **parallel),
        *curves[:1],
        *map(_scatter, page.against_objective),
        _chart("BAR", "objective", metricKey=OBJECTIVE, displayName=OBJECTIVE),
        *curves[1:],
        # With its parameters below, an image takes a whole row: the line of them is not wrapped.
        _chart("IMAGE", "images", imageKeys=[IMAGES], step=0, showRunParams=False)
        | {"metricSectionId": _IMAGES_SECTION},
    ]


def _section(uuid: str, name: str, columns: int, height: int) -> State:
    shown = {"uuid": uuid, "name": name, "display": True, "isReordered": False}
    return shown | {"columns": columns, "cardHeight": height}


def _scatter(param: str) -> State:
    xaxis, yaxis = {"key": param, "type": "PARAM"}, {"key": OBJECTIVE, "type": "METRIC"}
    return _chart("SCATTER", f"scatter {param}", xaxis=xaxis, yaxis=yaxis)


def _curve(metric: str) -> State:
    return _chart(
        "LINE",
        f"curve {metric}",
        metricKey=metric,
        displayName=metric,
        lineSmoothness=0,
        xAxisScaleType="linear",
        scaleType="linear",
        range={},
        xAxisKey="step",
        selectedXAxisMetricKey="",
        yAxisKey="metric",
        yAxisExpressions=[],
        ignoreOutliers=False,
        useGlobalXaxisKey=True,
        useGlobalLineSmoothing=True,
    )


def _chart(kind: str, uuid: str, **settings: Any) -> State:
    common = {"uuid": uuid, "type": kind, "runsCountToCompare": 10, "metricSectionId": _SECTION}
    return common | {"deleted": False, "isGenerated": False} | settings
