"""Checkpoints that are not what they should be: one clear error each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlagym.errors import ConfigError, PolicyError, VlagymError
from vlagym.policies.openvla.config import TOWERS, ModelConfig, read_config
from vlagym.policies.openvla.statistics import Statistics

from .conftest import TOWERS as TINY_TOWERS
from .conftest import edit_json


def test_defaults_of_transformers_4_are_spelled_out(config: ModelConfig) -> None:
    assert (config.language.rms_norm_eps, config.language.rope_theta, config.language.num_hidden_layers) == (1e-6, 10000.0, 3)
    assert (config.first_text_id, config.prompt, config.vision_dim) == (32000, "openvla", 88)
    assert config.image_means[0] == (0.484375, 0.455078125, 0.40625)


def test_official_towers_need_no_setting(checkpoint: Path) -> None:
    assert read_config(checkpoint).towers == tuple(TOWERS.values())
    assert [tower.mlp_dim for tower in TOWERS.values()] == [4096, 4304]


def test_dataset_statistics_override_the_config(broken: Path) -> None:
    (broken / "dataset_statistics.json").write_text(json.dumps({"mine": {"action": {"q01": [0.0], "q99": [1.0]}}}))
    assert read_config(broken).statistics.keys == ["mine"]
    (broken / "dataset_statistics.json").unlink()
    assert "libero_goal" in read_config(broken).statistics.keys


def test_known_classes_of_published_repositories_are_not_foreign(broken: Path) -> None:
    prefix = "openvla/openvla-7b--"
    auto_map = {"AutoConfig": f"{prefix}configuration_prismatic.OpenVLAConfig"}
    edit_json(broken / "config.json", auto_map=auto_map)
    read_config(broken)


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("config.json", {"model_type": "llama"}, "is a 'llama' checkpoint"),
        (
            "config.json",
            {"auto_map": {"AutoModel": "evil.Evil"}},
            r"asks for code of its own \(evil.Evil\), which vlagym does not run",
        ),
        ("config.json", {"architectures": ["MyVla"]}, "asks for code of its own"),
        ("config.json", {"timm_model_ids": ["vit_x", "vit_y"]}, "unknown vision tower 'vit_x'"),
        ("config.json", {"image_sizes": [384, 384]}, "towers of 224 pixels"),
        ("config.json", {"use_fused_vision_backbone": False}, "use_fused_vision_backbone"),
        ("config.json", {"text_config": {"model_type": "phi"}}, "must be a plain Llama"),
        ("config.json", {"text_config": {"rope_scaling": {"type": "linear"}}}, "must be a plain Llama"),
        ("preprocessor_config.json", {"tvf_normalize_params": None}, "lacks or garbles 'tvf_normalize_params'"),
        ("preprocessor_config.json", {"image_resize_strategy": "letterbox"}, "must resize naively"),
        ("preprocessor_config.json", {"tvf_normalize_params": [{"mean": [0, 0, 0], "std": [0, 1, 1]}] * 2}, "3 positive stds"),
    ],
)
def test_a_checkpoint_that_cannot_be_run_says_why(broken: Path, file: str, changes: dict[str, Any], message: str) -> None:
    edit_json(broken / file, **changes)
    with pytest.raises(VlagymError, match=message):
        read_config(broken)


def test_missing_and_damaged_files_are_named(broken: Path) -> None:
    (broken / "preprocessor_config.json").write_text("{")
    with pytest.raises(PolicyError, match="preprocessor_config.json is not .*: not JSON"):
        read_config(broken)
    (broken / "config.json").unlink()
    with pytest.raises(PolicyError, match="config.json is missing in"):
        read_config(broken)


def test_a_checkpoint_without_statistics_is_refused(broken: Path) -> None:
    (broken / "dataset_statistics.json").unlink()
    edit_json(broken / "config.json", norm_stats=None)
    with pytest.raises(PolicyError, match="neither dataset_statistics.json nor norm_stats"):
        read_config(broken)


def test_settings_of_towers_are_checked(checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match="must describe 2 towers"):
        read_config(checkpoint, TINY_TOWERS[:1])
    with pytest.raises(ConfigError, match="It takes embed_dim, depth, heads"):
        read_config(checkpoint, [{"width": 3}, {}])


def test_statistics_are_found_by_name_or_listed(config: ModelConfig) -> None:
    statistics = config.statistics
    assert statistics.resolve("libero_goal") == "libero_goal"
    assert Statistics({"libero_10_no_noops": {}, "b": {}}, "x").resolve("libero_10") == "libero_10_no_noops"
    assert Statistics({"only": {}}, "x").resolve(None) == "only"
    with pytest.raises(ConfigError, match="unknown policy.unnorm_key.*'libero_gaol'.*Did you mean 'libero_goal'.*bridge_orig"):
        statistics.resolve("libero_gaol")
    with pytest.raises(ConfigError, match="several statistics; name one as policy.unnorm_key: bridge_orig, dim9_nomask"):
        statistics.resolve(None)


def test_statistics_of_the_wrong_width_or_kind_are_refused(config: ModelConfig) -> None:
    with pytest.raises(PolicyError, match=r"'dim9_nomask' \(action\).*must have 7 entries each"):
        config.statistics.scale("dim9_nomask", "action", 7, "q01_q99", 0.0)
    with pytest.raises(PolicyError, match=r"'dim9_nomask' \(proprio\).*missing or damaged"):
        config.statistics.scale("dim9_nomask", "proprio", 8, "q01_q99", 0.0)
    infinite = Statistics({"a": {"action": {"q01": [0.0], "q99": [float("nan")]}}}, "here")
    with pytest.raises(PolicyError, match="not finite"):
        infinite.scale("a", "action", 1, "q01_q99", 0.0)


def test_aloha_scales_by_minimum_and_maximum() -> None:
    entry = {"min": [-2.0], "max": [2.0], "q01": [-1.0], "q99": [1.0]}
    scale = Statistics({"a": {"action": entry}}, "here").scale("a", "action", 1, "min_max", 0.0)
    np.testing.assert_array_equal(scale.unnormalise(np.array([-1.0, 0.5])[:, None]), [[-2.0], [1.0]])
