"""Run one input through a program's entry point, in this process or in a new one, and check it.

Every input must end with status 0 or with status 2 and an error of one line; nothing may be left
behind by an error, nor be written outside the input's folder.
"""

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
# Progress lines on standard error, which are not errors.
_PROGRESS = re.compile(r"(decoding|reading|importing|looking for) [a-z ]+: \d+")


class TooLongError(BaseException):
    """A command ran for too long; no `except Exception` of the command can catch this."""


class ViolationError(AssertionError):
    """A command did not behave as every command must."""


@dataclass(frozen=True)
class Answer:
    """The result of a command."""

    status: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines on standard error, without progress."""
        return [line for line in self.err.splitlines() if not _PROGRESS.fullmatch(line)]


def attempt(case: Case, shared: Path, *, process: bool = False) -> Answer:
    """Run one input in a folder of its own, and check the result.

    Raises:
        ViolationError: the command did not behave as every command must.
    """
    outer = Path(tempfile.mkdtemp(dir=shared, prefix="try-"))
    for name in ("trained", "cache"):
        (outer / name).symlink_to(shared / name)
    folder = outer / case.folder
    folder.mkdir()
    try:
        _prepare(case, shared, folder)
        before = _tree(folder)
        outside = _names(shared, outer)
        run = _as_process if process else _in_this_process
        answer = run(case, folder)
        _check(case, answer, folder, before)
        now = _names(shared, outer)
        _require(now == outside, "something was written outside the folder", answer)
        return answer
    finally:
        shutil.rmtree(outer, ignore_errors=True)


def _prepare(case: Case, shared: Path, folder: Path) -> None:
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


def _check(case: Case, answer: Answer, folder: Path, before: set[str]) -> None:
    _require("Traceback" not in answer.err, "a traceback was printed", answer)
    printable = _is_printable(answer.out) and _is_printable(answer.err)
    _require(printable, "characters that are not printable were printed", answer)
    _require(answer.status in {0, 2}, f"status {answer.status}", answer)
    if answer.status == 0:
        _require(case.expect != "refused", "an invalid input was accepted", answer)
        _require(not answer.errors, "an error was printed, but the status is 0", answer)
        _require(case.output in answer.out, f"{case.output!r} was not printed", answer)
        missing = [name for name in case.made if not (folder / name).exists()]
        _require(not missing, f"{missing} was not created", answer)
        return
    _require(case.expect != "succeeds", "a valid input was refused", answer)
    _require(len(answer.errors) == 1, "the error is not one line", answer)
    line = answer.errors[0]
    longest = 1200 if case.encoding.startswith("utf") else 12_000  # with escapes
    _require(len(line) < longest, "the error is too long to be read", answer)
    named = not case.named or any(word in line for word in case.named)
    _require(named, "the error does not name what is wrong", answer)
    left = _tree(folder) - before
    _require(not left, f"{sorted(left)[:3]} left behind", answer)


def _require(condition: bool, violation: str, answer: Answer) -> None:
    if not condition:
        result = f"status {answer.status}, out {answer.out[-300:]!r}, err {answer.err[-1500:]!r}"
        raise ViolationError(f"{violation}: {result}")


def _is_printable(text: str) -> bool:
    return all(c.isprintable() or c == "\n" for c in text)


def _tree(folder: Path) -> set[str]:
    return {
        str(Path(parent, name).relative_to(folder))
        for parent, folders, names in os.walk(folder)
        for name in (*folders, *names)
    }


def _names(shared: Path, outer: Path) -> set[str]:
    names = {path.name for path in shared.iterdir() if not path.name.startswith("try-")}
    names |= {path.name for folder in (shared / "runs", outer) for path in folder.iterdir()}
    # A configuration may name another cache than the given one.
    return {name for name in names if not name.startswith("cache")}


def _environment(case: Case, folder: Path) -> dict[str, str]:
    """Environment variables: without SLURM's commands, so that no job can be submitted."""
    kept = {key: os.environ[key] for key in ("HOME", "LANG", "LC_ALL") if key in os.environ}
    return kept | {
        "PATH": "/nonexistent",
        "PYTHONPATH": str(ROOT),
        "XDG_CACHE_HOME": str(folder.parent / "cache"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": str(case.columns),
        "PYTHONIOENCODING": case.encoding,
        "PYTHONUTF8": "1",
    }


def _as_process(case: Case, folder: Path) -> Answer:
    def limit_memory() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (4 * 2**30, 4 * 2**30))

    done = subprocess.run(
        [sys.executable, "-m", case.program, *(_encoded(word) for word in case.arguments)],
        cwd=folder,
        env=_environment(case, folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        preexec_fn=limit_memory,
        check=False,
    )
    return Answer(done.returncode, _decoded(done.stdout, case), _decoded(done.stderr, case))


def _encoded(word: str) -> str:
    return word.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def _in_this_process(case: Case, folder: Path) -> Answer:
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with _inside(case, folder), _captured(folder.parent.parent, case.encoding) as (out, err):
        status = _call(case)
    answer = Answer(status, _decoded(_bytes(out), case), _decoded(_bytes(err), case))
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory)
    _require(grown < MOST_MEMORY, f"{grown / 2**30:.1f} GiB of memory were used", answer)
    return answer


