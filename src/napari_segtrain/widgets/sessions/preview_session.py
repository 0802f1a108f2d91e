"""From a button to layers: what training would see of the visible region, before any training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal

from ...config import DataError, ExperimentConfig
from ...engine.protocol import Diagnose, PreviewAugmentation, PreviewSplit, PreviewTargets
from ...runs import (
    AugmentationReady,
    Diagnosed,
    Event,
    Finished,
    PreviewHint,
    RunState,
    SplitReady,
    TargetsReady,
)
from ...runs.scratch import Scratch
from ..layers import augmentation_layers, split_layers, target_layers
from ..layers.data_spec import TrainingData
from ..layers.placing import Place, place_of
from .engine_job import EngineJob
from .engine_session import EngineSession
from .followers import read_preview
from .gaze import in_view, looked_at

Command = PreviewTargets | PreviewAugmentation | PreviewSplit | Diagnose
Ready = TargetsReady | AugmentationReady | SplitReady | Diagnosed

_NOWHERE = PreviewHint(record="", start=(), stop=())
"""What is looked at where no image of the data is open; of no meaning for what is made of no image."""


@dataclass(frozen=True)
class PreviewKind:
    """Something that can be looked at before any training.

    Attributes
    ----------
    name, title, tip
        Name, text and tooltip of its button.
    says
        What the dock says meanwhile.
    command
        Makes the command of configuration, folder, what is looked at, and how often it was asked for before.
    read
        Turns the engine's answer into what `show` takes, away from the main thread.
    show
        Adds the layers, and returns what to tell the user.
    of_image
        It is made of an open image, and shown on it; the others need the data alone, such as a folder.
    """

    name: str
    title: str
    tip: str
    says: str
    command: Callable[[ExperimentConfig, str, PreviewHint, int], Command]
    read: Callable[[Any, TrainingData], Any]
    show: Callable[[Any, Any, TrainingData], str]
    of_image: bool = True


def _in_place(prepare: Callable[[Any, Place], Any]) -> Callable[[Any, TrainingData], tuple[Place, Any]]:
    """Return what reads an answer about one region of one of the images."""

    def read(event: Any, data: TrainingData) -> tuple[Place, Any]:
        place = place_of(data.images, event.record, event.start, event.stop)
        if place is None:
            raise DataError(f"the image {event.record!r} is none of the chosen layers; press again")
        return place, prepare(event, place)

    return read


def _targets(config: ExperimentConfig, output: str, hint: PreviewHint, again: int) -> Command:
    return PreviewTargets(config=config.to_dict(), data={}, output=output, hint=hint)


def _show_targets(viewer: Any, found: tuple[Place, Any], data: TrainingData) -> str:
    place, layers = found
    target_layers.show(viewer, layers, place, several=len(data.images) > 1)
    words = f"Targets of {_size(place)} voxels: {', '.join(layer.head.name for layer in layers)}"
    empty = [layer.head.name for layer in layers if layer.empty]
    if empty:
        words += f". There is nothing to learn here for {', '.join(empty)}: no place where it is defined"
    return words


def _augmentation(config: ExperimentConfig, output: str, hint: PreviewHint, again: int) -> Command:
    seed = config.tr_setup.seed + again
    return PreviewAugmentation(config=config.to_dict(), data={}, output=output, hint=hint, seed=seed)


def _show_augmentation(viewer: Any, found: tuple[Place, Any], data: TrainingData) -> str:
    place, stack = found
    augmentation_layers.show(viewer, stack, place, data)
    draws = len(stack.words) - 1
    return (
        f"A patch of {_size(place)} voxels as it is, and {draws} augmented ones along the new slider; press "
        "again for others"
    )


def _split(config: ExperimentConfig, output: str, hint: PreviewHint, again: int) -> Command:
    return PreviewSplit(config=config.to_dict(), data={})


def _show_split(viewer: Any, found: split_layers.SplitLayers, data: TrainingData) -> str:
    split_layers.show(viewer, found)
    legend = (split_layers.LEGEND,) if found.images else ()
    return "\n".join((*found.words, *legend))


def _diagnose(config: ExperimentConfig, output: str, hint: PreviewHint, again: int) -> Command:
    return Diagnose(config=config.to_dict(), data={})


def _findings(event: Diagnosed, data: TrainingData) -> Diagnosed:
    return event


def _count_findings(viewer: Any, found: Diagnosed, data: TrainingData) -> str:
    against = sum(finding.severity != "note" for finding in found.findings)
    if not against:
        return "The training doctor finds nothing that speaks against this training."
    many = "one thing speaks" if against == 1 else f"{against} things speak"
    return f"The training doctor finds that {many} against this training."


def _size(place: Place) -> str:
    return " × ".join(map(str, place.size))


TARGETS = PreviewKind(
    "preview_targets",
    "Targets",
    "Show what the network would be taught in the visible region, as layers: the targets, and what auxiliary "
    "tasks make of them",
    "Deriving the targets of what is visible …",
    _targets,
    _in_place(target_layers.prepare),
    _show_targets,
)
AUGMENTATION = PreviewKind(
    "preview_augmentation",
    "Augmentation",
    "Show a labelled patch of the visible region and eight random changes of it, as layers; another press "
    "draws anew",
    "Augmenting a patch of what is visible …",
    _augmentation,
    _in_place(augmentation_layers.prepare),
    _show_augmentation,
)
SPLIT = PreviewKind(
    "preview_split",
    "Split",
    "Show which images, or which parts of one, are trained on, validated on, and used by neither",
    "Splitting the data …",
    _split,
    split_layers.prepare,
    _show_split,
    of_image=False,
)
DOCTOR = PreviewKind(
    "diagnose",
    "Doctor",
    "Ask what speaks against this training: memory, patch size, class balance, learning rate, data that "
    "leaks into the validation …; with a button that makes the change where one helps",
    "The training doctor looks at settings and data …",
    _diagnose,
    _findings,
    _count_findings,
    of_image=False,
)
KINDS = (TARGETS, AUGMENTATION, SPLIT, DOCTOR)


class PreviewSession(EngineJob):
    """Has the engine prepare something to look at and shows it, one at a time."""

    diagnosed = Signal(object)
    """The `Diagnosed` event of the training doctor."""

    def __init__(self, viewer: Any, engine: EngineSession, parent: QObject | None = None) -> None:
        super().__init__(viewer, engine, parent)
        self._kind = TARGETS
        self._asked = 0

    def start(self, kind: PreviewKind, config: ExperimentConfig, data: TrainingData, project: Path) -> None:
        """Prepare what is visible of the image in view; returns at once.

        Parameters
        ----------
        kind
            What to look at; asked for again, what is random is drawn anew.
        config
            The experiment.
        data
            The layers.
        project
            Folder that may hold shared files meanwhile.

        Raises
        ------
        DataError
            When it is made of an open image, and none of the data is open.
        RunError
            When the project cannot be written to.
        """
        if self.busy:
            return
        images = list(data.images.values())
        if kind.of_image and not images:
            raise DataError(
                f"{kind.title} is made of an open image, and none of the folder is open: choose one in the "
                "table above and press Open image; Split and Doctor need none"
            )
        image = in_view(self._viewer, images) or next(iter(images), None)
        scratch = Scratch.create(project)
        self._kind = kind
        output = str(scratch.folder / "preview")
        hint = _NOWHERE if image is None else looked_at(self._viewer, image)
        command = kind.command(config, output, hint, self._asked)
        self._asked += 1
        worker = self._prepare(command, data, scratch)
        self.changed.emit()
        self.said.emit(kind.says)
        worker.start()

    def _when_closed(self) -> str:
        what = "the training doctor works" if self._kind is DOCTOR else "a preview is being prepared"
        return f"{what}. When the window closes it is given up; ask for it again."

    def _on_news(self, event: Event) -> None:
        if isinstance(event, Ready):
            if self._cancelled:
                return  # it was finished before the engine heard of it
            self._read(read_preview(self._kind.read, event, self._data), self._show)
        elif isinstance(event, Finished) and not self._reading:
            message = "Cancelled" if self._cancelled else event.message
            self._end(event.status is not RunState.FAILED, message)

    def _show(self, found: Any) -> None:
        words = self._kind.show(self._viewer, found, self._data)
        if isinstance(found, Diagnosed):
            self.diagnosed.emit(found)
        self._end(True, words)
