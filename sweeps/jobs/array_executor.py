"""submitit's executor for SLURM, where an array's number is read from SLURM's own sentence."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import DelayedSubmission


class ArrayExecutor(submitit.SlurmExecutor):  # type: ignore[misc]  # submitit has no types
    """Submits all tasks of a batch as one array.

    submitit takes the first number after the word "job" in what sbatch printed. A site's wrapper
    prints sentences of its own ("This job 1000 credits …"), and then the task of every job would
    be stored under a number that no job has.
    """

    def __init__(
        self, folder: Path, python: str | None, read_answer: Callable[[str], tuple[str, str]]
    ) -> None:
        """Create it.

        Args:
            folder: where submission files, tasks and logs are written.
            python: the shell command that starts Python in a job; None for this interpreter.
            read_answer: returns the number that sbatch's answer has, and the cluster if the answer
                names one.
        """
        super().__init__(folder, python=python)
        self._read_answer = read_answer
        self.cluster = ""

    def _internal_process_submissions(
        self, delayed_submissions: list[DelayedSubmission]
    ) -> list[submitit.Job[Any]]:
        # submitit's own method makes a second executor for an array, of its own class.
        if len(delayed_submissions) == 1:
            return list(super()._internal_process_submissions(delayed_submissions))
        tasks = [self.folder / f"{uuid.uuid4().hex}.pkl" for _ in delayed_submissions]
        for submission, task in zip(delayed_submissions, tasks, strict=True):
            submission.set_timeout(self.parameters["time"], self.max_num_timeout)
            submission.dump(task)
        self.parameters["map_count"] = len(tasks)
        number = self._submit_command(self._submitit_command_str).job_id
        jobs = [
            submitit.SlurmJob(self.folder, f"{number}_{index}", tasks=[0])
            for index in range(len(tasks))
        ]
        for job, task in zip(jobs, tasks, strict=True):
            job.paths.move_temporary_file(task, "submitted_pickle")
        return jobs

    def _get_job_id_from_submission_command(self, string: bytes | str) -> str:
        text = string if isinstance(string, str) else string.decode(errors="backslashreplace")
        number, self.cluster = self._read_answer(text)
        return number
