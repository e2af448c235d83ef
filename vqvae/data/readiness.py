"""Whether a data set is ready for training; nothing is written to find that out."""

from collections.abc import Mapping
from pathlib import Path

from vqvae.config import DataConfig, PhantomConfig
from vqvae.data.cache import cache_entry, cache_folder, is_intact
from vqvae.data.layout import Listing, SplitName, find_base, list_splits, refuse_odd_names
from vqvae.data.nifti import SMALLEST_SIDE, read_slice
from vqvae.data.phantom.dataset import check_phantom
from vqvae.data.segmentations import check_label_sizes
from vqvae.errors import InputError, UnavailableError
from vqvae.files import check_writable, holds_something


def check_data(config: DataConfig, largest_batch: int) -> str:
    """Check the files, the cache folder and the batch size, and describe the data in one line.

    Of each split that is not in the cache the first slice is read, and of the test split's
    segmentations the headers. The phantom of the configuration need not exist yet.

    Args:
        config: where the data are.
        largest_batch: the largest batch size of the configurations that use them.

    Raises:
        InputError: the data are missing or not valid, a segmentation has another size than its
            slice, the cache or the phantom could not be written, or a batch is larger than the
            training split.
    """
    folder = cache_folder(config.cache)
    if config.phantom is not None and not holds_something(config.root):
        check_writable(config.root, f"data folder {config.root}", "set data.root")
        check_writable(folder, f"cache folder {folder}", "set data.cache or $TMPDIR")
        slices = _phantom_slices(config.phantom)
        found = f"{config.root} does not exist yet; a synthetic data set will be written there"
    else:
        if config.phantom is not None:
            check_phantom(config.root, config.phantom)
        listings = list_splits(config.root)
        _check_splits(config, listings, folder)
        # Only a promotion reads the test split's segmentations, after days of training.
        check_label_sizes(find_base(config.root), "test", listings["test"])
        slices = len(listings["train"].files)
        patients = len(listings["train"].patients)
        found = f"{slices} training slices of {patients} patients in {config.root}"
    refuse_large_batch(largest_batch, slices, config.root)
    return found


def refuse_large_batch(largest: int, slices: int, root: Path) -> None:
    """Refuse a batch that is larger than the training split.

    Raises:
        InputError: it is.
    """
    if largest > slices:
        raise InputError(
            f"training.batch_size = {largest} is more than the {slices} training slices in {root}; "
            "set a smaller batch size"
        )


def _check_splits(config: DataConfig, listings: Mapping[SplitName, Listing], folder: Path) -> None:
    skip = config.on_bad_slice == "skip"
    for split, listing in listings.items():
        if is_intact(cache_entry(listing, split, config.root, folder, skip=skip)):
            continue
        if split != "test":  # a training does not decode the test split
            check_writable(folder, f"cache folder {folder}", "set data.cache or $TMPDIR")
        if not skip:
            refuse_odd_names(listing)
        try:
            read_slice(listing.files[0].path, SMALLEST_SIDE)
        except UnavailableError:
            raise
        except InputError:
            if not skip:
                raise


def _phantom_slices(phantom: PhantomConfig) -> int:
    return phantom.train_patients * phantom.volumes * phantom.slices
