"""What the outputs of nodes follow from, as keys, and what earlier executions gave by these keys."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from napari_segtrain.config import SegtrainError

from .from_config import LEARNS, NETWORKS, Recipe, recipe_of, trains_from
from .graph import Graph, Node
from .repetition import body_of

_FILES = ("data", "image", "config", "weights", "run")
"""Parameters that name files."""
_OF_DATA = (
    "patch_size",
    "batch_size",
    "micro_batch",
    "gradient_checkpointing",
    "steps_per_epoch",
    "val_steps",
    "accumulate",
    "ema_decay",
    "loss_on_label_only",
)
"""Keys of `tr_config` that batches and networks follow from, such as what needs memory."""
_OF_LENGTH = ("num_epochs", "max_time", "accumulate")
"""Keys of `tr_config` that the learning rate follows."""
_NAMES = ("model_name", "run_name")


class Cache:
    """What nodes gave, by the key that it follows from; lives as long as the process does."""

    def __init__(self) -> None:
        self._kept: dict[str, Mapping[str, Any]] = {}

    def get(self, key: str) -> Mapping[str, Any] | None:
        """Return what a node gave, None when it is not known."""
        return self._kept.get(key)

    def put(self, key: str, values: Mapping[str, Any]) -> None:
        """Keep what a node gave; without a key nothing is kept."""
        if key:
            self._kept[key] = values

    def drop(self, key: str) -> None:
        """Forget what a node gave."""
        self._kept.pop(key, None)

    def keep_only(self, keys: Iterable[str]) -> None:
        """Forget all other nodes, which nobody may ask for again and which need memory."""
        wanted = set(keys)
        self._kept = {key: values for key, values in self._kept.items() if key in wanted}


class Keys:
    """For each node of a graph what it depends on, and a key that its outputs follow from.

    Parameters
    ----------
    graph
        The graph.
    layers, data
        See `execute`.
    """

    def __init__(self, graph: Graph, layers: Mapping[str, Any], data: Mapping[str, Any]) -> None:
        self._graph = graph
        self._layers, self._data = layers, data
        self._recipes: dict[str, Recipe] = {}
        self._keys: dict[str, str] = {}
        self._contents: dict[str, str | None] = {}

    def recipe(self, name: str) -> Recipe:
        """Return the experiment that a node learns in."""
        if name not in self._recipes:
            self._recipes[name] = recipe_of(self._graph, name)
        return self._recipes[name]

    @cached_property
    def bodies(self) -> Mapping[str, tuple[str, ...]]:
        """The nodes that each repetition runs again, in their order."""
        return {node.name: body_of(self._graph, node.name) for node in self._graph.of_type("repeat")}

    def repetition_of(self, name: str) -> str | None:
        """Return the repetition that runs a node, None when it runs by itself."""
        return next((repeat for repeat, body in self.bodies.items() if name in body), None)

    def loader_of(self, name: str) -> str | None:
        """Return the data loader whose data a node is made for, though there is no link between them."""
        node = self._graph.node(name)
        if node.type not in NETWORKS and node.kind.category not in LEARNS:
            return None
        members = self.recipe(name).members
        loader = trains_from(self._graph, members, "data loader")
        return None if loader is None else loader.name

    def sources(self, name: str) -> tuple[str, ...]:
        """Return what has to be known before a node can run."""
        found = [link.source for link in self._graph.links_into(name)]
        # Whatever uses a step that is repeated gets what it gave in the last round.
        body = self.bodies.get(name, ())
        if self.repetition_of(name) is None:
            found += [r for source in found if source not in body and (r := self.repetition_of(source))]
        loader = self.loader_of(name)
        return tuple(dict.fromkeys([*found, *([loader] if loader else [])]))

    def order(self) -> tuple[str, ...]:
        """Return all nodes so that each comes after its sources."""
        names = [node.name for node in self._graph.nodes]
        return tuple(TopologicalSorter({name: self.sources(name) for name in names}).static_order())

    def of(self, name: str) -> str:
        """Return a text that changes when the outputs of a node would; empty when nobody can tell."""
        if name not in self._keys:
            self._keys[name] = self._key(self._graph.node(name))
        return self._keys[name]

    def kept_as(self, name: str) -> str:
        """Return the key that the cache keeps a node by; empty when it is not to be kept.

        What has the path of an array, to read it later, is not kept for the same array at another path, and
        not at all where that goes with the run: the array could not be deleted while it is open.
        """
        from napari_segtrain.runs.scratch import is_shared

        key, paths = self.of(name), sorted(_paths(self._given(self._graph.node(name))))
        return " ".join((key, *paths)) if key and not any(map(is_shared, paths)) else ""

    def _given(self, node: Node) -> list[Any]:
        """Return what is given to a node in the place of a file: data, or a layer of the viewer."""
        found = self._data.get(node.name), self._layers.get(getattr(node.config, "image", None) or "")
        return [given for given in found if given is not None]

    def _key(self, node: Node) -> str:
        said: dict[str, Any] = {"type": node.type, "config": node.config.to_dict()}
        contents = [self._content(path) for path in (*self._files(node), *self._files_of_recipe(node))]
        before = {source: self.of(source) for source in self.sources(node.name)}
        if None in contents or not all(before.values()):
            return ""
        links = [
            (link.target_port, link.source_port, before[link.source])
            for link in self._graph.links_into(node.name)
        ]
        said |= {"files": contents, "links": sorted(links), "before": sorted(before.values())}
        said["given"] = _without_shared(self._given(node))
        said |= self._of_recipe(node)
        text = json.dumps(said, sort_keys=True, default=str)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def _of_recipe(self, node: Node) -> dict[str, Any]:
        """Return what a node's outputs follow from beside its parameters: what the others say of its part."""
        if node.type not in ("data_loader", *NETWORKS, "optimizer", "initialize_optimizer"):
            return {}
        recipe = self.recipe(node.name)
        values = recipe.config.to_dict()
        training = values.pop("tr_config")
        setup = {name: value for name, value in values.pop("tr_setup").items() if name not in _NAMES}
        values.pop("inference_config")
        length = {name: training[name] for name in _OF_LENGTH}
        if node.type in ("optimizer", "initialize_optimizer"):
            return {"length": length}
        said: dict[str, Any] = {
            "setup": setup,
            "training": {name: training[name] for name in _OF_DATA},
            "optimizer": training["optimizer"]["name"],
            "losses": [term.to_dict() for term in recipe.losses],
            "data": values,
            "checkpoint": recipe.checkpoint,
        }
        if node.type in NETWORKS:
            said["length"] = length
        return said

    def _files_of_recipe(self, node: Node) -> Iterator[str]:
        """Return the files that batches follow from: those of the network that learns from them."""
        if node.type == "data_loader":
            members = self.recipe(node.name).members
            network = trains_from(self._graph, members, "network")
            yield from () if network is None else self._files(network)

    def _files(self, node: Node) -> Iterator[str]:
        """Return the files that a node reads."""
        if node.name in self._data:
            yield from _paths(self._data[node.name])
            return
        for name in _FILES:
            given = getattr(node.config, name, None)
            if name == "weights" and node.type in NETWORKS:
                given = self.recipe(node.name).config.network.weights  # those of its file, too
            if not isinstance(given, str):
                continue
            if name == "image" and given in self._layers:
                yield from _paths(self._layers[given])
            elif name == "run":
                yield _checkpoint(given, getattr(node.config, "checkpoint", "best"))
            elif name == "weights":
                # The run says in a checkpoint which one it predicts with.
                yield from dict.fromkeys(_checkpoint(given, which) for which in ("best", "last"))
            else:
                yield given

    def _content(self, path: str) -> str | None:
        if path not in self._contents:
            from napari_segtrain.data.fingerprint import content_key

            self._contents[path] = content_key(Path(path))
        return self._contents[path]


def _paths(spec: Any) -> Iterator[str]:
    """Return all paths in the description of a layer, or of data."""
    if isinstance(spec, str | Path):
        yield str(spec)
        return
    values = list(spec.items()) if isinstance(spec, Mapping) else [(None, value) for value in spec]
    for name, value in values:
        if isinstance(value, Mapping | list | tuple):
            yield from _paths(value)
        elif name in ("path", "folder") and isinstance(value, str | Path):
            yield str(value)


def _without_shared(spec: Any) -> Any:
    """Return a description without the paths of shared arrays: each time they are other ones."""
    if isinstance(spec, Mapping):
        unsaid = ("path",) if spec.get("kind") == "memmap" else ()
        return {name: _without_shared(value) for name, value in spec.items() if name not in unsaid}
    return [_without_shared(value) for value in spec] if isinstance(spec, list | tuple) else spec


def _checkpoint(run: str, which: Any) -> str:
    from napari_segtrain.runs import find_checkpoint

    try:
        return str(find_checkpoint(run, which))
    except SegtrainError:
        return run  # its node says what is wrong with it
