import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention as sdpa
from transformers import Qwen3ForCausalLM

from longstep_agents.attention import Documents, LaneCache, varlen_attention
from longstep_agents.models.lean import LeanDecoder

ModelFactory = Callable[..., Qwen3ForCausalLM]
ROWS = [[5, 9, 11, 3, 4], [7], [20, 21, 22], [8, 8]]


@pytest.mark.parametrize("kv_heads", [4, 2])
def test_packed_documents_do_not_see_each_other(make_model: ModelFactory, kv_heads: int) -> None:
    packed = make_model(kv_heads)(
        input_ids=torch.tensor([[token for row in ROWS for token in row]]),
        position_ids=torch.cat([torch.arange(len(row)) for row in ROWS])[None],
        packing=Documents([len(row) for row in ROWS]),
        use_cache=False,
    ).logits[0]
    plain = make_model(kv_heads, attention="sdpa")
    alone = torch.cat([plain(torch.tensor([row])).logits[0] for row in ROWS])
    assert torch.allclose(packed, alone, atol=1e-5)


@pytest.mark.parametrize("lanes", [[0, 1, 2, 3], [3, 0], [9], [2, 9, 5]])
def test_lanes_that_grow_in_uneven_parts_equal_one_pass(
    make_model: ModelFactory, lanes: list[int]
) -> None:
    model = make_model(2)
    cache = LaneCache(layers=2, lanes=10, heads=2, head_dim=8, capacity=2)
    rows = [[(7 * lane + 3 * i) % 30 + 4 for i in range(4 + lane)] for lane in lanes]
    fed, last = [0] * len(rows), [torch.empty(0)] * len(rows)
    for part in (1, 3, 2, 100):
        going = [i for i, row in enumerate(rows) if fed[i] < len(row)]
        counts = [min(part, len(rows[i]) - fed[i]) for i in going]
        if not going:
            break
        positions = cache.extend([lanes[i] for i in going], [fed[i] for i in going], counts)
        ids = [t for i, n in zip(going, counts, strict=True) for t in rows[i][fed[i] : fed[i] + n]]
        with torch.no_grad():
            logits = model(
                input_ids=torch.tensor([ids]),
                position_ids=positions[None],
                packing=cache,
                use_cache=False,
            ).logits[0]
        for i, n, end in zip(going, counts, torch.tensor(counts).cumsum(0).tolist(), strict=True):
            fed[i] += n
            last[i] = logits[end - 1]
    plain = make_model(2, attention="sdpa")
    for row, logits in zip(rows, last, strict=True):
        assert torch.allclose(logits, plain(torch.tensor([row])).logits[0, -1], atol=1e-5)


def test_a_cache_grows_up_to_its_limit() -> None:
    cache = LaneCache(layers=1, lanes=2, heads=1, head_dim=8, capacity=4, limit=10)
    for needed, capacity in ((4, 4), (5, 8), (9, 10), (10, 10)):
        cache.extend([0], [0], [needed])
        assert cache._keys[0].shape == (2, capacity, 1, 8)


Varlen = Callable[..., torch.Tensor]


def reference(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *rest: Any) -> Any:
    """What torch's kernel computes, from what it is told of bounds, window and scale."""
    bounds, bounds_k, longest, longest_k, window, scale = rest
    assert window == (-1, 0)
    assert bounds is bounds_k
    assert longest == longest_k == int(bounds.diff().max())
    assert bounds.dtype == torch.int32
    mask = torch.arange(len(query))[:, None] >= torch.arange(len(query))
    text = torch.bucketize(torch.arange(len(query)), bounds, right=True)
    q, k, v = (part.transpose(0, 1)[None] for part in (query, key, value))
    mask = mask & (text[:, None] == text)
    found = sdpa(q, k, v, attn_mask=mask, scale=scale, enable_gqa=True)
    return found[0].transpose(0, 1)


def of_today(  # noqa: PLR0913
    query: Any,
    key: Any,
    value: Any,
    cu_seq_q: Any,
    cu_seq_k: Any,
    max_q: int,
    max_k: int,
    *,
    return_aux: Any = None,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    enable_gqa: bool = False,
) -> Any:
    assert enable_gqa
    return reference(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, window_size, scale)


def without_groups(  # noqa: PLR0913
    query: Any,
    key: Any,
    value: Any,
    cu_seq_q: Any,
    cu_seq_k: Any,
    max_q: int,
    max_k: int,
    *,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
) -> Any:
    assert query.shape == key.shape == value.shape
    return reference(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, window_size, scale)


def without_scale(  # noqa: PLR0913
    query: Any, key: Any, value: Any, cu_seq_q: Any, cu_seq_k: Any, max_q: int, max_k: int
) -> Any:
    raise AssertionError


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Varlen | None], None]]:
    """Puts a function, or none, in the place of torch's kernel."""

    def put(function: Varlen | None) -> None:
        varlen_attention.cache_clear()
        module = None if function is None else SimpleNamespace(varlen_attn=function)
        monkeypatch.setitem(sys.modules, "torch.nn.attention.varlen", module)

    yield put
    varlen_attention.cache_clear()


@pytest.mark.parametrize("function", [of_today, without_groups])
def test_one_kernel_computes_what_a_call_for_each_document_does(
    kernel: Callable[[Varlen | None], None], function: Varlen
) -> None:
    kernel(function)
    documents = Documents([4, 1, 7])
    query, key, value = torch.randn(4, 12, 8), torch.randn(2, 12, 8), torch.randn(2, 12, 8)
    apart = documents.attend(0, query, key, value, 0.4)
    at_once = documents.attend_at_once(query, key, value, 0.4)
    assert torch.allclose(at_once, apart, atol=1e-6)


@pytest.mark.parametrize("function", [None, without_scale])
def test_a_torch_without_the_kernel_is_told(
    kernel: Callable[[Varlen | None], None], function: Varlen | None
) -> None:
    kernel(function)
    assert varlen_attention() is None


def test_the_kernel_of_this_torch_takes_what_it_is_given() -> None:
    """On the device that computes nothing, where torch checks the call all the same."""
    shapes = ((4, 12, 8), (2, 12, 8), (2, 12, 8))
    q, k, v = (torch.empty(shape, device="meta", dtype=torch.bfloat16) for shape in shapes)
    assert Documents([5, 7]).attend_at_once(q, k, v, 0.4).shape == (4, 12, 8)


@pytest.mark.parametrize("lean", [False, True])
def test_a_pass_is_on_one_device_throughout(make_model: ModelFactory, lean: bool) -> None:
    """On a device that computes nothing: what were left on the CPU would be refused."""
    device = torch.device("meta")
    model = make_model(2)
    torch.nn.Module.to(model, device)
    cache = LaneCache(layers=2, lanes=4, heads=2, head_dim=8, capacity=2).to(device, model.dtype)
    for lanes, starts, counts in (([0, 1], [0, 0], [3, 2]), ([0, 3], [3, 0], [1, 4])):
        positions = cache.extend(lanes, starts, counts)
        ids = torch.zeros(sum(counts), dtype=torch.long, device=device)
        kept = torch.tensor([0, 2]).to(device)
        with torch.inference_mode():
            if lean:
                logits = LeanDecoder(model)(ids, positions, kept, cache)
            else:
                passed = {"position_ids": positions[None], "packing": cache, "use_cache": False}
                logits = model(input_ids=ids[None], logits_to_keep=kept, **passed).logits[0]
        assert logits.device == device
