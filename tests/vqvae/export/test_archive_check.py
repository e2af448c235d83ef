"""Files that make torch execute code when it opens them: each does so, and each is refused."""

import contextlib
import hashlib
import io
import json
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.export import Dim

from tests.vqvae.export.unknown_names import assert_known
from tests.vqvae.model.test_vqvae import make
from vqvae.errors import InputError
from vqvae.export import programs
from vqvae.export.package import MANIFEST, open_package
from vqvae.export.programs import DECODE, NAMES, RECONSTRUCT, programs_of

pytestmark = pytest.mark.xdist_group("package")

ROOT = "archive/"
GRAPH, EXAMPLES = "models/model.json", "data/sample_inputs/model.pt"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"

Records = dict[str, bytes]


class Touch:
    """An object that creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def read(path: Path) -> Records:
    with zipfile.ZipFile(path) as archive:
        return {name.removeprefix(ROOT): archive.read(name) for name in archive.namelist()}


def packed(records: Records, how: int = zipfile.ZIP_STORED, root: str = ROOT) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as archive:
        for name, content in records.items():
            archive.writestr(root + name, content)
    return buffer.getvalue()


def with_program(package: Path, folder: Path, content: bytes, name: str = RECONSTRUCT) -> Path:
    """A copy of a package with another program and the right digest in `package.json`."""
    shutil.copytree(package, folder)
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["programs"][name] = hashlib.sha256(content).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def changed(content: bytes, change: Callable[[Any], None]) -> bytes:
    found = json.loads(content)
    change(found)
    return json.dumps(found).encode()


def pickled(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def weights(records: Records, mark: Path) -> None:
    def change(found: Any) -> None:
        entry = next(iter(found["config"].values()))
        entry["use_pickle"] = True
        records[f"data/weights/{entry['path_name']}"] = pickled(Touch(mark))

    records[WEIGHTS] = changed(records[WEIGHTS], change)


def constant(name: str, content: Callable[[Path], bytes]) -> Callable[[Records, Path], None]:
    def spoil(records: Records, mark: Path) -> None:
        meta = {"path_name": name, "is_param": False, "use_pickle": True, "tensor_meta": None}
        records[CONSTANTS] = json.dumps({"config": {"c": meta}}).encode()
        records[f"data/constants/{name}"] = content(mark)

    return spoil


def legacy_constants(records: Records, mark: Path) -> None:
    records["data/constants/model.pt"] = pickled(Touch(mark))


def legacy_weights(records: Records, mark: Path) -> None:
    records["data/weights/model.pt"] = pickled(Touch(mark))


def examples(records: Records, mark: Path) -> None:
    records[EXAMPLES] = pickled(Touch(mark))


def nodes(found: Any) -> Any:
    return found["graph_module"]["graph"]["nodes"]


def expression(records: Records, mark: Path) -> None:
    def change(found: Any) -> None:
        values = found["graph_module"]["graph"]["sym_int_values"]
        first = next(value for value in values.values() if "as_expr" in value)
        first["as_expr"]["expr_str"] = f"__import__('pathlib').Path('{mark}').touch()"

    records[GRAPH] = changed(records[GRAPH], change)


def guard(records: Records, mark: Path) -> None:
    line = f"__import__('pathlib').Path('{mark}').touch() or L['images'].size()[0] > 0"
    records[GRAPH] = changed(records[GRAPH], lambda found: found.update(guards_code=[line]))
    records[EXAMPLES] = pickled(((torch.rand(2, 1, 24, 20),), {}))


def container(records: Records, mark: Path) -> None:
    (mark.parent / "module_that_marks.py").write_text(
        f"import pathlib\npathlib.Path('{mark}').touch()\nfactory = list\n"
    )
    context = {
        "default_factory_module": "module_that_marks",
        "default_factory_name": "factory",
        "dict_context": [],
    }
    leaf = {"type": "collections.defaultdict", "context": context, "children_spec": []}

    def change(found: Any) -> None:
        signature = found["graph_module"]["module_call_graph"][0]["signature"]
        signature["out_spec"] = json.dumps([1, leaf])

    records[GRAPH] = changed(records[GRAPH], change)


PLACES = {
    "weights": weights,
    "constant": constant("tensor_0", lambda mark: pickled(Touch(mark))),
    "opaque object": constant("opaque_obj_0", lambda mark: pickle.dumps(Touch(mark))),
    "constants of old": legacy_constants,
    "weights of old": legacy_weights,
    "example inputs": examples,
    "size expression": expression,
    "guard": guard,
    "container": container,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("place", PLACES)
def test_a_file_that_runs_code_when_torch_opens_it_is_refused(
    package: Path, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    mark, records = tmp_path / "mark", read(package / RECONSTRUCT)
    PLACES[place](records, mark)
    content = packed(records)
    with contextlib.suppress(Exception):
        program = torch.export.load(io.BytesIO(content)).module()
        program(torch.rand(2, 1, 24, 20))
    assert mark.exists(), "torch itself does not run this: it shows nothing"
    mark.unlink()

    with pytest.raises(InputError, match=r"model\.pt2: refused before it was opened: "):
        open_package(with_program(package, tmp_path / "p", content))
    assert not mark.exists()


@pytest.mark.parametrize(
    "name",
    [
        "data/aotinductor/model/model.so",
        "data/constants/custom_obj_0",
        "data/weights/weight_0.so",
        "models/other.json",
        "extra/notes.txt",
        "../escape",
    ],
)
def test_a_record_that_no_program_has_is_refused(package: Path, tmp_path: Path, name: str) -> None:
    records = read(package / DECODE) | {name: b"\x7fELF"}

    with pytest.raises(InputError, match="which no program of this package does"):
        open_package(with_program(package, tmp_path / "p", packed(records), DECODE))


def call(found: Any) -> None:
    nodes(found)[0]["target"] = "torch.os.system"


def metadata(found: Any) -> None:
    nodes(found)[0]["metadata"] = {"source_fn_stack": "f,torch.os.system"}


def argument(found: Any) -> None:
    nodes(found)[0]["inputs"][0]["arg"] = {"as_operator": "torch.os.system"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (call, "target 'torch.os.system' is in no program of this package"),
        (metadata, "'metadata' is not empty"),
        (argument, "'as_operator' is not a key of any program of this package"),
        (lambda found: found.update(guards_code=["True"]), "'guards_code' is not empty"),
        (lambda found: found.update(range_constraints={"x();y": 0}), "is not a key of any program"),
        (lambda found: found.update(opset_version={"aten": 2**60}), "is larger than in any"),
    ],
)
def test_a_graph_with_a_name_that_no_program_has_is_refused(
    package: Path, tmp_path: Path, change: Callable[[Any], None], message: str
) -> None:
    records = read(package / DECODE)
    records[GRAPH] = changed(records[GRAPH], change)

    with pytest.raises(InputError, match=message):
        open_package(with_program(package, tmp_path / "p", packed(records), DECODE))


def test_a_size_expression_is_refused_at_once(package: Path, tmp_path: Path) -> None:
    def call_it(found: Any) -> None:
        found["range_constraints"] = {"s0": {"expr_str": "1" * 60 + "!"}}

    records = read(package / DECODE)
    records[GRAPH] = changed(records[GRAPH], call_it)
    hostile = with_program(package, tmp_path / "p", packed(records), DECODE)
    code = (
        "import sys, pathlib, vqvae.export.archive_check as archive\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "archive.checked(path.read_bytes(), path)"
    )

    # A match that backtracks over every way of splitting the digits would take years.
    done = subprocess.run(
        [sys.executable, "-c", code, str(hostile / DECODE)], capture_output=True, timeout=100
    )

    assert b"expr_str" in done.stderr


def larger(records: Records, number: int) -> None:
    def change(found: Any) -> None:
        next(iter(found["config"].values()))["tensor_meta"]["sizes"][0]["as_int"] = number

    records[WEIGHTS] = changed(records[WEIGHTS], change)


@pytest.mark.parametrize("number", [0, 10**6, 10**30, -1, "1", None])
def test_a_tensor_larger_than_its_record_is_not_allocated(
    package: Path, tmp_path: Path, number: Any
) -> None:
    records = read(package / DECODE)
    larger(records, number)

    with pytest.raises(InputError, match="refused"):
        open_package(with_program(package, tmp_path / "p", packed(records), DECODE))


def test_a_compressed_record_is_refused_unread(package: Path, tmp_path: Path) -> None:
    records = read(package / DECODE) | {"data/weights/weight_999": bytes(50_000_000)}
    content = packed(records, zipfile.ZIP_DEFLATED)
    assert len(content) < 200_000

    with pytest.raises(InputError, match="is compressed or encrypted; torch writes it plain"):
        open_package(with_program(package, tmp_path / "p", content, DECODE))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda records: records.pop(WEIGHTS), "it has no data/weights/model_weights_config.json"),
        (lambda records: records.update({GRAPH: b"[" * 100_000}), "refused"),
        (lambda records: records.update({GRAPH: b"{"}), "refused"),
        (lambda records: records.update({WEIGHTS: b"[]"}), "refused"),
        (lambda records: records.update({"byteorder": b"big"}), "'byteorder' does not hold"),
        (lambda records: records.update({"archive_format": b"aoti"}), "'archive_format' does not"),
    ],
)
def test_a_record_that_is_missing_or_not_as_torch_writes_it_is_refused(
    package: Path, tmp_path: Path, change: Callable[[Records], None], message: str
) -> None:
    records = read(package / DECODE)
    change(records)

    with pytest.raises(InputError, match=message):
        open_package(with_program(package, tmp_path / "p", packed(records), DECODE))


def test_an_archive_of_the_old_format_is_refused(package: Path, tmp_path: Path) -> None:
    content = packed(
        {"version": b"8.20", "serialized_exported_program.json": b"{}"}
        | {f"serialized_{part}.pt": b"" for part in ("state_dict", "constants", "example_inputs")},
        root="",
    )

    with pytest.raises(InputError, match="refused before it was opened: it holds 'version'"):
        open_package(with_program(package, tmp_path / "p", content))


@pytest.mark.parametrize("keep", [0, 10, 5000, -1])
def test_a_truncated_file_is_refused(package: Path, tmp_path: Path, keep: int) -> None:
    content = (package / RECONSTRUCT).read_bytes()[:keep]

    with pytest.raises(InputError, match=r"model\.pt2: refused"):
        open_package(with_program(package, tmp_path / "p", content))


def test_an_inconsistent_graph_gives_an_error_of_one_line(package: Path, tmp_path: Path) -> None:
    records = read(package / DECODE)
    records[GRAPH] = changed(records[GRAPH], lambda found: nodes(found).pop(0))

    opened = open_package(with_program(package, tmp_path / "p", packed(records), DECODE))
    with pytest.raises(InputError, match=r"decode\.pt2: torch .* cannot open it: "):
        opened.decode(torch.zeros(1, 3, 3, dtype=torch.int64), 12, 12)


def test_all_names_that_the_installed_torch_writes_are_known(package: Path) -> None:
    """This can fail after an upgrade of torch; docs/exported-programs.md says what to do."""
    assert_known({name: (package / name).read_bytes() for name in NAMES})
    assert_known(programs_of(make(stride=16, codebook="gradient", residual_blocks=0)))


class Erf(torch.nn.Module):
    """A module with an operator that no program of this package has."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.erf()


