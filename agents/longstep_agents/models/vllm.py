"""The vLLM engine, run by this process: for one accelerator or several, and for CPUs."""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
import threading
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import Field, JsonValue, PositiveFloat, PositiveInt

from longstep_agents.config import Config
from longstep_agents.model import ContextError, EngineError
from longstep_agents.models.token_requests import RequestModel, TokenRequest
from longstep_agents.models.vllm_worker import WORKER
from longstep_agents.types import Completion
from longstep_envs.packages import needed

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
_QUIET = {"VLLM_LOGGING_LEVEL": "WARNING", "VLLM_NO_USAGE_STATS": "1"}
"""What vLLM shows, and what it sends home; a value that is set already stays."""
_SHOWN = 300
"""Characters of what vLLM says that an error repeats."""


class VLLMConfig(Config):
    """How vLLM runs a model."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """`auto` is that of the weights."""
    context: PositiveInt | None = None
    """The longest prompt with its completion; without it, what the model allows."""
    concurrency: PositiveInt = 256
    """Completions that are computed together."""
    memory: Annotated[float, Field(gt=0.0, le=1.0)] = 0.9
    """Share of an accelerator's memory, or of the machine's on CPUs."""
    cache_gib: PositiveFloat | None = None
    """The cache's size on each device; without it, what `memory` leaves beside the weights."""
    devices: PositiveInt = 1
    """Accelerators that share each layer."""
    eager: bool = False
    """Start sooner and run slower: nothing is compiled."""
    can_sleep: bool = False
    """Whether `sleep` frees the memory, which only accelerators offer."""
    exchange: Path | None = None
    """Folder through which new weights go, which all devices' processes must see; without it, a
    temporary one."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Further arguments of the engine, as vLLM names them."""


