"""The labels that a run was trained on, brought back as files."""

from __future__ import annotations

from pathlib import Path

from napari_segtrain.config import RunError
from napari_segtrain.runs import explain_os_error, find_run, load_checkpoint
from napari_segtrain.runs.label_files import write_label_files
from napari_segtrain.runs.label_store import LabelStore

_CHECKPOINTS = (".ckpt", ".pth")


def restore_labels(
    run_or_checkpoint: str | Path,
    output: str | Path,
    *,
    epoch: int | None = None,
    before_resume: bool = False,
) -> list[Path]:
    """Write the labels that a run was trained on, as they were then.

    Parameters
    ----------
    run_or_checkpoint
        A checkpoint, for the labels as they were when it was written, or a run.
    output
        New folder: it gets ``labels/<image>_<target>.zarr`` and ``masks/…``, OME-Zarr with the spacing of
        the image, as a folder to train on has them.
    epoch
        Of a run: the labels as they were at the end of this epoch; by default the newest.
    before_resume
        Of a run: the labels as they were when it was last resumed, with all that was painted until then.

    Returns
    -------
    list of Path
        The stores.

    Raises
    ------
    RunError
        When the run kept no labels, not of this epoch, or they are damaged; when `output` is not empty or
        cannot be written.
    """
    path = Path(run_or_checkpoint)
    run = find_run(path)
    store = LabelStore(run.path)
    if path.suffix in _CHECKPOINTS and path.is_file():
        if epoch is not None or before_resume:
            raise RunError(
                f"{path}: is the checkpoint of one epoch; give the run to choose another (--epoch, "
                "--before-resume)"
            )
        state = load_checkpoint(path, required=("model",)).get("labels")
        if state is None:
            raise RunError(
                f"{path}: does not say on which labels it was trained; tr_config.keep_labels was false, they "
                "were too large, or it is of an earlier version"
            )
    elif epoch is not None and before_resume:
        raise RunError("--epoch and --before-resume are two choices of labels; give one of them")
    else:
        state = store.state_of(epoch, before_resume=before_resume)
    folder = Path(output)
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise RunError(f"{folder}: exists; choose a new folder, nothing is overwritten")
        folder.mkdir(parents=True, exist_ok=True)
        return write_label_files(store, store.arrays(state), folder)
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({explain_os_error(error)})") from error
