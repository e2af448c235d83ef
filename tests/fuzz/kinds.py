"""All kinds of input, with the shares in which they are generated."""

from dataclasses import replace

from hypothesis import strategies as st

from tests.fuzz import lines, nifti, toml
from tests.fuzz.case import Case
from tests.fuzz.text import encodings, folder_names, widths

_SHARES: tuple[tuple[int, st.SearchStrategy[Case]], ...] = (
    (2, toml.valid_experiments()),
    (5, toml.bad_experiments()),
    (1, toml.runs()),
    (1, toml.valid_clusters()),
    (3, toml.bad_clusters()),
    (2, toml.configs()),
    (1, nifti.valid_scans()),
    (4, nifti.bad_scans()),
    (2, nifti.coded()),
    (2, nifti.checks()),
    (2, nifti.imports()),
    (2, lines.missing_sweeps()),
    (1, lines.existing_sweeps()),
    (2, lines.wrong()),
    (2, lines.values()),
    (2, lines.model_values()),
)

_kinds = st.sampled_from([kind for share, kind in _SHARES for _ in range(share)])


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """An input of any kind, in a folder of any name, with outputs of any encoding and width."""
    return replace(
        draw(draw(_kinds)),
        folder=draw(folder_names),
        encoding=draw(encodings),
        columns=draw(widths),
    )
