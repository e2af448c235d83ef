"""Trainers as they are, in processes that are under orders: importing this arms the process."""

import sys

from tests.faults.steps import arm, arm_publisher, shift_clock
from tests.sweeps import tiny as tiny_trainer

shift_clock()
_armed = arm()
_armed.wrap_save(tiny_trainer)
if len(sys.argv) > 1 and sys.argv[1] == "publish":
    arm_publisher(_armed)

tiny = tiny_trainer.trainer


class _Vqvae:
    """The VQ-VAE, armed when it is first asked to train: torch is not light."""

    def __getattr__(self, name: str) -> object:
        from vqvae.sweep import trainer

        if name == "fit" and not self.__dict__.get("armed"):
            from vqvae.training import checkpoint

            self.__dict__["armed"] = True
            _armed.wrap_save(checkpoint)
        return getattr(trainer, name)


vqvae = _Vqvae()
