"""The targets: which layer is learned, under which name, and how."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from qtpy.compat import isalive

from ...config import ConfigError, TargetConfig
from ..forms.form import Form
from ..forms.rows import INSET, Card, CardList
from ..layers.data_spec import Chosen
from ..layers.layer_choice import LayerCombo, LayerWatch, can_be_labels, is_labels
from ..sessions.followers import perform
from .glance_row import GlanceRow
from .image_rows import ImageRows

Named = Callable[[Any, str, Any], Any]
_LOOK = 1 << 18
"""Voxels that are looked at to tell scribbles from complete labels."""


class TargetCard(Card):
    """One target: its name, its layer, and `TargetConfig`."""

    def __init__(self, name: str, watch: LayerWatch, images: Callable[[], list[Any]], named: Named) -> None:
        super().__init__(
            name,
            "What the target is called in the run's files and layers.",
            "Show in the visible region what the network would be taught of this target, and everything that "
            "auxiliary tasks derive from it",
        )
        self._images = images
        self.glance = GlanceRow()
        self.body.addWidget(self.glance)
        self.labels = LayerCombo("labels", watch, can_be_labels)
        self.mask = LayerCombo("mask", watch, is_labels, empty="none")
        self.form = Form(
            TargetConfig,
            editors={"labels": self.labels, "mask": self.mask},
            first=("labels", "kind", "unlabelled", "mask", "losses", "weight"),
            inset=INSET,
        )
        self.form.setObjectName("target")
        self.pairs = ImageRows(watch, lambda image, mask: self._named_for(named, image, mask))
        self.pairs.changed.connect(self.changed)
        self.body.addWidget(self.pairs)
        self.body.addWidget(self.form)
        for part in (self.name.textChanged, self.labels.changed, self.mask.changed):
            part.connect(lambda *_: self.pairs.refresh())
        self.spelt_out = self._of_files = False
        self.form.changed.connect(self.changed)

    def value(self) -> tuple[str, TargetConfig]:
        """Return the target's name and settings.

        `labels` is None when the layer is called after the target, ``<target>`` or ``<image>_<target>``:
        such an experiment finds the labels of other images, too.
        """
        name = str(self.name.text()).strip()
        self.form.within = f"dataset_config.targets.{name}"
        config: TargetConfig = self.form.value()
        if config.labels in self._own_names(name) and not self.spelt_out:
            config = config.replace(labels=None)
        return name, config

    def set_value(self, name: str, config: TargetConfig) -> None:
        """Show a target."""
        self.name.setText(name)
        own = self._own_names(name)
        self.spelt_out = config.labels in own
        present = {getattr(layer, "name", layer) for layer in self.labels.offered()}
        layer = config.labels or next((item for item in own if item in present), name)
        self.form.set_value(config.replace(labels=layer))

    def offer_files(self, labels: tuple[str, ...] | None, masks: tuple[str, ...] | None) -> None:
        """Offer names of files in a folder instead of layers, None for layers again.

        What is called after the target stays so: as a file by its name alone, as a layer with the image's.
        """
        name = str(self.name.text()).strip()
        own, others = self._own_names(name), (labels is not None) is not self._of_files
        called = others and self.labels.value() in own and not self.spelt_out
        self._of_files = labels is not None
        self.labels.offer_files(labels)
        self.mask.offer_files(masks)
        if called:
            layers = [getattr(layer, "name", "") for layer in self.labels.offered()]
            there = layers if labels is None else labels
            self.labels.set_value(next((item for item in own if item in there), name))

    def _named_for(self, named: Named, image: Any, mask: bool) -> Any:
        name = str(self.name.text()).strip()
        if mask:
            return named(image, f"{name}_mask", self.mask.layer())
        return named(image, name, self.labels.layer())

    def _own_names(self, name: str) -> list[str]:
        return [*(f"{image.name}_{name}" for image in self._images()), name]


class TargetsTable(CardList):
    """Every target of an experiment: `dataset_config.targets`.

    Parameters
    ----------
    watch
        Says which layers there are.
    images
        Returns the image layers that are trained on: targets are called after what their layer's name
        adds to the image's.
    named
        Returns the layer of an image that its name, what is added to it, and the layer of the whole target
        tell.
    """

    def __init__(self, watch: LayerWatch, images: Callable[[], list[Any]], named: Named) -> None:
        super().__init__(
            "targets",
            "add_target",
            "+ Add target",
            "Learn what is painted on a labels layer",
            "A target is what is painted on a labels layer: make one with the tag above the layer list, "
            "and paint.",
            lambda: self.append_new(),
        )
        self._watch = watch
        self._images = images
        self._named = named
        self._several: list[Any] = []
        self._files: tuple[tuple[str, ...] | None, tuple[str, ...] | None] = (None, None)
        self._suggested: list[Any] | None = []
        self.add.clicked.connect(self._keep)

    def suggest(self) -> None:
        """Fill an untouched table: a row for each layer of a sample, else one for the first labels."""
        if self._suggested is None or self._files[0] is not None:
            return
        layers = self._watch.of_kind(is_labels)[::-1]
        wanted = [layer for layer in layers if _known(layer)]
        names = tuple(f"{image.name}_" for image in self._images())
        wanted = wanted or [layer for layer in layers if layer.name.startswith(names)][:1] or layers[:1]
        if wanted == self._suggested:
            return
        self.clear()
        for layer in wanted:
            self.append_new(layer)
        self._suggested = wanted

    def _keep(self) -> None:
        self._suggested = None

    def take(self, card: Any) -> None:
        """Remove a row."""
        if not self.signalsBlocked():
            self._keep()
        super().take(card)

    def append_new(self, layer: Any = None) -> TargetCard:
        """Add a row for a layer, else for the first labels layer that no row has yet."""
        used = {card.labels.layer() for card in self.cards}
        if layer is None:
            free = [item for item in self._watch.of_kind(is_labels) if item not in used]
            layer = free[0] if free else None
        name = self.free_name(target_name(layer, self._images()) if layer is not None else "target")
        card = TargetCard(name, self._watch, self._images, self._named)
        if layer is not None:
            card.set_value(name, start_value(layer))
            card.spelt_out = False
        self.append(card)
        if layer is not None and _has_to_be_read(layer):
            self._look_for_scribbles(card, layer)
        return card

    def _look_for_scribbles(self, card: TargetCard, layer: Any) -> None:
        """Have a worker read labels on the disk, and call 0 unlabelled where they are scribbles."""
        data = _coarsest(layer)
        worker = perform(lambda: looks_scribbled(data))

        def on_read(ended: tuple[bool | None, str]) -> None:
            if not isalive(self):
                return
            unlabelled = card.form.editors["unlabelled"]
            untouched = card in self.cards and card.labels.layer() is layer and unlabelled.value() is None
            if ended[0] and untouched:
                unlabelled.set_value(0)

        worker.returned.connect(on_read)
        worker.start()

    def value(self) -> dict[str, TargetConfig]:
        """Return the targets by name.

        Raises
        ------
        ConfigError
            When a name is missing or used twice, or a row's settings are not valid.
        """
        return self.values("target")

    def set_value(self, value: Mapping[str, TargetConfig]) -> None:
        """Show these targets."""
        self._keep()
        self.clear()
        for name, config in value.items():
            card = TargetCard(name, self._watch, self._images, self._named)
            card.set_value(name, config)
            self.append(card)

    def append(self, card: Any) -> None:
        """Add a row, for the images of now."""
        card.pairs.offer(self._several)
        card.offer_files(*self._files)
        super().append(card)

    def offer_images(self, images: list[Any]) -> None:
        """Let every row say which layers belong to each of several images."""
        self._several = images
        for card in self.cards:
            card.pairs.offer(images)

    def offer_files(self, labels: tuple[str, ...] | None, masks: tuple[str, ...] | None) -> None:
        """Let every row choose names of labels and masks in a folder; None for layers again.

        An untouched table gets a row for each name.
        """
        others, self._files = self._files[0] != labels, (labels, masks)
        if labels is not None and others and self._suggested is not None:
            self.clear()
            for name in labels:
                card = TargetCard(name, self._watch, self._images, self._named)
                card.offer_files(labels, masks)
                card.set_value(name, TargetConfig())
                card.spelt_out = False
                self.append(card)
            self._suggested = []
        for card in self.cards:
            card.offer_files(labels, masks)

    def chosen(self) -> dict[str, Chosen]:
        """Return which layers were chosen for single images, by target."""
        return {str(card.name.text()).strip(): card.pairs.chosen() for card in self.cards}

    def layers(self, only: Collection[str] | None = None) -> dict[str, tuple[Any, Any]]:
        """Return the labels layer and the mask layer (or None) of every target, or of these.

        Raises
        ------
        ConfigError
            When a target's layer is not there.
        """
        found: dict[str, tuple[Any, Any]] = {}
        for card in self.cards:
            name = str(card.name.text()).strip()
            if only is not None and name not in only:
                continue
            for combo, what in ((card.labels, "labels"), (card.mask, "mask")):
                if combo.layer() is None and (what == "labels" or combo.value() is not None):
                    missing = f"{combo.value()!r} is not there" if combo.value() else "is not chosen"
                    raise ConfigError(
                        f"target {name!r}: its {what} layer {missing}; choose a {what} layer in the target's "
                        "row, or remove the row"
                    )
            found[name] = (card.labels.layer(), card.mask.layer())
        return found


def target_name(layer: Any, images: list[Any]) -> str:
    """Return what a target is called after its layer: ``cells_nuclei`` of image ``cells`` is ``nuclei``."""
    name = str(layer.name)
    for image in images:
        if name.startswith(image.name) and len(name) > len(image.name):
            name = name[len(image.name) :]
            break
    name = re.sub(r"[^\w.-]+", "_", name).strip("_-. ").removesuffix("_mask")
    return name if name and name != "image" else "labels"


def start_value(layer: Any) -> TargetConfig:
    """Return the settings that a new row starts with; samples say themselves what they are.

    Scribbles leave most voxels 0 and use few values: there 0 means unlabelled. In complete labels 0 is
    the background, and so it is in labels on the disk until somebody has read them.
    """
    known = _known(layer)
    config = TargetConfig.model_validate({"labels": layer.name, **known})
    if known or not is_labels(layer) or _has_to_be_read(layer):
        return config
    return config.replace(unlabelled=0 if looks_scribbled(_coarsest(layer)) else None)


def _coarsest(layer: Any) -> Any:
    return layer.data[-1] if layer.multiscale else layer.data


def _known(layer: Any) -> Any:
    """Return what a sample says of its target."""
    return layer.metadata.get("napari_segtrain", {}).get("target", {})


def _has_to_be_read(layer: Any) -> bool:
    """Return whether labels of which nothing is known lie on a disk, for which the viewer would wait."""
    data = _coarsest(layer)
    in_memory = isinstance(data, np.ndarray) and not isinstance(data, np.memmap)
    return is_labels(layer) and not in_memory and not _known(layer)


def looks_scribbled(data: Any) -> bool:
    """Return whether labels are mostly 0 and hold few other values."""
    step = max(1, round((np.prod(data.shape) / _LOOK) ** (1 / len(data.shape))))
    values, counts = np.unique(
        np.asarray(data[(slice(None, None, step),) * len(data.shape)]), return_counts=True
    )
    zeros = counts[values == 0].sum() / counts.sum()
    painted = values[values != 0]
    return bool(zeros > 0.5 and (len(painted) == 0 or 2 <= len(painted) <= 8))