class VLLMModel(RequestModel):
    """Samples with vLLM, whose scheduler and model run beside this process.

    The engine has an event loop of its own in a thread of its own. It may be awaited from any loop,
    one after another, and goes on while the caller's is busy.
    """

    def __init__(self, folder: Path, config: VLLMConfig | None = None) -> None:
        """Start the engine on a folder in Hugging Face format; returns when it can sample.

        Raises:
            MissingPackageError: vLLM is not installed.
            EngineError: vLLM cannot run this model here.
        """
        super().__init__()
        if not (folder / "config.json").exists():
            raise EngineError(f"{folder} holds no model; name a folder in Hugging Face format")
        self._config = config or VLLMConfig()
        self._folder = folder
        self._numbers = itertools.count()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="vllm", daemon=True)
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        with needed("vllm"):
            import vllm

        self._vllm = vllm
        self._thread.start()
        try:
            self._engine = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        except EngineError:
            self._stop()
            raise
        except Exception as error:  # foreign code: its processes fail in many ways
            self._stop()
            told = " ".join(f"{type(error).__name__}: {error}".split())[:_SHOWN]
            raise EngineError(f"vLLM cannot run {folder}: {told}; see its log above") from error

    async def sleep(self) -> None:
        """Free the engine's memory: its weights go to the machine's, its cache is forgotten.

        Raises:
            EngineError: `can_sleep` is off, or completions are under way.
        """
        self._require_sleep()
        with self._nothing_under_way():
            await self._there(self._engine.sleep(level=1))

    async def wake(self) -> None:
        """Take the memory back.

        Raises:
            EngineError: `can_sleep` is off.
        """
        self._require_sleep()
        await self._there(self._engine.wake_up())

    async def close(self) -> None:
        """End the engine and its processes."""
        if self._thread.is_alive():
            await self._there(self._shut_down())
            self._stop()

    async def _complete(self, request: TokenRequest) -> Completion:
        return await self._there(self._generate(request))

    async def _load(self, weights: Mapping[str, Tensor]) -> None:
        with tempfile.TemporaryDirectory(dir=self._config.exchange) as folder:
            write_weights(weights, Path(folder))
            await self._there(self._reload(folder))

    async def _there(self, work: Coroutine[Any, Any, T]) -> T:
        """Do this on the engine's loop."""
        if not self._thread.is_alive():
            work.close()
            raise EngineError("the engine is closed; start another")
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def _start(self) -> Any:
        config = self._config
        cache = None if config.cache_gib is None else int(config.cache_gib * 2**30)
        arguments: dict[str, Any] = {
            "model": str(self._folder),
            "load_format": "safetensors",  # what else it may hold is not the policy, or is pickled
            "dtype": config.dtype,
            "max_model_len": config.context,
            "max_num_seqs": config.concurrency,
            "gpu_memory_utilization": config.memory,
            "kv_cache_memory_bytes": cache,
            "tensor_parallel_size": config.devices,
            "enforce_eager": config.eager,
            "enable_sleep_mode": config.can_sleep,
            "enable_prefix_caching": True,
            "logprobs_mode": "processed_logprobs",  # of the distribution that was sampled from
            "generation_config": "vllm",  # not the model's own top-p, top-k and penalties
            # Half a prompt would take back a seeded random number, which no generator on CPUs can.
            "enable_chunked_prefill": not _on_cpu(),
            "skip_tokenizer_init": True,
            "worker_extension_cls": WORKER,
            "disable_log_stats": True,
        }
        wanted = self._vllm.AsyncEngineArgs(**(arguments | config.options)).create_engine_config()
        _require_head_size(wanted)
        return self._vllm.AsyncLLMEngine.from_vllm_config(wanted, disable_log_stats=True)

    async def _generate(self, request: TokenRequest) -> Completion:
        context, length = self._engine.model_config.max_model_len, len(request.prompt_ids)
        if length >= context:
            raise ContextError(
                f"a prompt of {length} tokens leaves no room in the engine's context of {context}; "
                "show less, or raise the engine's `context`"
            )
        params = self._params(request)
        prompt = {"prompt_token_ids": list(request.prompt_ids)}
        outputs = self._engine.generate(prompt, params, str(next(self._numbers)))
        try:
            (last,) = [output async for output in outputs]
        except Exception as error:  # foreign code: all callers hear of an engine that has died
            raise EngineError(f"vLLM failed: {type(error).__name__}: {error}") from error
        self.cached_tokens += last.num_cached_tokens or 0
        (done,) = last.outputs
        return Completion(
            ids=tuple(done.token_ids),
            logprobs=tuple(
                told[token].logprob
                for token, told in zip(done.token_ids, done.logprobs, strict=True)
            ),
            stop="length" if done.finish_reason == "length" else "end",
        )

    def _params(self, request: TokenRequest) -> Any:
        return self._vllm.SamplingParams(
            temperature=request.temperature,
            max_tokens=request.max_tokens,
            stop_token_ids=list(request.stop_ids),
            allowed_token_ids=request.allowed_ids and list(request.allowed_ids),
            seed=request.seed,
            logprobs=0,  # the sampled token's, and no other
            ignore_eos=True,  # `stop_ids` alone say where a completion ends
            detokenize=False,
            output_kind=self._vllm.sampling_params.RequestOutputKind.FINAL_ONLY,
        )

    async def _reload(self, folder: str) -> None:
        await self._engine.collective_rpc("take_weights", args=(folder,))
        if not await self._engine.reset_prefix_cache():
            raise EngineError("vLLM did not forget the old weights' cache; close the engine")

    async def _shut_down(self) -> None:
        self._engine.shutdown()
        self._engine = None  # its last words want the interpreter whole

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _require_sleep(self) -> None:
        if not self._config.can_sleep:
            raise EngineError("the engine was started without can_sleep; set it to free its memory")


def write_weights(weights: Mapping[str, Tensor], folder: Path) -> int:
    """A state dict as vLLM reads it; returns its bytes."""
    from safetensors.torch import save_file

    here = {name: t.detach().to("cpu", copy=True) for name, t in distinct(weights).items()}
    save_file({name: t.contiguous() for name, t in here.items()}, folder / "model.safetensors")
    return sum(tensor.nbytes for tensor in here.values())


def distinct(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict's tensors; of names that share one, the first."""
    kept: dict[object, tuple[str, Tensor]] = {}
    for name, tensor in weights.items():
        kept.setdefault((_address(tensor), tensor.shape, tensor.stride()), (name, tensor))
    return dict(kept.values())


def _address(tensor: Any) -> int:
    """Where it lies, or the share of it that this process has."""
    local: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return local.data_ptr()


def _on_cpu() -> bool:
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def _require_head_size(wanted: Any) -> None:
    """On CPUs vLLM starts with heads of any size, and dies of the first request."""
    if not _on_cpu():
        return
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

    size = wanted.model_config.get_head_size()
    known = CPUAttentionBackend.get_supported_head_sizes()
    if size not in known:
        raise EngineError(
            f"the model's attention heads have {size} dimensions, and vLLM on CPUs knows "
            f"{', '.join(map(str, known))}; build the policy with such heads (hidden / heads)"
        )
