"""The network: an automatic plan, one encoder, a decoder a target, named heads."""

from .build import build_network
from .compilation import cannot_compile, maybe_compile
from .cost import count_flops, count_parameters, estimate_memory, step_seconds
from .hardware import (
    Hardware,
    Inventory,
    choose_precision,
    is_out_of_memory,
    lost_device,
    resolve_hardware,
)
from .multitask import MultiTaskNetwork
from .plan import DecoderPlan, HeadPlan, NetworkPlan, make_plan, round_up
from .topology import Topology, default_patch_size, plan_topology
from .unet import MultiTaskUNet
from .vnet import MultiTaskVNet

__all__ = [
    "DecoderPlan",
    "Hardware",
    "HeadPlan",
    "Inventory",
    "MultiTaskNetwork",
    "MultiTaskUNet",
    "MultiTaskVNet",
    "NetworkPlan",
    "Topology",
    "build_network",
    "cannot_compile",
    "choose_precision",
    "count_flops",
    "count_parameters",
    "default_patch_size",
    "estimate_memory",
    "is_out_of_memory",
    "lost_device",
    "make_plan",
    "maybe_compile",
    "plan_topology",
    "resolve_hardware",
    "round_up",
    "step_seconds",
]