def test_an_unknown_operator_is_named_in_one_line() -> None:
    axes = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    content = programs._written(Erf(), torch.zeros(2, 1, 24, 20), axes)

    with pytest.raises(AssertionError) as found:
        assert_known({RECONSTRUCT: content})

    assert str(found.value) == (
        f"torch {torch.__version__.partition('+')[0]} writes names that "
        "vqvae/export/archive_check.py does not know: operators aten.erf.default; "
        "see docs/exported-programs.md"
    )


def test_all_unknown_names_are_listed_at_once(package: Path) -> None:
    records = read(package / DECODE) | {"data/new/part": b""}

    def other_weights(found: Any) -> None:
        next(iter(found["config"].values()))["tensor_meta"]["zero_point"] = 0

    def other_graph(found: Any) -> None:
        nodes(found)[0]["target"] = "torch.ops.aten.foo.default"
        nodes(found)[0]["inputs"][0]["arg"] = {"as_bar": 1}
        found["guards_code"] = ["True"]

    records[GRAPH] = changed(records[GRAPH], other_graph)
    records[WEIGHTS] = changed(records[WEIGHTS], other_weights)

    expected = (
        r"does not know: operators aten\.foo\.default; arguments as_bar; "
        r"keys guards_code \(not empty\), zero_point of a weight; records data/new/part; see docs"
    )
    with pytest.raises(AssertionError, match=expected):
        assert_known({DECODE: packed(records)})
    with pytest.raises(AssertionError, match=r"writes what the list does not allow: .*'byteorder'"):
        assert_known({DECODE: packed(read(package / DECODE) | {"byteorder": b"big"})})
