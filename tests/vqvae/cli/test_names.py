from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from vqvae.cli.names import shorten_names

_ALIKE = st.builds(
    lambda start, middle, end: "sub-" * 9 + start + "_T2w" * 9 + middle + ".nii.gz" * 4 + end,
    *[st.text("abü語", max_size=4)] * 3,
)


@given(st.lists(_ALIKE | st.text("abü語", max_size=30), unique=True), st.integers(3, 80))
def test_names_fit_and_stay_different_or_stay_whole(names: list[str], width: int) -> None:
    found = shorten_names(names, width)

    assert len(set(found)) == len(names)
    assert found == names or all(cell_len(name) <= width for name in found)
    assert all(
        short == name for name, short in zip(names, found, strict=True) if cell_len(name) <= width
    )


def test_the_part_that_tells_names_apart_is_kept() -> None:
    last_differ = [f"sub-of-a-study_run-{run}_T2w.nii.gz" for run in (1, 2)]
    starts = [f"{week}-week-of-a-long-study-with-a-name.nii.gz" for week in (1, 2)]
    middles = ["a" * 20 + letter + "b" * 20 for letter in "xy"]

    assert shorten_names(last_differ, 21) == ["…udy_run-1_T2w.nii.gz", "…udy_run-2_T2w.nii.gz"]
    assert shorten_names(starts, 15) == ["1-week-….nii.gz", "2-week-….nii.gz"]
    assert shorten_names(middles, 15) == middles
