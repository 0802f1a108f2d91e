"""From chosen layers to what the engine is told to train on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...config import DataError, DatasetConfig, TargetConfig, shapes_differ
from .axes import Copies, LayerAxes, array_spec, layer_axes, level_data, level_geometry, painted_in_place
from .geometry import Geometry

Chosen = dict[tuple[Any, bool], Any]
"""Layers chosen for single images, by image and whether it is the mask; None for no layer, a name for one
that is not there."""


@dataclass(frozen=True)
class TrainedImage:
    """An image that is trained on: where its predictions belong.

    Attributes
    ----------
    id
        Id of the engine's record; of a stack ``<id>[<index>]`` is the record of one image.
    axes
        What the axes of its array are.
    shape
        Shape of its array without channels, on all axes of `geometry`.
    geometry
        Where its array lies, without a channel axis.
    layer
        The (first) layer it is made of.
    kept
        Axes of the layer that its array has, without a channel axis.
    level
        Resolution level of the layer that is trained on.
    """

    id: str
    axes: LayerAxes
    shape: tuple[int, ...]
    geometry: Geometry
    layer: Any
    kept: tuple[int, ...]
    level: int = 0

    @property
    def counted(self) -> tuple[int, ...]:
        """Its axes in the engine's order: along which images are stacked, then space."""
        return (*(axis for axis in self.axes.stack if self.shape[axis] != 1), *self.axes.spatial)

    @property
    def is_still_there(self) -> bool:
        """Whether its layer still has an array of its shape: a user may give it another one."""
        try:
            shape = level_data(self.layer, self.level).shape
        except DataError:
            return False
        return self.kept[-1] < len(shape) and tuple(shape[axis] for axis in self.kept) == self.shape


@dataclass(frozen=True)
class Mirror:
    """A labels or mask layer whose strokes the engine shall see.

    Attributes
    ----------
    layer
        The painted layer.
    record
        Id of the image.
    targets
        Targets that are learned from it, or that it is the mask of.
    copy
        Name of its array in the shared folder; None when the layer's own store is read by the engine.
    axes
        Which axis of its array each axis is that the engine counts (`TrainedImage.counted`); None for one
        of length 1 that it lacks.
    shape
        Shape of its array.
    level
        Resolution level that its array is.
    """

    layer: Any
    record: str
    targets: tuple[str, ...]
    copy: str | None
    axes: tuple[int | None, ...]
    shape: tuple[int, ...]
    level: int = 0

    @property
    def array(self) -> Any:
        """What the layer holds now."""
        return level_data(self.layer, self.level)


@dataclass
class TrainingData:
    """Everything that follows from the chosen layers.

    Attributes
    ----------
    spec
        ``{"layers": […]}`` for the engine, complete when `copies` are written; the path of a data folder;
        None for what a resumed run was trained on before.
    copies
        Arrays that have to be written into shared files first.
    mirrors
        Labels and mask layers to watch.
    images
        The images by id.
    """

    spec: dict[str, Any] | str | None = field(default_factory=lambda: {"layers": []})
    copies: Copies = field(default_factory=Copies)
    mirrors: list[Mirror] = field(default_factory=list)
    images: dict[str, TrainedImage] = field(default_factory=dict)

    @property
    def layers(self) -> list[dict[str, Any]]:
        """The images of `spec`, each with its labels and masks."""
        return self.spec["layers"] if isinstance(self.spec, dict) else []


def training_data(
    images: Sequence[Any],
    targets: Mapping[str, tuple[Any, Any]],
    config: DatasetConfig,
    *,
    all_layers: Sequence[Any],
    as_channels: bool = False,
    chosen: Mapping[str, Chosen] | None = None,
    prefix: str = "",
) -> TrainingData:
    """Describe layers as a data set.

    With several images, an image's labels for target ``t`` are on the layer that was chosen for it, else on
    ``<image>_t``, else on the target's own layer where that fits in shape.

    Parameters
    ----------
    images
        Image layers.
    targets
        Labels layer and mask layer (or None) of each target.
    config
        Section `dataset_config`.
    all_layers
        Layers of the viewer, for finding the labels of further images by their names.
    as_channels
        The images are channels of one image instead of separate images.
    chosen
        Layers that were chosen for single images, by target.
    prefix
        What the names of shared files begin with, where other data is shared beside it.

    Raises
    ------
    DataError
        When no image is chosen, a shape does not fit, or a target has no labels on any image.
    """
    if not images:
        raise DataError("no image layer is chosen; tick the layer to train on under Image")
    if not targets:
        raise DataError("there is no target; add one and choose the labels layer to learn from")
    builder = _Builder(
        images,
        targets,
        config,
        all_layers,
        single=as_channels or len(images) == 1,
        chosen=chosen or {},
        prefix=prefix,
    )
    for group in [list(images)] if as_channels else [[image] for image in images]:
        builder.add(group)
    builder.check_every_target_is_painted()
    builder.check_alike()
    return builder.data


def image_data(image: Any, config: DatasetConfig) -> TrainingData:
    """Describe an image layer alone, without any target; errors as `training_data`."""
    builder = _Builder([image], {}, config, [], single=True)
    builder.add([image])
    return builder.data


