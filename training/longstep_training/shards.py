"""A model of which every process holds its share: FSDP2, and what follows from it.

Each transformer block is sharded by itself and gathered when it computes; what belongs to no block
(embeddings, the last norm, the head) is the root's. Gathering is a collective operation, so every
process must run the model equally often, with and without a row of its own: `keep_step`.

Weights, gradients and the optimiser stay float32. In bfloat16, blocks are gathered in it, which
halves what is sent, and compute under autocast as they do unsharded: what flows between blocks
stays float32. (FSDP's own casting of inputs would round that, too.)
"""

from __future__ import annotations

import warnings

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from transformers import PreTrainedModel

from longstep_agents.attention import Documents
from longstep_agents.shares import whole
from longstep_envs.types import BadValueError
from longstep_training.adapters import merge
from longstep_training.distributed import World, ensure_group
from longstep_training.policy import ModelT, Precision, computing


def shard(model: ModelT, world: World, precision: Precision = "float32") -> ModelT:
    """Keep this process's share of the model's weights only; returns the model.

    Every process must hold the same weights before.

    Raises:
        BadValueError: no blocks are known of the model.
    """
    blocks = _blocks(model)
    ensure_group(world)
    # It is about changing logits in place, which nothing here does.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view")
    mesh = init_device_mesh(world.device.type, (world.size,))
    rounded = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    policy = MixedPrecisionPolicy() if precision == "float32" else rounded
    for block in blocks:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh)
    return model


def is_sharded(model: nn.Module) -> bool:
    """Whether processes hold a share of it each."""
    return isinstance(model, FSDPModule)


def keep_step(model: PreTrainedModel, passes: int, *, learning: bool = False) -> None:
    """Let a sharded model run as often here as on the process that has most to do.

    To be called before this process's own `passes`, by all. What is run more teaches nothing: with
    `learning`, its gradient is 0.
    """
    if not is_sharded(model):
        return
    most = torch.tensor(passes)
    dist.all_reduce(most, dist.ReduceOp.MAX)
    for _ in range(int(most) - passes):
        with computing(model), torch.set_grad_enabled(learning):
            ids = torch.zeros(1, 1, dtype=torch.long, device=model.device)
            packing = Documents([1])
            logits = model(input_ids=ids, position_ids=ids, packing=packing, use_cache=False).logits
        if learning:
            (0.0 * logits.float().nan_to_num(0.0, 0.0, 0.0).sum()).backward()


def named_shards(model: nn.Module) -> dict[str, nn.Parameter]:
    """The model's parameters, of which a sharded one has this process's share."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()  # the root stays gathered after a pass without gradient
    return dict(model.named_parameters())


def whole_state(model: nn.Module, *, kept: bool = True) -> dict[str, Tensor]:
    """The state dict, whole, of the model without adapters that this one amounts to.

    Of a sharded model, it is gathered one by one into the machine's memory. All processes must ask
    for it together; one that does not keep it needs no room for it.
    """
    state = own_state(model, kept=kept)
    return merge(model, state) if kept else state


def own_state(model: nn.Module, *, kept: bool = True) -> dict[str, Tensor]:
    """The same with the names and weights that the model itself has, adapters apart."""
    if not any(isinstance(module, FSDPModule) for module in model.modules()):
        return model.state_dict()
    shares = named_shards(model)  # of names that share a tensor, the first
    aliases = dict(model.named_parameters(remove_duplicate=False))
    buffers = {name: b for name, b in model.state_dict().items() if name not in aliases}
    gathered = ((name, whole(share.detach())) for name, share in shares.items())
    return {name: tensor.cpu() for name, tensor in gathered if kept} | buffers


def unsharded_class(model: PreTrainedModel) -> type[PreTrainedModel]:
    """The model's class as transformers knows it; FSDP makes a class of its own of it."""
    kind = type(model)
    return kind.__bases__[1] if is_sharded(model) else kind


def _blocks(model: PreTrainedModel) -> list[nn.Module]:
    """The transformer blocks: what the model's family says must not be split."""
    names = set(getattr(model, "_no_split_modules", None) or ())
    found = [module for module in model.modules() if type(module).__name__ in names]
    if not found:
        raise BadValueError(
            f"run.shard = true does not know the blocks of a {model.config.model_type} model: "
            "its class has no _no_split_modules; train it unsharded"
        )
    return found
