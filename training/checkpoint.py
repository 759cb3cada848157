"""The whole state of a fit in one file: variables as arrays, progress as JSON beside them."""
import json
import zipfile

import numpy as np

from training.files import replacing

PROGRESS = "progress"


def variables(model):
    """Every variable that a further update depends on, seeds of dropout and metrics included."""
    found = list(model.variables)
    if model.optimizer is not None:
        found += model.optimizer.variables
    found += model.metrics_variables
    return list({id(variable): variable for variable in found}.values())


def save(path, model, progress):
    """Writes all variables of a compiled model and a JSON-ready progress, in one rename."""
    arrays = {f"{index:05d}": np.asarray(variable) for index, variable in enumerate(variables(model))}
    with replacing(path) as part, open(part, "wb") as file:
        np.savez(file, **arrays, **{PROGRESS: np.array(json.dumps(progress))})


def restore(path, model):
    """Assigns what save wrote and returns its progress; all is checked before anything changes.

    Raises ValueError if the file is damaged or belongs to another model.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            progress = json.loads(str(file[PROGRESS]))
            arrays = [file[name] for name in sorted(file.files) if name != PROGRESS]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"the checkpoint {path} cannot be read ({error}). "
                         "Delete it to start anew.") from error
    wanted = variables(model)
    if len(arrays) != len(wanted):
        raise ValueError(f"the checkpoint {path} has {len(arrays)} variables, this model {len(wanted)}")
    for array, variable in zip(arrays, wanted, strict=True):
        if tuple(array.shape) != tuple(variable.shape):
            raise ValueError(f"the checkpoint {path} has {array.shape} where {variable.path} "
                             f"is {tuple(variable.shape)}")
    for array, variable in zip(arrays, wanted, strict=True):
        variable.assign(array)
    return progress