class _Builder:
    """Describes one image after the other."""

    def __init__(
        self,
        images: Sequence[Any],
        targets: Mapping[str, tuple[Any, Any]],
        config: DatasetConfig,
        all_layers: Sequence[Any],
        *,
        single: bool,
        chosen: Mapping[str, Chosen] | None = None,
        prefix: str = "",
    ) -> None:
        self.data = TrainingData()
        self._prefix = prefix
        self._chosen = chosen or {}
        self._channels: dict[str, int] = {}
        self._images, self._targets, self._config = images, targets, config
        self._all_layers, self._single = all_layers, single
        self._painted: set[str] = set()

    def add(self, group: Sequence[Any]) -> None:
        """Add an image: one layer, or layers that are its channels."""
        image, number, level = group[0], len(self.data.images), self._config.level
        axes = layer_axes(image, self._config.ndim, self._config.channel_axis)
        if len(group) > 1:
            _check_channels(group, axes)
        kept = [axis for axis, letter in enumerate(axes.letters) if letter not in "cs"]
        geometry = level_geometry(image, level).select(kept)
        shape = tuple(int(level_data(image, level).shape[axis]) for axis in kept)
        plain = LayerAxes("".join(axes.letters[axis] for axis in kept), axes.ndim)
        trained = TrainedImage(image.name, plain, shape, geometry, image, tuple(kept), level)
        self.data.images[image.name] = trained
        self._channels[image.name] = (
            len(group) if len(group) > 1 else 1 if axes.channel is None else _channels(image, axes.channel)
        )
        labels, masks = self._labels(image, trained, number)
        self.data.layers.append(
            {
                "id": image.name,
                "image": array_spec(
                    f"{self._prefix}image_{number}", group, axes, self.data.copies, level=level
                ),
                "labels": labels,
                "masks": masks,
                "spacing": [abs(float(geometry.scale[axis])) for axis in plain.spatial],  # it may be flipped
                "unit": str(geometry.units[-1]) if geometry.units else "pixel",
                "ndim": axes.ndim,
            }
        )

    def _labels(
        self, image: Any, trained: TrainedImage, number: int
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the specifications of an image's labels and masks, each layer shared once."""
        labels: dict[str, Any] = {}
        masks: dict[str, Any] = {}
        shared: dict[Any, dict[str, Any]] = {}
        for target, (own_labels, own_mask) in self._targets.items():
            config = self._config.targets.get(target, TargetConfig())
            layer = self._layer_for(image, target, own_labels, trained.shape)
            mask = self._layer_for(image, target, own_mask, trained.shape, mask=True)
            for item in (layer, mask):
                if item is not None and item not in shared:
                    shared[item] = self._share(item, f"{self._prefix}labels_{number}_{len(shared)}", trained)
            if layer is not None:
                labels[config.labels or target] = shared[layer]
                self._painted.add(target)
            if mask is not None:
                masks[config.mask or target] = shared[mask]
            for item in dict.fromkeys((layer, mask)):
                if item is not None:
                    self._mirror(item, trained, target, shared[item])
        return labels, masks

    def _layer_for(
        self, image: Any, target: str, own: Any, shape: tuple[int, ...], *, mask: bool = False
    ) -> Any:
        """Return the layer that holds the labels or the mask of one image, None when there is none."""
        chosen = self._chosen.get(target, {}).get((image, mask), ...)
        if isinstance(chosen, str):
            what = "mask" if mask else "labels"
            raise DataError(
                f"target {target!r}: the {what} layer {chosen!r} that was chosen for {image.name!r} is not "
                "there; choose another one in the target's row"
            )
        if chosen is ...:
            suffix = f"{target}_mask" if mask else target
            chosen = (
                own
                if self._single
                else named_layer(image, shape, suffix, own, self._images, self._all_layers)
            )
        if chosen is not None and not _fits(chosen, shape):
            raise DataError(
                shapes_differ(f"layer {chosen.name!r}", level_data(chosen).shape, image.name, shape)
            )
        return chosen

    def _share(self, layer: Any, copy: str, trained: TrainedImage) -> dict[str, Any]:
        return array_spec(
            copy,
            [layer],
            _axes_of_labels(layer, trained),
            self.data.copies,
            level=_level_of(layer, trained.shape) or 0,
            shared=not painted_in_place(layer.data),
        )

    def _mirror(self, layer: Any, trained: TrainedImage, target: str, spec: Mapping[str, Any]) -> None:
        for place, mirror in enumerate(self.data.mirrors):
            if mirror.layer is layer and mirror.record == trained.id:
                self.data.mirrors[place] = replace(mirror, targets=(*mirror.targets, target))
                return
        copy = next((item.name for item in self.data.copies.items if item.spec is spec), None)
        level = _level_of(layer, trained.shape) or 0
        shape = tuple(int(n) for n in level_data(layer, level).shape)
        found = _axes_in(shape, trained.shape) or {}
        axes = tuple(found.get(axis) for axis in trained.counted)
        self.data.mirrors.append(Mirror(layer, trained.id, (target,), copy, axes, shape, level))

    def check_every_target_is_painted(self) -> None:
        """Refuse a target that has labels on none of the images."""
        for target, (layer, _) in self._targets.items():
            if target not in self._painted:
                raise DataError(
                    f"target {target!r}: the labels layer {layer.name!r} of shape "
                    f"{_text(level_data(layer).shape)} belongs to none of the chosen images"
                )

    def check_alike(self) -> None:
        """Refuse images that one network cannot learn from together: planes and volumes, other channels."""
        seen: dict[tuple[int, int], str] = {}
        for name, trained in self.data.images.items():
            seen.setdefault((trained.axes.ndim, self._channels[name]), name)
        if len(seen) < 2:
            return
        told = [
            f"{name!r} is {'a volume' if ndim == 3 else 'a plane'} with {count} channel{'s' * (count > 1)}"
            for (ndim, count), name in seen.items()
        ]
        raise DataError(
            f"images of different kinds cannot be trained on together: {', '.join(told)}. Untick those that "
            "differ, or choose under Axes how they are read"
        )


def image_shape(image: Any, config: DatasetConfig) -> tuple[int, ...]:
    """Return the shape of an image's array without channels; raises `DataError` when it cannot be one."""
    letters = layer_axes(image, config.ndim, config.channel_axis).letters
    shape = level_data(image, config.level).shape
    return tuple(int(shape[axis]) for axis, letter in enumerate(letters) if letter not in "cs")


def named_layer(
    image: Any,
    shape: tuple[int, ...],
    suffix: str,
    own: Any,
    images: Sequence[Any],
    all_layers: Sequence[Any],
) -> Any | None:
    """Return the layer that an image's labels, or its mask, are on when nobody chose one.

    Parameters
    ----------
    image
        One of several images.
    shape
        Shape of its array without channels.
    suffix
        What is added to the image's name: ``<target>``, or ``<target>_mask``.
    own
        The layer chosen for the target as a whole, None for none.
    images
        All images.
    all_layers
        Layers of the viewer.

    Returns
    -------
    layer or None
        ``<image>_<suffix>``, else `own` where it fits in shape and is not called after another image.
    """
    if own is None:
        return None
    named = [layer for layer in all_layers if layer.name == f"{image.name}_{suffix}"]
    if named:
        return named[0]
    others = [other for other in images if other is not image]
    if any(own.name.startswith(f"{other.name}_") for other in others):
        return None
    return own if _fits(own, shape) else None


def _levels(layer: Any) -> list[Any]:
    return list(layer.data) if layer.multiscale else [layer.data]


def _channels(layer: Any, axis: int) -> int:
    return int(level_data(layer).shape[axis])


def _fits(layer: Any, shape: tuple[int, ...]) -> bool:
    """Return whether a layer covers an image of this shape, axes of length 1 and channels aside."""
    return _level_of(layer, shape) is not None


def _level_of(layer: Any, shape: tuple[int, ...]) -> int | None:
    """Return the resolution level of a layer that covers an image of this shape, None when none does."""
    for level, array in enumerate(_levels(layer)):
        if _axes_in(array.shape, shape) is not None:
            return level
    return None


def _axes_in(given: Sequence[int], wanted: Sequence[int]) -> dict[int, int] | None:
    """Return the axis of labels for each axis of an image that is longer than 1, None when they do not fit.

    Labels may lack axes of length 1 or have more of them, and have one axis more at either end: channels.
    """
    long = [axis for axis, n in enumerate(wanted) if n != 1]
    there = [axis for axis, n in enumerate(given) if n != 1]
    for axes in (there, there[1:], there[:-1]):
        if [given[axis] for axis in axes] == [wanted[axis] for axis in long]:
            return dict(zip(long, axes, strict=True))
    return None


def _axes_of_labels(layer: Any, trained: TrainedImage) -> LayerAxes:
    """Return what the axes of labels are: those of their image, of which they may lack some of length 1."""
    level = _level_of(layer, trained.shape) or 0
    shape, letters = level_data(layer, level).shape, trained.axes.letters
    if len(shape) > len(letters):
        return layer_axes(layer, trained.axes.ndim)
    if len(shape) == len(letters):
        return trained.axes
    names = {axis: letters[of] for of, axis in (_axes_in(shape, trained.shape) or {}).items()}
    spare = iter([letter for letter in letters if letter not in names.values()])
    return LayerAxes("".join(names.get(axis) or next(spare) for axis in range(len(shape))), trained.axes.ndim)


def _check_channels(group: Sequence[Any], axes: LayerAxes) -> None:
    shapes = {tuple(level_data(layer).shape) for layer in group}
    if len(shapes) > 1:
        raise DataError(
            f"layers of the shapes {', '.join(map(_text, sorted(shapes)))} cannot be channels of one image; "
            "choose layers of one shape, or train on them as separate images"
        )
    if axes.channel is not None:
        raise DataError(
            f"layer {group[0].name!r} has channels already and cannot be one of an image; train on the "
            "layers as separate images"
        )


def _text(shape: Sequence[int]) -> str:
    return " × ".join(str(int(n)) for n in shape)
