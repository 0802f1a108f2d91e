"""The networks that there are, by their name in ``model_config.architecture``."""

from __future__ import annotations

from .multitask import MultiTaskNetwork
from .plan import NetworkPlan
from .unet import MultiTaskUNet
from .vnet import MultiTaskVNet

NETWORKS: dict[str, type[MultiTaskNetwork]] = {"unet": MultiTaskUNet, "vnet": MultiTaskVNet}


def build_network(plan: NetworkPlan) -> MultiTaskNetwork:
    """Build the network of a plan, with weights from torch's current random state."""
    return NETWORKS[plan.architecture](plan)
