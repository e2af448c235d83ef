"""Grouping scans by patient: the pattern that finds a patient's name in a path."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from vqvae.data.importing.sources import File
from vqvae.errors import InputError

# Patterns of patient names. They are tried in this order, and the first that matches every file is
# used. They are matched with the path below the source, because some studies name folders, not
# files, after patients. A bare number is not guessed to be a patient: it may count scans, and then
# one patient could be in two splits without any sign of it.
GUESSES = (
    r"(?i)(?<![a-z])((?:patient|subject|case|sub)[-_ ]?\d+)",
    r"(?<![A-Za-z])(sub-[A-Za-z0-9]+)",
    r"(?i)(?:^|/)((?:pat|pt|p|id)[-_ ]?\d+)",
    r"(?i)(?:^|/)([a-z]+\d+)_week[-_ ]?\d+",  # B006_Week0_LFOV, as in the HipMRI study
)


@dataclass(frozen=True)
class Patients:
    """Files by patient.

    Attributes:
        pattern: the regular expression that finds the patient in a path.
        guessed: whether the pattern is one of `GUESSES`, not given by the user.
        files: the files of each patient, by name, both sorted. Names that differ only in case or in
            leading zeros are one patient, under the spelling that occurs first.
    """

    pattern: str
    guessed: bool
    files: dict[str, tuple[File, ...]]

    def cases(self) -> dict[str, int]:
        """The case number of each patient.

        It is the last number in the patient's name if these numbers are all different, else 1, 2
        and so on.
        """
        numbers = [re.findall(r"\d+", name) for name in self.files]
        own = [int(found[-1]) for found in numbers if found]
        kept = len(set(own)) == len(self.files)
        return dict(zip(self.files, own if kept else range(1, len(self.files) + 1), strict=True))


def group_by_patient(files: Sequence[File], pattern: str | None) -> Patients:
    """Group files by patient.

    Args:
        files: the result of `find_files`.
        pattern: a regular expression that is searched for in each file's path below its source. The
            patient's name is its group named `patient`, or else its first group, or else the whole
            match. None: guess the pattern.

    Raises:
        InputError: the pattern is not a regular expression, or does not match some file.
    """
    if pattern is None:
        return _guess(files)
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise InputError(f"--patient {pattern!r} is not a regular expression: {error}") from error
    names = [_name(expression, file.relative) for file in files]
    for file, name in zip(files, names, strict=True):
        if not name:
            raise InputError(
                f"--patient {pattern!r} finds no patient in {file.relative}; give a pattern that "
                "matches all files"
            )
    return _grouped(pattern, files, [name or "" for name in names], guessed=False)


def _guess(files: Sequence[File]) -> Patients:
    for pattern in GUESSES:
        names = [_name(re.compile(pattern), file.relative) for file in files]
        if all(names):
            return _grouped(pattern, files, [name or "" for name in names], guessed=True)
    raise InputError(
        f"no patient can be guessed from names like {files[0].relative}; give a regular expression "
        "with --patient, as in --patient '^([^_]+)'"
    )


def _name(expression: re.Pattern[str], text: str) -> str | None:
    match = expression.search(text)
    if match is None:
        return None
    if "patient" in expression.groupindex:
        return match["patient"]
    return match[1] if expression.groups else match[0]


def _grouped(
    pattern: str, files: Sequence[File], names: Sequence[str], *, guessed: bool
) -> Patients:
    groups: dict[str, list[File]] = defaultdict(list)
    first_spelling: dict[str, str] = {}
    for file, name in zip(files, names, strict=True):
        groups[first_spelling.setdefault(_normalized(name), name)].append(file)
    return Patients(pattern, guessed, {name: tuple(groups[name]) for name in sorted(groups)})


def _normalized(name: str) -> str:
    """The same text for all spellings of a patient.

    Otherwise `Case04` and `case4` could be in two splits without any sign of it.
    """
    return re.sub(r"\d+", lambda number: str(int(number[0])), name.casefold())
