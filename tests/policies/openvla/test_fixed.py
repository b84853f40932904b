"""Passes of a fixed shape: a row's bits do not depend on its company, and its answers are those of the plain forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from shapes_only import ShapesOnly

from vlagym.errors import ConfigError
from vlagym.policies.audit import audit_batch, batch_record
from vlagym.policies.network.weights import SafetensorsFolder
from vlagym.policies.openvla.agreement import compare_decoding
from vlagym.policies.openvla.config import ModelConfig
from vlagym.policies.openvla.fixed import FixedDecoding, Shape
from vlagym.policies.openvla.loading import build
from vlagym.policies.openvla.model import OpenVla
from vlagym.policies.openvla.policy import OpenVlaOftPolicy, OpenVlaPolicy
from vlagym.policies.registry import make_policy

from .test_policy import settings

Recorded = np.lib.npyio.NpzFile
Prompts = list[tuple[int, ...]]
ROWS, TOKENS = 4, 7


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def network(request: pytest.FixtureRequest, checkpoint: Path, config: ModelConfig, model: OpenVla) -> OpenVla:
    if request.param == torch.float32:
        return model
    return build(config, lambda _: SafetensorsFolder(checkpoint), device=torch.device("cpu"), dtype=request.param)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def fixed(network: OpenVla, prompts: Prompts, rows: int = ROWS) -> FixedDecoding:
    return FixedDecoding(network, Shape(rows, 1, max(map(len, prompts))), TOKENS, None, graphs=False)


def test_a_row_has_the_same_bits_alone_in_company_and_at_any_place(network: OpenVla, images: np.ndarray, prompts: Prompts) -> None:
    passes = fixed(network, prompts)
    tokens, logits = passes.logits(images[:1], prompts[:1])
    for place in range(ROWS):
        order = [*[1, 4, 7, 2][:place], 0, *[5, 3, 8, 6][: ROWS - 1 - place]]
        among, numbers = passes.logits(images[order], [prompts[index] for index in order])
        assert torch.equal(among[place], tokens[0])
        assert torch.equal(numbers[place], logits[0]), f"at place {place}"
        assert not torch.equal(numbers[place], numbers[place - 1])


def test_tokens_equal_upstream(model: OpenVla, images: np.ndarray, prompts: Prompts, recorded: Recorded) -> None:
    passes = fixed(model, prompts)
    parts = [slice(start, start + ROWS) for start in range(0, len(prompts), ROWS)]
    np.testing.assert_array_equal(
        np.concatenate([passes.generate(images[part], prompts[part]) for part in parts]), recorded["generated_ids"]
    )


def test_logits_agree_with_the_plain_forward_pass(model: OpenVla, images: np.ndarray, prompts: Prompts) -> None:
    passes = fixed(model, prompts)
    found = compare_decoding(model, lambda _: passes, [(0, [0, 1, 2]), (0, [4])], images, prompts, None)
    assert found.equal == 1.0
    assert found.error < 1e-5


def openvla(checkpoint: Path, suite: ShapesOnly, **changes: Any) -> OpenVlaPolicy:
    policy = make_policy(settings("openvla", checkpoint, **changes), suite)
    assert isinstance(policy, OpenVlaPolicy)
    return policy


def test_the_audit_finds_what_is_so(checkpoint: Path, libero_like: ShapesOnly, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = openvla(checkpoint, libero_like, batch=3)
    assert (policy.batch, policy.max_batch) == (3, 3)
    assert audit_batch(policy, libero_like).invariant
    assert batch_record(policy, libero_like)["batch_invariant"] is True
    assert policy.provenance()["batch"] == 3
    numbers = policy.numbers
    monkeypatch.setattr(policy, "numbers", lambda observations: [row + len(observations) for row in numbers(observations)])
    assert audit_batch(policy, libero_like).found == "the answer to an observation alone differs from that among 3"
    monkeypatch.setattr(policy, "numbers", lambda observations: [row + i for i, row in enumerate(numbers(observations))])
    assert "changes with its place" in audit_batch(policy, libero_like).found
    policy.close()


def test_threads_do_not_take_a_row_its_bits(checkpoint: Path, libero_like: ShapesOnly, two_threads: None) -> None:
    policy = openvla(checkpoint, libero_like, batch=2)
    assert audit_batch(policy, libero_like).found == "the same bits alone, among 2, and at another place among them"
    assert torch.get_num_threads() == 2
    policy.close()


def test_passes_as_large_as_the_batch_promise_nothing(checkpoint: Path, libero_like: ShapesOnly) -> None:
    policy = openvla(checkpoint, libero_like)
    assert batch_record(policy, libero_like) == {
        "batch_invariant": False,
        "batch_audit": "passes are as large as the batch (policy.batch is not set)",
    }
    assert batch_record(policy.with_rows(1), libero_like)["batch_invariant"] is True
    policy.close()


def test_chunks_do_not_depend_on_company(golden: Path, libero_like: ShapesOnly) -> None:
    policy = make_policy(settings("openvla_oft", golden / "openvla_oft_tiny" / "checkpoint", batch=3), libero_like)
    assert isinstance(policy, OpenVlaOftPolicy)
    assert audit_batch(policy, libero_like).invariant
    policy.close()


def test_graphs_need_a_gpu_and_a_fixed_shape(checkpoint: Path, libero_like: ShapesOnly) -> None:
    with pytest.raises(ConfigError, match="policy.device is cpu here"):
        openvla(checkpoint, libero_like, batch=2, graphs=True)
    with pytest.raises(ConfigError, match="set policy.batch"):
        openvla(checkpoint, libero_like, graphs=True)
