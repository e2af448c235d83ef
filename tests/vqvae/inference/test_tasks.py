import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vqvae.data.rights import without_rights
from vqvae.errors import InputError
from vqvae.files import write_whole
from vqvae.inference.compress import scan_name
from vqvae.inference.tasks import CODED, SCANS, Failed, Plan, Task, plan_tasks, run_each, writing


def plan(out: Path, *inputs: Path) -> Plan:
    return plan_tasks(inputs, out, SCANS, lambda name: name)


def targets(found: Plan, out: Path) -> list[str]:
    return [task.target.relative_to(out).as_posix() for task in found.tasks]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    for name in ("real/p1/a.nii", "real/p2/a.nii.gz", "in/p0/a.nii"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def test_linked_patients_are_found_and_loops_survived(here: Path) -> None:
    for patient in ("p1", "p2"):
        (here / "in" / patient).symlink_to(here / "real" / patient)
    (here / "in" / "p1" / "loop").symlink_to(here / "in")

    found = plan(here / "out", here / "in")

    assert targets(found, here / "out") == ["p0/a.nii", "p1/a.nii", "p2/a.nii.gz"]
    assert found.failed == []
    assert found.notes == [f"{here}/in/p1/loop: leads to {here}/in, which is read already"]


def test_of_several_inputs_one_that_is_wrong_is_named_and_the_others_are_done(here: Path) -> None:
    (here / "notes.txt").touch()
    (here / "empty").mkdir()
    (here / "in" / "p0" / "B.NII").touch()
    (here / "in" / "p0" / "c.img").touch()

    found = plan(here / "out", here / "notes.txt", here / "in", here / "empty", here / "absent")

    assert targets(found, here / "out") == ["p0/B.NII", "p0/a.nii"]
    assert [one.reason for one in found.failed] == [
        f"{here}/notes.txt: not a scan; its name should end in .nii or .nii.gz",
        f"{here}/empty: no file in it ends in .nii or .nii.gz",
        f"{here}/absent: no such file or folder",
    ]
    assert found.notes == [f"{here}/in/p0: 1 .img file not read; convert to .nii.gz what is a scan"]


def test_two_names_of_one_file_are_two_inputs(here: Path) -> None:
    for name in ("x.nii", "y.nii"):
        (here / "in" / name).symlink_to(here / "real" / "p1" / "a.nii")

    found = plan(here / "out", here / "in")

    assert targets(found, here / "out") == ["p0/a.nii", "x.nii", "y.nii"]


def test_links_to_nothing_are_named_and_the_rest_is_found(here: Path) -> None:
    (here / "in" / "dead.nii").symlink_to("/nowhere/x.nii")
    (here / "in" / "self").symlink_to("self")

    found = plan(here / "out", here / "in")

    assert targets(found, here / "out") == ["p0/a.nii"]
    assert [one.reason for one in found.failed] == [
        f"{here}/in/dead.nii: a link to /nowhere/x.nii, which does not exist",
        f"{here}/in/self: a link to self, which cannot be read (Too many levels of symbolic links)",
    ]
    with pytest.raises(InputError, match=r"dead\.nii: a link to /nowhere/x\.nii, which leads now"):
        plan(here / "out", here / "in" / "dead.nii")


def test_earlier_results_are_not_inputs_whatever_leads_to_them(here: Path) -> None:
    out = here / "in" / "out"
    out.mkdir()
    for name in ("a.nii", "b.nii"):
        (out / name).touch()
    (here / "in" / "z").symlink_to(out)

    found = plan(out, here / "in")
    assert targets(found, out) == ["p0/a.nii"]
    assert found.notes[-1] == f"{out}: 2 files are not read, because results are written there"

    (here / "in" / "p0" / "a.nii").unlink()
    with pytest.raises(InputError, match=f"all its files are in {out}, where results are written"):
        plan(out, here / "in")
    (here / "in" / "p0" / "a.nii").touch()

    elsewhere = plan(here / "real", here / "in")
    assert targets(elsewhere, here / "real") == ["out/a.nii", "out/b.nii", "p0/a.nii"]
    (here / "in" / "real").symlink_to(here / "real")
    assert targets(plan(here / "real", here / "in"), here / "real") == targets(
        elsewhere, here / "real"
    )


def test_a_file_given_twice_is_done_once(here: Path) -> None:
    scan = here / "in" / "p0" / "a.nii"
    (here / "link").symlink_to(here / "in")

    found = plan(here / "out", scan, here / "in" / "p0", here / "link" / "p0" / "a.nii")

    assert found.tasks == [Task(scan, here / "out" / "a.nii")]


def test_two_files_for_one_target_are_refused(here: Path) -> None:
    with pytest.raises(InputError, match=r"p1/a\.nii and .*p0/a\.nii would both be written to .*"):
        plan(here / "out", here / "in" / "p0", here / "real" / "p1")


def test_no_input_is_overwritten_by_the_result_of_another(here: Path) -> None:
    (here / "in" / "a.nii").symlink_to(here / "real" / "p1" / "a.nii")
    (here / "out").symlink_to(here / "real")
    (here / "in" / "p1").mkdir()
    (here / "in" / "p1" / "a.nii").touch()

    with pytest.raises(InputError, match=r"in/a\.nii: --out .*out would overwrite it"):
        plan(here / "out", here / "in")


def test_a_folder_with_the_name_of_a_scan_is_a_folder(here: Path) -> None:
    (here / "in" / "x.nii").mkdir()
    (here / "in" / "x.nii" / "y.nii").touch()
    (here / "in" / "z.nii").mkdir()
    (here / "in" / "z.nii" / "z.nii").touch()

    out = here / "out"
    assert targets(plan(out, here / "in"), out) == ["p0/a.nii", "x.nii/y.nii", "z.nii"]
    assert targets(plan(out, here / "in" / "x.nii"), out) == ["y.nii"]
    assert targets(plan(out, here / "in" / "z.nii"), out) == ["z.nii"]


def test_a_file_of_codes_with_another_name_stops_no_other(tmp_path: Path) -> None:
    for name in ("a.nii.vqc", "b.vqc"):
        (tmp_path / name).touch()

    found = plan_tasks([tmp_path], tmp_path / "out", CODED, scan_name)

    assert targets(found, tmp_path / "out") == ["a.nii"]
    message = "b.vqc: rename it to end in .nii.vqc or .nii.gz.vqc"
    assert [one.reason for one in found.failed] == [f"{tmp_path}/{message}"]


NAMES = st.builds(
    lambda name, suffix: name + suffix,
    st.text("ab .$[é語\udcfc\n\\", min_size=1, max_size=5).filter(lambda name: name.strip(".")),
    st.sampled_from([".nii", ".nii.gz", ".txt", ""]),
)
FOLDERS = 4


@dataclass(frozen=True)
class GivenFile:
    """A file or a link in one of the folders, which are numbered."""

    folder: int
    name: str
    content: str
    """`good`, `bad` (refused), `closed` (to everyone), or the number of a folder, the name of a
    file beside it, or `nothing`, for a link."""


@dataclass(frozen=True)
class Tree:
    """Folders, of which each is in an earlier one, with their modes and what is in them.

    The last one is elsewhere: only links lead to it.
    """

    parents: tuple[int, ...]
    modes: tuple[int, ...]
    entries: tuple[GivenFile, ...]


CONTENTS = [*["good"] * 4, "bad", "closed", "nothing", "self", *"0123", "3", "3"]
TREES = st.builds(
    Tree,
    st.tuples(*(st.integers(0, max(0, at - 1)) for at in range(FOLDERS))),
    st.tuples(
        st.just(0o755), *[st.sampled_from([0o755, 0o755, 0o000, 0o311, 0o644])] * (FOLDERS - 1)
    ),
    st.lists(
        st.builds(GivenFile, st.integers(0, FOLDERS - 1), NAMES, st.sampled_from(CONTENTS)),
        max_size=8,
        unique_by=lambda entry: (entry.folder, entry.name),
    ).map(tuple),
)


def written(tree: Tree, top: Path) -> list[Path]:
    """Write a tree below `top`; return its folders. Closed ones are closed by `close`."""
    folders = [top / "in"]
    for at in range(1, FOLDERS - 1):
        folders.append(folders[tree.parents[at]] / f"folder{at}")
    folders.append(top / "elsewhere")
    for folder in folders:
        folder.mkdir()
    for entry in tree.entries:
        path = folders[entry.folder] / entry.name
        match entry.content:
            case "good" | "bad" | "closed":
                path.write_text(entry.content)
                path.chmod(0o000 if entry.content == "closed" else 0o644)
            case "nothing" | "self":
                path.symlink_to("nowhere" if entry.content == "nothing" else path.name)
            case number:
                path.symlink_to(folders[int(number)])
    return folders


def copied(task: Task) -> Path:
    """What a command does with a file: it is read, and may be refused, or a result is written."""
    content = task.source.read_bytes()
    if content != b"good":
        raise InputError(f"{task.source}: bad")
    with writing(task, task.target):
        write_whole(task.target, content)
    return task.target


def ways_to(entry: GivenFile, tree: Tree, folders: list[Path]) -> Iterator[Path]:
    """The paths at which a file can be found in the first folder."""
    if entry.folder < FOLDERS - 1:
        yield folders[entry.folder] / entry.name
        return
    for link in tree.entries:
        hidden = link.name.startswith(".")
        if link.content == str(entry.folder) and link.folder != entry.folder and not hidden:
            yield folders[link.folder] / link.name / entry.name


def is_named(path: Path, lines: list[str]) -> bool:
    """Whether a line begins with a path, or with that of a folder above it."""
    return any(line.startswith(f"{part}: ") for part in (path, *path.parents) for line in lines)


@given(tree=TREES)
@settings(max_examples=150, deadline=None)
def test_each_file_of_any_tree_is_done_or_named(tree: Tree) -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name).resolve()
        folders = written(tree, top)
        (top / "out").mkdir()
        for path in (top, top / "out"):
            path.chmod(0o777)
        for folder, mode in zip(folders, tree.modes, strict=True):
            folder.chmod(mode)
        with without_rights():
            try:
                found = plan(top / "out", top / "in")
            except InputError as error:
                assert str(error) == f"{top}/in: no file in it ends in .nii or .nii.gz"  # noqa: PT017
                found = Plan()
            results = list(run_each(found.tasks, copied))
        for folder in folders:
            folder.chmod(0o755)

        lines = [one.reason for one in (*found.failed, *results) if isinstance(one, Failed)]
        done = [
            (os.path.realpath(task.source.parent), task.source.name)
            for task, result in zip(found.tasks, results, strict=True)
            if result == task.target and task.target.read_bytes() == b"good"
        ]
        named = [*lines, *found.notes]
        for entry in filter(lambda entry: SCANS.matches(entry.name), tree.entries):
            path = folders[entry.folder] / entry.name
            ways = list(ways_to(entry, tree, folders))
            if entry.content == "good" and (str(path.parent), path.name) in done:
                continue
            # A link to a folder may have the name of a scan; it is no scan.
            if not entry.content.isdigit():
                assert all(is_named(way, named) for way in ways), (ways, named)
        assert len({task.target for task in found.tasks}) == len(found.tasks)