def _call(case: Case) -> int:
    """Call the entry point, and return its exit status."""
    import sweeps.cli.main
    import vqvae.cli.main

    with _limited(), _default_warnings():
        try:
            if case.program == "sweeps":
                sys.argv = ["sweeps", *case.arguments]
                sweeps.cli.main.main()
            else:
                vqvae.cli.main.main(list(case.arguments))
        except SystemExit as end:
            return int(end.code or 0) if isinstance(end.code, int | None) else 1
        except TooLongError:
            print("Traceback: the command took too long", file=sys.stderr)
            return 124
        except BaseException as error:  # noqa: BLE001 (any exception is a violation)
            print(f"Traceback: {error!r}", file=sys.stderr)
            return 125
    return 0


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """Raise TooLongError in the block after LIMIT_SECONDS."""

    def expire(*_: object) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _default_warnings() -> Iterator[None]:
    """Show warnings as a new process with default settings does."""
    with warnings.catch_warnings():
        warnings.resetwarnings()
        warnings.simplefilter("always")
        for hidden in (DeprecationWarning, PendingDeprecationWarning, ImportWarning):
            warnings.simplefilter("ignore", hidden)
        warnings.simplefilter("ignore", ResourceWarning)
        yield


@contextlib.contextmanager
def _inside(case: Case, folder: Path) -> Iterator[None]:
    """Run the block in `folder` with the environment of a new process."""
    cwd, argv, path = Path.cwd(), sys.argv, list(sys.path)
    environment = dict(os.environ)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(_environment(case, folder))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(cwd)
        sys.argv, sys.path[:] = argv, path


@contextlib.contextmanager
def _captured(folder: Path, encoding: str) -> Iterator[tuple[int, int]]:
    """Capture both outputs as file descriptors: loggers and C code do not write to `sys.stderr`."""
    streams = sys.stdout, sys.stderr
    for stream in streams:
        stream.flush()
    originals = os.dup(1), os.dup(2)
    files = [tempfile.TemporaryFile(dir=folder, prefix="try-") for _ in range(2)]  # noqa: SIM115
    for number, file in enumerate(files, 1):
        os.dup2(file.fileno(), number)
    numbers = os.dup(files[0].fileno()), os.dup(files[1].fileno())
    sys.stdout = open(1, "w", encoding=encoding, errors="strict", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding=encoding, errors="backslashreplace", closefd=False)  # noqa: SIM115
    try:
        yield numbers
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = streams
        for number, old in enumerate(originals, 1):
            os.dup2(old, number)
            os.close(old)
        for file in files:
            file.close()


def _bytes(number: int) -> bytes:
    with os.fdopen(number, "rb") as file:
        file.seek(0)
        return file.read()


def _decoded(content: bytes, case: Case) -> str:
    try:
        return content.decode(case.encoding)
    except UnicodeDecodeError:
        text = content.decode("utf-8", "backslashreplace")
        violation = f"the output is not {case.encoding}"
        _require(False, violation, Answer(0, "", text))
        raise
