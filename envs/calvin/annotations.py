"""The sentence that CALVIN's evaluation gives for each of the 34 subtasks.

They are the first ones in mees/calvin@fa03f01, ``conf/annotations/new_playtable_validation.yaml``, which is read, not copied.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ...errors import AssetError
from .oracle import TASKS

ANNOTATIONS_FILE = "calvin_models/conf/annotations/new_playtable_validation.yaml"


@cache
def load_annotations(calvin_dir: Path) -> dict[str, str]:
    """Subtask -> sentence.

    Args:
        calvin_dir: Folder of the ``calvin`` assets.

    Raises:
        AssetError: The file does not have one sentence per subtask.
    """
    from omegaconf import OmegaConf

    sentences = OmegaConf.to_container(OmegaConf.load(calvin_dir / ANNOTATIONS_FILE))
    if not isinstance(sentences, dict) or set(sentences) != set(TASKS):
        path = calvin_dir / ANNOTATIONS_FILE
        raise AssetError(f"{path} does not name CALVIN's 34 subtasks. Fetch it again: vla-eval assets fetch calvin --force")
    return {str(task): str(alternatives[0]) for task, alternatives in sentences.items()}
