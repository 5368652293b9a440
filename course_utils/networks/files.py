"""Parameters of networks from files: safetensors, state dicts, npz; whole and fitting, or one error."""

import hashlib
import pickle
import re
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError

import numpy as np
import torch
import torchvision
from safetensors import SafetensorError
from torch import Tensor, nn

from course_utils.errors import CourseError, DataError

KINDS = "safetensors, a state dict saved by torch.save, or npz"
_OLDER = (  # densenet; vision transformers
    (re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)"), r"\1\2"),
    (re.compile(r"(\.mlp)\.linear_1\."), r"\1.0."),
    (re.compile(r"(\.mlp)\.linear_2\."), r"\1.3."),
)
_HASHED = re.compile(r"-([0-9a-f]{8,})\.pth$")  # torchvision's file names end in the beginning of their SHA-256


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Names and CPU tensors of a file; nothing in it is executed.

    The kind is told by the content, not by the name. Raises `DataError` if the file is missing, damaged, of another
    kind, or holds anything but tensors under names.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(16)
        if len(start) < 10:
            raise DataError(f"{path} is empty or cut short ({len(start)} bytes). {_AGAIN}")
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
            state = _npz(path) if names and all(name.endswith(".npy") for name in names) else _pickled(path)
        elif start[8:9] == b"{" and struct.unpack("<Q", start[:8])[0] < 1e8:
            from safetensors.torch import load_file

            state = load_file(path)
        elif start.startswith(b"PK"):
            raise DataError(f"{path} is damaged or cut short: its table of contents is missing. {_AGAIN}")
        else:
            state = _pickled(path)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise DataError(f"There is no file {path}. Wanted {KINDS}.") from error
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path} is no plain state dict: it is damaged, of another kind, or holds more than tensors, which is not "
            f"loaded because it might run code. Wanted {KINDS}; torch.save(model.state_dict(), path) writes one."
        ) from error
    except (SafetensorError, zipfile.BadZipFile, RuntimeError, EOFError, OSError, KeyError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
        raise DataError(f"{path} cannot be read ({reason}). Wanted {KINDS}. {_AGAIN}") from error
    return _plain(state, path)


_AGAIN = "Copy or download it again."


def _npz(path: Path) -> dict[str, Tensor]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def _pickled(path: Path) -> object:
    return torch.load(path, map_location="cpu", weights_only=True)


def _plain(state: object, path: Path) -> dict[str, Tensor]:
    """The same, if it is names and tensors."""
    if isinstance(state, Mapping):
        others = [name for name, value in state.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
        if state and not others:
            return dict(state)
        found = f"a dictionary with {', '.join(map(repr, others[:4]))}" if state else "an empty dictionary"
    else:
        found = f"a {type(state).__name__}"
    raise DataError(
        f"{path} holds {found}; wanted names and tensors alone. "
        "From a checkpoint that holds more, save its state dict by itself."
    )


def load_strictly(network: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Give the network these parameters, all of them or none.

    Raises `DataError` that lists what is missing, too many, of another shape, or no number. Counters of batches may be
    missing, and names may be older ones, as in some files of torchvision.
    """
    own = network.state_dict()
    state = {name if name in own else _renamed(name): value for name, value in state.items()}
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    unknown = [name for name in state if name not in own]
    wrong = []
    for name in [name for name in own if name in state]:
        if own[name].shape != state[name].shape:
            wrong.append(f"{name} is {tuple(state[name].shape)} instead of {tuple(own[name].shape)}")
        elif state[name].is_floating_point() != own[name].is_floating_point():
            wrong.append(f"{name} is of {state[name].dtype} instead of {own[name].dtype}")
        elif not torch.isfinite(state[name]).all():
            wrong.append(f"{name} has values that are no numbers")
    if missing or unknown or wrong:
        told = [f"{len(missing)} parameters are missing ({_some(missing)})"] if missing else []
        told += [f"{len(unknown)} are not the network's ({_some(unknown)})"] if unknown else []
        told += [f"{len(wrong)} do not fit ({_some(wrong)})"] if wrong else []
        raise DataError(
            f"{path} is no file of {type(network).__name__} with these layers: {'; '.join(told)}. "
            "Nothing was loaded; choose the file of this very network."
        )
    whole = OrderedDict(own | state)
    whole._metadata = own._metadata  # by which some networks of torchvision tell their versions
    network.load_state_dict(whole)


def _renamed(name: str) -> str:
    """What a parameter is called today that has an older name in torchvision's files."""
    for old, new in _OLDER:
        name = old.sub(new, name)
    return name


def _some(lines: list[str]) -> str:
    return ", ".join(lines[:3]) + (", ..." if len(lines) > 3 else "")


def input_of(weights: torchvision.models.WeightsEnum) -> tuple[int, tuple[float, ...], tuple[float, ...]]:
    """Side of the pictures, mean and deviation of their RGB values, that a set of pretrained parameters wants."""
    usual = weights.transforms()
    return usual.crop_size[0], tuple(usual.mean), tuple(usual.std)


def downloaded_weights(name: str) -> Path:
    """The file of torchvision's pretrained parameters, from its folder of downloads or downloaded now.

    Raises `CourseError` that says which file goes where if there is none and it cannot be downloaded, `DataError` if
    its content is not what its name says.
    """
    usual = torchvision.models.get_model_weights(name).DEFAULT
    # some have others beside it that take pictures of another size or normalization
    choices = [one for one in torchvision.models.get_model_weights(name) if input_of(one) == input_of(usual)]
    choices.sort(key=lambda one: one is not usual)
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    paths = [folder / Path(one.url).name for one in choices]
    path = next((one for one in paths if one.exists()), paths[0])
    if not path.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(choices[0].url, str(path), _HASHED.search(path.name).group(1))
        except (URLError, OSError, RuntimeError) as error:
            raise CourseError(
                f"The pretrained parameters of {name} are not on this machine and could not be downloaded ({error}). "
                f"Place {path.name} (from {choices[0].url}) in {folder}, or name a file of yours with weights=."
            ) from error
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if not digest.hexdigest().startswith(_HASHED.search(path.name).group(1)):
        raise DataError(f"{path} is damaged: its SHA-256 does not begin as its name ends. Delete it. {_AGAIN}")
    return path
