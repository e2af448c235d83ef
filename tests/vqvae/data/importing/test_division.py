import pytest

from vqvae.data.importing.division import divide
from vqvae.errors import InputError


def test_the_same_seed_gives_the_same_splits() -> None:
    names = [f"p{number}" for number in range(20)]
    assert divide(names, "0.7,0.15,0.15", 3) == divide(names[::-1], "0.7,0.15,0.15", 3)
    assert divide(names, "0.7,0.15,0.15", 3) != divide(names, "0.7,0.15,0.15", 4)


@pytest.mark.parametrize(
    ("shares", "patients", "counts"),
    [
        ("0.7,0.15,0.15", 20, [14, 3, 3]),
        ("0.7,0.15,0.15", 7, [5, 1, 1]),
        ("0.98,0.01,0.01", 4, [2, 1, 1]),
        ("2,1,4", 7, [2, 1, 4]),
        ("1,1,1", 3, [1, 1, 1]),
    ],
)
def test_shares(shares: str, patients: int, counts: list[int]) -> None:
    owners = list(divide([f"p{number}" for number in range(patients)], shares, 0).values())
    assert [owners.count(split) for split in ("train", "validate", "test")] == counts


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ("0.7,0.3", "write three shares"),
        ("a,b,c", "write three shares"),
        ("nan,0.5,0.5", "write three shares"),
        ("0.7,0.3,0.3", "must sum to 1"),
        ("3,2,2", "must sum to the 5 patients"),
        ("1.5,1.5,2", "must sum to the 5 patients"),
    ],
)
def test_shares_that_are_not_valid_are_refused(shares: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        divide(["a", "b", "c", "d", "e"], shares, 0)


def test_two_patients_are_too_few() -> None:
    with pytest.raises(InputError, match=r"2 patients \(a, b\) are too few for three splits"):
        divide(["a", "b"], "0.7,0.15,0.15", 0)
