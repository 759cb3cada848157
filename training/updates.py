"""Checkpoints, resume and history for a training loop that a recipe writes itself."""
import math

from training import diagnosis
from training.interruption import StopRequest
from training.progress import EVERY, Progress


class Updates:
    """Counts the updates of a loop, from the last checkpoint on, and saves between them.

        updates = run.updates(config.updates, {"model": model, "optimizer": optimizer})
        for i in updates:
            loss = update(i)                         # any code; i is 0, 1, 2, ...
            if (i + 1) % 100 == 0:
                updates.log(loss=loss)

    objects: {name: object}, all that the next update depends on; see checkpoint.snapshot
    for what they may be. What they do not hold starts anew with the process.
    history: rows of what was logged, each with its number of updates.
    """

    def __init__(self, total, objects, *, folder, checkpoint_every=EVERY):
        if total < 1:
            raise ValueError(f"the number of updates must be at least 1. Received: {total}")
        self.total, self.progress = total, Progress(folder, objects, every=checkpoint_every)

    def __iter__(self):
        progress = self.progress
        with StopRequest() as stop:
            progress.restore()
            for i in range(progress.updates, self.total):
                yield i
                progress.updates = i + 1
                if stop.asked or progress.due() or progress.updates == self.total:
                    progress.save()
                if stop.asked:
                    raise stop.error(f"saved at update {progress.updates} of {self.total}")
        progress.close()

    @property
    def history(self):
        return self.progress.history

    def log(self, **values):
        """A row of history.csv. Raises FloatingPointError if a value is not finite; nothing is lost then."""
        update = self.progress.updates + 1
        row = {"updates": update, **{name: float(value) for name, value in values.items()}}
        wrong = [name for name, value in row.items() if not math.isfinite(value)]
        if wrong:
            good = self.history[-1].get(wrong[0]) if self.history else None
            told = "" if good is None else f" (it was {good:.6g} at update {self.history[-1]['updates']})"
            variable = diagnosis.wrong_variable(self.progress.objects)
            where = f" First not finite: {variable}." if variable else ""
            kept = self.progress.saved_at
            kept = "" if kept is None else f" The last checkpoint, of update {kept}, is kept."
            raise FloatingPointError(
                f"{wrong[0]} became {row[wrong[0]]} by update {update}{told}.{where}{kept}")
        self.progress.log(row)
