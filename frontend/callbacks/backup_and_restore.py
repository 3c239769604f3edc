"""``BackupAndRestore``: training that was interrupted goes on where it was."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from ...ir.errors import ArgumentError, FileFormatError
from ..registry import builtin
from ..saving.archive import write_beside
from ..training.shares import agree_on_start, first_writes, writes_files
from .callback import Callback, fetches_logs
from .checkpoint import SaveEvery

_WEIGHTS, _METADATA = "latest.weights.h5", "training_metadata.json"
_NEXT_WEIGHTS, _NEXT_METADATA = "next.weights.h5", "next_training_metadata.json"


@builtin("keras.callbacks")
class BackupAndRestore(Callback):
    """Keeps the state of training on disk; the next ``fit`` with it goes on from there.

    The state is two files that belong together, so the new pair is written whole under other names and then renamed.
    Whatever stops the process, the next run finds the old pair or the new one. Of several processes that train together
    the first writes them, and all read them, so that the folder has to be on a file system that they share.

    Args:
        backup_dir: folder for it, used for nothing else.
        save_freq: ``"epoch"``, or a number of batches.
        double_checkpoint: whether the pair before is kept too, for the case that the last one can't be read.
        delete_checkpoint: whether the files are removed when training is over.

    Raises:
        ArgumentError: ``backup_dir`` is empty, or ``save_freq`` is neither.
    """

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: str | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        super().__init__()
        if not backup_dir:
            raise ArgumentError("Empty `backup_dir` argument passed; expected the path of a folder")
        self.backup_dir = os.fspath(backup_dir)
        self.save_freq = save_freq
        self.double_checkpoint = double_checkpoint
        self.delete_checkpoint = delete_checkpoint
        self._every = SaveEvery(save_freq)
        self._epoch = 0
        self._batch = 0

    def _file(self, name: str) -> Path:
        return Path(self.backup_dir, name)

    def on_train_begin(self, logs: Any = None) -> None:
        """Restore what an earlier run left."""
        with first_writes(f"looking for a backup in {self.backup_dir!r}") as writes:
            if writes:
                self._settle()
        try:
            self._restore()
        except (OSError, FileFormatError):
            if not self._file(f"{_WEIGHTS}.bkp").exists():
                raise
            with first_writes(f"taking the backup before in {self.backup_dir!r}") as writes:
                if writes:
                    self._use_pair_before()
            self._restore()

    def _settle(self) -> None:
        """Finish, or undo, a save that was interrupted: with the new weights renamed it counts, before it does not."""
        if self._file(_NEXT_WEIGHTS).exists():
            self._file(_NEXT_WEIGHTS).unlink()
            self._file(_NEXT_METADATA).unlink(missing_ok=True)
        elif self._file(_NEXT_METADATA).exists():
            os.replace(self._file(_NEXT_METADATA), self._file(_METADATA))

    def _use_pair_before(self) -> None:
        for name in (_WEIGHTS, _METADATA):
            kept = self._file(f"{name}.bkp")
            if kept.exists():
                _copy(kept, self._file(name))
            else:
                self._file(name).unlink(missing_ok=True)

    def _restore(self) -> None:
        model = self.model
        if not model.built:
            raise ArgumentError(
                "To use the BackupAndRestore callback, you model must be built before you call `fit()`. "
                f"Model {model.name} is unbuilt. You can build it beforehand by calling it on a batch of data."
            )
        if self._file(_WEIGHTS).exists():
            optimizer = model.optimizer
            if optimizer is not None and not optimizer.built:
                optimizer.build(model.trainable_variables)  # so that it has the variables the file has values for
            model.load_weights(str(self._file(_WEIGHTS)))
        if self._file(_METADATA).exists():
            model._initial_epoch = _read_metadata(self._file(_METADATA))["epoch"]
        agree_on_start(self.backup_dir, model.__dict__.get("_initial_epoch") or 0)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Save."""
        self._epoch, self._batch = epoch + 1, 0
        if self.save_freq == "epoch":
            self._save()

    @fetches_logs
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Save, when that many batches are done."""
        self._batch = batch
        if self._every.due(batch):
            self._save()

    def _save(self) -> None:
        with first_writes(f"saving the backup in {self.backup_dir!r}") as writes:
            if writes:
                self._keep_pair_before()
            self.model.save_weights(str(self._file(_NEXT_WEIGHTS)), overwrite=True)
            if writes:
                text = json.dumps({"epoch": self._epoch, "batch": self._batch})
                write_beside(self._file(_NEXT_METADATA), lambda file: file.write(text.encode()))
                os.replace(self._file(_NEXT_WEIGHTS), self._file(_WEIGHTS))
                os.replace(self._file(_NEXT_METADATA), self._file(_METADATA))

    def _keep_pair_before(self) -> None:
        os.makedirs(self.backup_dir, exist_ok=True)
        for name in (_WEIGHTS, _METADATA) if self.double_checkpoint else ():
            if self._file(name).exists():
                _copy(self._file(name), self._file(f"{name}.bkp"))

    def on_train_end(self, logs: Any = None) -> None:
        """Remove the files, and the folder when nothing else is in it."""
        if not self.delete_checkpoint or not writes_files() or not os.path.isdir(self.backup_dir):
            return
        for name in (_WEIGHTS, _METADATA, _NEXT_WEIGHTS, _NEXT_METADATA):
            for kept in (self._file(name), self._file(f"{name}.bkp"), *Path(self.backup_dir).glob(f".{name}.*.tmp")):
                kept.unlink(missing_ok=True)
        if not os.listdir(self.backup_dir):
            os.rmdir(self.backup_dir)


def _read_metadata(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise FileFormatError(f"{path} is damaged, it holds no JSON: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("epoch"), int):
        raise FileFormatError(f"{path} should hold the number of an epoch, but holds {found!r}")
    return found


def _copy(source: Path, target: Path) -> None:
    def fill(file: Any) -> None:
        with open(source, "rb") as original:
            shutil.copyfileobj(original, file)

    write_beside(target, fill)
