"""One input through a program's entry point, in this process or as one, and what to hold it to."""

import contextlib
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.case import Case

LIMIT_SECONDS = 20.0
MOST_MEMORY = 1.5 * 2**30
ROOT = Path(__file__).parents[2]
CLUSTERS = {"here": 'scheduler = "local"\nworkers = 1\n', "away": 'scheduler = "slurm"\n'}
# What a log is told of long work; not a complaint.
_PROGRESS = re.compile(r"(decoding|reading|importing) [a-z ]+: \d+")


class TooLongError(BaseException):
    """An input that keeps a command for ever; no `except Exception` swallows it."""


class BrokenPromiseError(AssertionError):
    """An input after which something else happened than what is promised."""


@dataclass(frozen=True)
class Answer:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def complaint(self) -> list[str]:
        return [line for line in self.err.splitlines() if not _PROGRESS.fullmatch(line)]


def attempt(case: Case, shared: Path, *, process: bool = False) -> Answer:
    """Try one input in a folder of its own; raise where the promise is not kept."""
    folder = Path(tempfile.mkdtemp(dir=shared, prefix="try-"))
    try:
        _lay(case, shared, folder)
        before = _tree(folder)
        outside = _names(shared)
        run = _as_process if process else _in_this_process
        answer = run(case, folder)
        _judge(case, answer, folder, before)
        _hold(_names(shared) == outside, "something was written outside the folder", answer)
        return answer
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _lay(case: Case, shared: Path, folder: Path) -> None:
    clusters = folder / "experiments" / "clusters"
    clusters.mkdir(parents=True)
    for name, text in CLUSTERS.items():
        (clusters / f"{name}.toml").write_text(text)
    (folder / "runs").symlink_to(shared / "runs")
    if case.base in {"set", "volumes"}:
        shutil.copytree(shared / case.base, folder / case.base)
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() or path.exists():
            path.unlink()
        if content is None:
            os.mkfifo(path)
        elif isinstance(content, str):
            path.symlink_to(content)
        else:
            path.write_bytes(content)


def _judge(case: Case, answer: Answer, folder: Path, before: set[str]) -> None:
    _hold("Traceback" not in answer.err, "a traceback", answer)
    _hold(_prints(answer.out) and _prints(answer.err), "what does not print was printed", answer)
    _hold(answer.status in {0, 2}, f"status {answer.status}", answer)
    if answer.status == 0:
        _hold(case.expect != "refused", "it was taken", answer)
        _hold(not answer.complaint, "it was done, and complained of", answer)
        _hold(case.says in answer.out, f"it does not say {case.says!r}", answer)
        missing = [name for name in case.made if not (folder / name).exists()]
        _hold(not missing, f"{missing} was not made", answer)
        return
    _hold(case.expect != "succeeds", "a sound input was refused", answer)
    _hold(len(answer.complaint) == 1, "not one line", answer)
    line = answer.complaint[0]
    _hold(len(line) < 1200, "a line that nobody reads", answer)
    _hold(not case.named or any(word in line for word in case.named), "no thing named", answer)
    left = _tree(folder) - before
    _hold(not left, f"{sorted(left)[:3]} left behind", answer)


def _hold(kept: bool, what: str, answer: Answer) -> None:
    if not kept:
        said = f"status {answer.status}, out {answer.out[-300:]!r}, err {answer.err[-1500:]!r}"
        raise BrokenPromiseError(f"{what}: {said}")


def _prints(text: str) -> bool:
    return all(c.isprintable() or c == "\n" for c in text)


def _tree(folder: Path) -> set[str]:
    return {
        str(Path(place, name).relative_to(folder))
        for place, folders, names in os.walk(folder)
        for name in (*folders, *names)
    }


def _names(shared: Path) -> set[str]:
    names = {path.name for path in shared.iterdir() if not path.name.startswith("try-")}
    return names | {path.name for path in (shared / "runs").iterdir()}


def _environment(folder: Path) -> dict[str, str]:
    """Without SLURM's commands, so that nothing can be sent; with a folder for what is scratch."""
    kept = {key: os.environ[key] for key in ("HOME", "LANG", "LC_ALL") if key in os.environ}
    return kept | {
        "PATH": "/nonexistent",
        "PYTHONPATH": str(ROOT),
        "XDG_CACHE_HOME": str(folder.parent / "cache"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
    }


def _as_process(case: Case, folder: Path) -> Answer:
    def limit_memory() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (4 * 2**30, 4 * 2**30))

    done = subprocess.run(
        [sys.executable, "-m", case.program, *(_encoded(word) for word in case.arguments)],
        cwd=folder,
        env=_environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        preexec_fn=limit_memory,
        check=False,
    )
    out, err = (text.decode("utf-8", "backslashreplace") for text in (done.stdout, done.stderr))
    return Answer(done.returncode, out, err)


def _encoded(word: str) -> str:
    return word.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def _in_this_process(case: Case, folder: Path) -> Answer:
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with _standing_in(folder), _captured(folder.parent) as (out, err):
        status = _called(case)
    answer = Answer(status, _text(out), _text(err))
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory)
    _hold(grown < MOST_MEMORY, f"{grown / 2**30:.1f} GiB were taken", answer)
    return answer


def _called(case: Case) -> int:
    """The status with which the entry point ends."""
    import sweeps.cli.main
    import vqvae.cli.main

    with _limited(), _as_by_default():
        try:
            if case.program == "sweeps":
                sys.argv = ["sweeps", *case.arguments]
                sweeps.cli.main.main()
            else:
                vqvae.cli.main.main(list(case.arguments))
        except SystemExit as end:
            return int(end.code or 0) if isinstance(end.code, int | None) else 1
        except TooLongError:
            print("Traceback of what took too long", file=sys.stderr)
            return 124
        except BaseException as error:  # noqa: BLE001 (the promise is that there is none)
            print(f"Traceback: {error!r}", file=sys.stderr)
            return 125
    return 0


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _as_by_default() -> Iterator[None]:
    """Warnings as a person sees them, each time anew."""
    with warnings.catch_warnings():
        warnings.resetwarnings()
        warnings.simplefilter("always")
        for hidden in (DeprecationWarning, PendingDeprecationWarning, ImportWarning):
            warnings.simplefilter("ignore", hidden)
        warnings.simplefilter("ignore", ResourceWarning)
        yield


@contextlib.contextmanager
def _standing_in(folder: Path) -> Iterator[None]:
    where, line, path = Path.cwd(), sys.argv, list(sys.path)
    environment = dict(os.environ)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(_environment(folder))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(where)
        sys.argv, sys.path[:] = line, path


@contextlib.contextmanager
def _captured(folder: Path) -> Iterator[tuple[int, int]]:
    """Both outputs, by their numbers: loggers and C code write past `sys.stderr`."""
    ours = sys.stdout, sys.stderr
    for stream in ours:
        stream.flush()
    kept = os.dup(1), os.dup(2)
    files = [tempfile.TemporaryFile(dir=folder, prefix="try-") for _ in range(2)]  # noqa: SIM115
    for number, file in enumerate(files, 1):
        os.dup2(file.fileno(), number)
    numbers = os.dup(files[0].fileno()), os.dup(files[1].fileno())
    sys.stdout = open(1, "w", encoding="utf-8", errors="strict", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    try:
        yield numbers
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = ours
        for number, old in enumerate(kept, 1):
            os.dup2(old, number)
            os.close(old)
        for file in files:
            file.close()


def _text(number: int) -> str:
    with os.fdopen(number, "rb") as file:
        file.seek(0)
        return file.read().decode("utf-8", "backslashreplace")
