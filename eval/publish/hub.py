"""A run's results as the Hugging Face hub reads them from a model card: ``model-index`` (YAML) in front of a Markdown text.

The form is that of huggingface_hub's `EvalResult`: task, dataset and metrics per suite.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...edges.sharing import shareable
from ..tables.runs import Run
from ..tables.success import AVERAGE, AVERAGE_LENGTH, as_markdown, chain_sheet, success_sheet


def model_name(run: Run) -> str:
    """What was evaluated: the checkpoint's name if all legs had one, else the policy's."""
    names = {str(leg.policy.get("checkpoint") or leg.policy["name"]).partition("@")[0].rstrip("/") for leg in run.config.legs}
    name = names.pop() if len(names) == 1 else str(run.config.legs[0].policy["name"])
    return name.rpartition("/")[2] if name.startswith(("/", ".", "~")) else name


def model_index(run: Run, model: str) -> list[dict[str, Any]]:
    """One result per suite.

    Args:
        run: A complete run.
        model: Name of the model that the card is about.
    """
    return [{"name": model, "results": [_result(run, leg) for leg in run.header["legs"]]}]


def model_card(run: Run, model: str) -> str:
    """The block to put into a model's card: front matter, and the tables with all that has to be known of them."""
    import yaml

    front = yaml.safe_dump({"model-index": model_index(run, model)}, sort_keys=False, allow_unicode=True)
    tables = [as_markdown(success_sheet(run.table()))]
    if len(chains := run.chains()):
        tables.append(as_markdown(chain_sheet(chains)))
    notes = "".join(f"\n> {notice}\n" for notice in shareable(run.notices))
    evaluated = f"Evaluated with vlagym {run.header['vlagym']}; intervals of 95 %."
    return f"---\n{front}---\n\n## Evaluation\n\n{evaluated}\n\n" + "\n".join(tables) + notes


def _result(run: Run, leg: dict[str, Any]) -> dict[str, Any]:
    suite = leg["suite"]
    return {
        "task": {"type": "robotics", "name": "Robot manipulation from instructions"},
        "dataset": {
            "type": suite,
            "name": suite,
            "revision": leg["protocol_sha256"],  # equal hashes: the same was measured
            "args": {"tasks": len(leg["tasks"]), "policy": leg["policy"]["name"], "vlagym": run.header["vlagym"]},
        },
        "metrics": list(_metrics(run, suite)),
    }


def _metrics(run: Run, suite: str) -> Iterator[dict[str, Any]]:
    table = run.table()
    row = table[(table.suite == suite) & (table.task == AVERAGE)].iloc[0]
    rate = {name: round(100 * float(row[column]), 2) for name, column in _PERCENT.items()}
    counted = {"episodes": int(row.episodes), "successes": int(row.successes)}
    yield _metric("success_rate", "Success rate, mean over tasks (%)", rate, counted)
    chains = run.chains()
    for _, row in chains[(chains.suite == suite) & (chains.in_a_row == AVERAGE_LENGTH)].iterrows():
        length = {name: round(float(row[column]), 3) for name, column in (("value", "value"), ("low", "low"), ("high", "high"))}
        yield _metric("average_length", "Subtasks done in a row, mean over chains", length, {"chains": int(row.chains)})


_PERCENT = {"value": "success_rate", "low": "low", "high": "high"}


def _metric(kind: str, name: str, value: dict[str, float], counted: dict[str, int]) -> dict[str, Any]:
    interval = {"interval_95_low": value["low"], "interval_95_high": value["high"]}
    return {"type": kind, "value": value["value"], "name": name, "args": {**counted, **interval}}
