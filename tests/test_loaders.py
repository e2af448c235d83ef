"""Calls that can execute foreign code: each one is listed here, with the reason why it is safe.

Unpickling executes code of the pickle's author. Importing by name and a shell do the same.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    p for part in ("sweeps", "vqvae", "benchmarks") for p in ROOT.glob(f"{part}/**/*.py")
)

DANGEROUS = {
    *("eval", "exec", "compile", "__import__"),
    *("torch.load", "torch.jit.load", "torch.export.load", "torch.package.PackageImporter"),
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.load", "marshal.loads"),
    *("cloudpickle.load", "cloudpickle.loads", "dill.load", "dill.loads", "joblib.load"),
    *("numpy.load", "numpy.fromregex", "pandas.read_pickle", "shelve.open", "skops.io.load"),
    *("yaml.load", "yaml.full_load", "yaml.unsafe_load", "yaml.load_all"),
    *("importlib.import_module", "runpy.run_path", "runpy.run_module"),
    *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"),
}
LOADERS = ("load_model", "load_checkpoint", "load_state_dict_from_url", "log_model")
"""Functions of MLflow's flavours and of torch's hub that load pickles."""

KNOWN = {
    (
        "vqvae/training/checkpoint.py",
        "torch.load",
    ): "weights_only=True: tensors and plain values alone",
    (
        "vqvae/export/package.py",
        "torch.export.load",
    ): "of a new archive that vqvae/export/archive_check.py built",
    ("vqvae/data/cache.py", "numpy.load"): "allow_pickle=False",
    ("vqvae/data/splits.py", "numpy.load"): "allow_pickle=False",
    ("sweeps/cli/lazy.py", "importlib.import_module"): "of the table of commands, a constant",
    ("vqvae/cli/lazy.py", "importlib.import_module"): "of the table of commands, a constant",
    ("sweeps/trainer.py", "importlib.import_module"): "an experiment names its trainer: it is code",
}
REQUIRED = {
    "torch.load": ("weights_only", True),
    "numpy.load": ("allow_pickle", False),
}


def full_names(tree: ast.AST) -> dict[str, str]:
    """The full name of each imported name: `np` is `numpy`, `load` may be `torch.load`."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                found[name.asname or name.name.partition(".")[0]] = (
                    name.name if name.asname else name.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module:
            for name in node.names:
                found[name.asname or name.name] = f"{node.module}.{name.name}"
    return found


def called(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Every call, with the full name of the function."""
    names = full_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            first, dot, rest = ast.unparse(node.func).partition(".")
            yield names.get(first, first) + dot + rest, node


def dangerous(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for name, call in called(ast.parse(path.read_text())):
        own = name.startswith(("vqvae.", "sweeps."))
        if name in DANGEROUS or (not own and name.rpartition(".")[2] in LOADERS):
            yield name, call


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_known_loaders_are_called(path: Path) -> None:
    for name, call in dangerous(path):
        assert (str(path.relative_to(ROOT)), name) in KNOWN, f"{name}, line {call.lineno}"
        if name in REQUIRED:
            keyword, value = REQUIRED[name]
            given = {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg == keyword}
            assert given == {keyword: value}, f"{name}, line {call.lineno}"


def test_every_listed_call_exists() -> None:
    found = {(str(p.relative_to(ROOT)), name) for p in SOURCES for name, _ in dangerous(p)}
    assert found == set(KNOWN)


def test_no_call_starts_a_shell() -> None:
    for path in SOURCES:
        for name, call in called(ast.parse(path.read_text())):
            shells = [k for k in call.keywords if k.arg == "shell"]
            assert not shells, f"{path}, line {call.lineno}: {name}"


def test_a_renamed_import_does_not_hide_a_call() -> None:
    tree = ast.parse("from torch import load as fetch\nimport pickle as p\nfetch(1)\np.loads(2)")
    assert [name for name, _ in called(tree)] == ["torch.load", "pickle.loads"]
