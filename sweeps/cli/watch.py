"""`sweeps watch`: show the progress of a sweep until it ends."""

from sweeps.cli.sweep_arguments import Name, Runs, find_sweep
from sweeps.cli.watching import print_detached, print_summary, watch_until_done
from sweeps.jobs.notify import notify
from sweeps.storage.sweep import open_sweep, unfinished_confirmation


def watch(name: Name = None, runs: Runs = None) -> None:
    """Show the progress of a sweep until it ends. Ctrl-C closes only the view.

    Without a name, it is the latest sweep; if that is over and its confirmation is not, the
    confirmation is shown.
    """
    sweep = open_sweep(find_sweep(name, runs))
    if name is None and sweep.is_over():
        sweep = open_sweep(unfinished_confirmation(sweep.paths) or sweep.paths)
    try:
        watch_until_done(sweep)
    except KeyboardInterrupt:
        print_detached(sweep)
        return
    notify(sweep)  # where the last supervisor was killed
    print_summary(sweep)
