"""Unchanged trainers; importing this module prepares the process for injected faults."""

import sys

from tests.faults.steps import inject, inject_into_publisher, shift_clock
from tests.sweeps import tiny as tiny_trainer

shift_clock()
_injector = inject()
_injector.wrap_save(tiny_trainer)
if len(sys.argv) > 1 and sys.argv[1] == "publish":
    inject_into_publisher(_injector)

tiny = tiny_trainer.trainer


class _Vqvae:
    """The VQ-VAE; its checkpoints are wrapped at the first training, as importing torch is slow."""

    def __getattr__(self, name: str) -> object:
        from vqvae.sweep import trainer

        if name == "fit" and not self.__dict__.get("is_wrapped"):
            from vqvae.training import checkpoint

            self.__dict__["is_wrapped"] = True
            _injector.wrap_save(checkpoint)
        return getattr(trainer, name)


vqvae = _Vqvae()
