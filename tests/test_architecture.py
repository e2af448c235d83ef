"""The structure and the names: each question has one file, and old names do not come back."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

QUESTIONS = {
    "where is the search space defined": ("sweeps/config/space.py", "Space"),
    "who asks Optuna": ("sweeps/search/study.py", "Study"),
    "where does a worker claim a trial": ("sweeps/workers/claims.py", "claim_after"),
    "where does an sbatch field come from": ("sweeps/jobs/submit.py", "_slurm_parameters"),
    "where is pruning decided": ("sweeps/search/pruning.py", "should_prune"),
    "where does an epoch get written": ("sweeps/storage/trial_record.py", "append_row"),
    "where does MLflow get its metrics": ("sweeps/tracking/publisher.py", "Publisher"),
    "what happens at the time limit": ("sweeps/jobs/slurm/time_limit.py", "margin_seconds"),
    "where is it decided who becomes champion": ("sweeps/promotion/gate.py", "check_beats"),
    "where is SSIM computed": ("vqvae/evaluation/metrics.py", "ssim"),
}
"""Questions, each with the file that answers it and the function or class in it."""

OLD_FILES = (
    *("beat", "told", "room", "places", "deaths", "ends", "troubles", "whereabouts", "asking"),
    *("chain", "budget", "boundary", "shell", "invocation", "examination", "hanging", "serve"),
    *("trimming", "totals", "deciding", "scoring", "lineage", "reads", "entry", "printable"),
    *("acts", "armed", "orders", "outside", "storms", "assessment", "coded", "coding", "pictures"),
)
OLD_NAMES = (
    *("WorldError", "most_parts", "kind_of", "illustrate", "tested", r"\w*verdict\w*", "_?bide"),
    *(r"\w*trouble\w*", "way_of", "Way", r"\w*lonely\w*", "solitude", r"_?robbed", "crown"),
    *("restate", "Wish", "HASTE", "forgiven?", "_all_in_good_hands", "crew", "come_back"),
    *("Lookout", "in_words", "Contender", "contenders", "revive_after", "look_up"),
    *("tally", "spread_of", "illustrated?", "Told", "told", "owner_of", "sort_out", "Armed"),
    *("is_ours", "put_right_after_a_move", "refuse_to_do_without_a_gpu", "others_will_do"),
    *("note_of_the_end", "was_left_whole", "want_of_room", "pauses?_before", "only_lonely"),
    *("Given", "Places?", "Death", "Duel", "_Duel", "Storms?", "unusable", "most_jobs"),
    *("alone", "ends", "Look", "looks", "choose", "start_", "alike", "mends?", "said", "_?say"),
    *("pictures?", "drawn", "draws", "unfit", "fates?", "lookout", "is_full", "learn_", "Entry"),
    *("open_jobs_by_id", "check_against_site", "SlurmUser"),
)
"""Old names that were replaced by standard ones; ordinary words are not among them.

Nothing on disk has an old name either, because there were no runs to keep.
"""


def sources(*folders: str) -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / line for line in listed.splitlines()]
    return [path for path in paths if path.suffix == ".py" and path.exists()]


def names_in(tree: ast.AST) -> Iterator[str]:
    """Every name that a module defines or uses: classes, functions, arguments, attributes."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield name
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.keyword(arg=str(name)):
                yield name


@pytest.mark.parametrize("question", QUESTIONS)
def test_each_question_has_one_file(question: str) -> None:
    file, name = QUESTIONS[question]
    tree = ast.parse((ROOT / file).read_text())
    defined = {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    assert name in defined
    table = (ROOT / "docs" / "architecture.md").read_text()
    row = next(line for line in table.splitlines() if line.startswith(f"| {question}"))
    assert f"`{file}`" in row


def test_no_function_is_longer_than_a_page() -> None:
    long = {
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in sources("sweeps", "vqvae", "benchmarks")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= 50
    }
    assert long == set()


def text_calls_without_encoding(tree: ast.AST) -> Iterator[int]:
    """The lines of calls that read or write text in the encoding of the locale."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        given = {keyword.arg for keyword in node.keywords}
        name = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
        modes = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
        is_binary = any("b" in mode for mode in modes if isinstance(mode, str))
        is_text = name in {"read_text", "write_text"} or (name == "open" and not is_binary)
        on_path = not isinstance(node.func, ast.Attribute) or ast.unparse(node.func.value) != "os"
        if given & {"text", "universal_newlines"} or (
            is_text and on_path and "encoding" not in given
        ):
            yield node.lineno


def test_text_is_read_and_written_in_the_same_encoding_in_every_locale() -> None:
    found = {
        f"{path.relative_to(ROOT)}:{line}"
        for path in sources("sweeps", "vqvae")
        for line in text_calls_without_encoding(ast.parse(path.read_text()))
    }
    assert found == set()


def test_calls_without_an_encoding_are_found() -> None:
    calls = 'open("a")\np.open()\np.read_text()\np.write_text("b")\nrun(text=True)\n'
    fine = 'os.open(a, 0)\np.open("rb")\np.read_text(encoding="utf-8")\n'
    assert list(text_calls_without_encoding(ast.parse(calls + fine))) == [1, 2, 3, 4, 5]


def test_no_file_has_an_old_name() -> None:
    found = {path.relative_to(ROOT) for path in sources("sweeps", "vqvae", "tests", "benchmarks")}
    old = {path for path in found if path.stem.removeprefix("test_") in OLD_FILES}
    assert old == set()


def test_no_code_uses_an_old_name() -> None:
    pattern = re.compile("|".join(OLD_NAMES))
    old = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources("sweeps", "vqvae", "tests", "benchmarks")
        for name in names_in(ast.parse(path.read_text()))
        if pattern.fullmatch(name)
    }
    assert old == set()


def test_old_names_are_found_in_all_positions() -> None:
    tree = ast.parse("def f(told=1):\n    x.crown(way_of=1)\nclass Wish: pass")
    pattern = re.compile("|".join(OLD_NAMES))
    assert {n for n in names_in(tree) if pattern.fullmatch(n)} == {
        "told",
        "crown",
        "way_of",
        "Wish",
    }
