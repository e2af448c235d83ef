"""A few generated inputs, and each input that was once handled wrongly. `make fuzz` runs more."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz import material
from tests.fuzz.case import Case
from tests.fuzz.drive import ViolationError, attempt
from tests.fuzz.kinds import cases
from tests.fuzz.nifti import BOMB, bomb
from tests.fuzz.toml import CLUSTERS, EXPERIMENT, HUGE, written

INPUTS = 60
pytestmark = pytest.mark.xdist_group("fuzz")  # one process, so that the material is made once


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    material.make(folder)
    return folder


@settings(
    max_examples=INPUTS,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(case=cases())
def test_any_input_is_processed_or_refused_in_one_line(shared: Path, case: Case) -> None:
    attempt(case, shared)


def experiment(**changes: object) -> bytes:
    tables = {
        "name": "small",
        "trials": 3,
        "trainer": "tests.sweeps.tiny:trainer",
        "objective": {"metric": "val/score"},
        "space": {"training.batch_size": [4, 16]},
    }
    return written(tables | changes).encode()


def planned(content: bytes, expect: str = "refused", cluster: bytes = b"", name: str = "") -> Case:
    files = {"given.toml": content}
    if cluster:
        files["experiments/clusters/given.toml"] = cluster
    named = ("given",) if expect == "refused" else ()
    line = ("plan", "given.toml", "--cluster", name or ("given" if cluster else "here"))
    return Case("found before", "sweeps", line, files, expect, named)


def scanned(content: bytes | str | None, command: str = "reconstruct", name: str = "s.nii") -> Case:
    line = (command, f"in/{name}", "--model", "../trained", "--out", "out", "--device", "cpu")
    return Case("found before", "vqvae", line, {f"in/{name}": content}, "refused", ("in/",))


NESTED = b"x = " + b"[" * 5000
FOUND = {
    "a whole number of more than 64 bits": planned(experiment(trials=10**400)),
    "a number that Python reads and cannot write": planned(experiment(trials=HUGE)),
    "a number with more digits than Python reads": planned(b"trials = 1" + b"0" * 6000),
    "brackets without an end": planned(NESTED),
    "a list for true or false": planned(
        experiment(space={"training.learning_rate": {"low": 0.1, "high": 1.0, "log": [1]}})
    ),
    "a seed beyond NumPy's": planned(experiment(sampler={"seed": 2**32})),
    "a seed that trials made larger": planned(experiment(sampler={"seed": 2**32 - 1}), "succeeds"),
    "a byte order mark": planned(b"\xef\xbb\xbf" + experiment(), "succeeds"),
    "an escape sequence in a name": planned(experiment(name="\x1b[31mred")),
    "a cluster of SLURM without SLURM": planned(
        EXPERIMENT, cluster=CLUSTERS[0].read_bytes().replace(b'"local"', b'"slurm"')
    ),
    "a line of shell in a partition": planned(
        EXPERIMENT, cluster=b'scheduler = "slurm"\npartition = "a\\ntouch pwned"\n'
    ),
    "a #SBATCH hidden in a set-up line": planned(
        EXPERIMENT, cluster=b'setup = ["true\\n#SBATCH --mem=1"]\n'
    ),
    "a name longer than any file's": Case(
        "found before", "sweeps", ("plan", "x" * 300), expect="refused"
    ),
    "a sweep outside the runs": Case(
        "found before", "sweeps", ("stop", "../tiny.toml"), expect="refused"
    ),
    "an unknown option": Case(
        "found before", "sweeps", ("run", "--nothing"), expect="refused", named=("--nothing",)
    ),
    "an invalid value of an option": Case(
        "found before", "vqvae", ("evaluate", "--model", "m", "--device", "x"), expect="refused"
    ),
    "a pipe for an experiment": Case(
        "found before", "sweeps", ("plan", "given.toml"), {"given.toml": None}, "refused"
    ),
    "a trainer that raises while it is imported": Case(
        "found before",
        *("sweeps", ("plan", "given.toml", "--cluster", "here")),
        {"given.toml": experiment(trainer="raising:x"), "raising.py": b"raise RuntimeError(1)\n"},
        *("refused", ("raising:x",)),
    ),
    "a pipe for a scan": scanned(None),
    "a device for a scan": scanned("/dev/zero"),
    "a bomb that claims little": scanned(BOMB, name="s.nii.gz"),
    "a bomb that claims terabytes": scanned(bomb((60000, 60000, 6000), 0), name="s.nii.gz"),
    "a truncated scan": scanned(bomb((4000, 4000, 10), 0), "encode"),
}


@pytest.mark.parametrize("what", FOUND)
def test_inputs_that_were_once_handled_wrongly(shared: Path, what: str) -> None:
    attempt(FOUND[what], shared)


def test_some_inputs_in_a_process_of_their_own(shared: Path) -> None:
    for what in ("a whole number of more than 64 bits", "a bomb that claims little"):
        attempt(FOUND[what], shared, process=True)


def test_violations_are_found(shared: Path) -> None:
    with pytest.raises(ViolationError, match="a valid input was refused"):
        attempt(planned(b"trials = 3", "succeeds"), shared)
    with pytest.raises(ViolationError, match="an invalid input was accepted"):
        attempt(planned(experiment()), shared)
    bad = planned(b"trials = 3")
    with pytest.raises(ViolationError, match="the error does not name what is wrong"):
        attempt(Case(bad.kind, bad.program, bad.arguments, bad.files, named=("nowhere",)), shared)


def test_the_process_and_the_folder_are_restored(shared: Path) -> None:
    before = Path.cwd()
    attempt(planned(experiment(), "succeeds"), shared)
    assert Path.cwd() == before
    assert list(shared.glob("try-*")) == []
