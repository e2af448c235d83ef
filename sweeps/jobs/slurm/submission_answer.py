"""What sbatch prints when it has accepted a job."""

import re

_SENTENCE = re.compile(r"^Submitted batch job (\d+)\b", re.MULTILINE)
_PARSABLE = re.compile(r"^(\d+)(?:;\S+)?$", re.MULTILINE)


def job_number(answer: str) -> str | None:
    """Return the number of the submitted job; None if the answer does not have it.

    Args:
        answer: what sbatch printed, with whatever a site's wrapper prints around it. SLURM's own
            sentence counts. Without it, a line of the form of `sbatch --parsable` does.
    """
    found = _SENTENCE.findall(answer) or _PARSABLE.findall(answer)
    return found[-1] if found else None
