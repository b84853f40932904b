"""Settings of launchers that have no meaning are refused in a sentence; what calls in without the word is nobody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vlagym.envs.registry import make_suite
from vlagym.episode import EpisodeResult, EpisodeSpec
from vlagym.errors import ConfigError, VlagymError
from vlagym.eval.plan.config import RunConfig, load_config
from vlagym.eval.plan.launcher import LauncherSettings
from vlagym.eval.run.channel import Channel
from vlagym.eval.run.delivery import check_same_suite, put_in_run
from vlagym.eval.run.evaluation import execution_settings_in
from vlagym.eval.run.launchers import make_launcher
from vlagym.eval.run.messages import Ended
from vlagym.eval.run.switchboard import Switchboard, call_in


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["launcher=rey"], "unknown launcher 'rey'.*ray"),
        (["launcher.address=auto"], "launcher=ray takes them"),
        (["launcher=ray", "launcher.seats=0"], "launcher.seats must be a whole number from 1 to 1024, or null; got 0"),
        (["launcher=ray", "launcher.gpus_per_seat=-1"], "launcher.gpus_per_seat must be a number from 0 to 64; got -1"),
        (["launcher=ray", "launcher.gpus=1"], "unknown setting 'launcher.gpus'"),
    ],
)
def test_settings_that_mean_nothing_are_refused(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_config(overrides)


def test_a_launcher_is_no_part_of_what_is_measured() -> None:
    config = load_config(["launcher=ray", "launcher.workers=64", "launcher.address=auto"])
    assert (config.workers, config.launcher) == (64, LauncherSettings("ray", "auto"))
    assert RunConfig.from_json(config.to_json()) == config
    assert execution_settings_in(["launcher=ray", "launcher.workers=2"]) == ("launcher", "workers")


@pytest.mark.parametrize(
    ("policy", "settings", "said"),
    [
        ({"name": "random", "devices": [0, 1]}, {"seats": 2}, "policy.devices numbers the GPUs of one machine; with launcher=ray"),
        (
            {"name": "openpi", "url": "ws://x"},
            {"seats": 2},
            "launcher.seats is for a policy that computes here; openpi asks",
        ),
        ({"name": "openvla", "device": "cpu"}, {"seats": 2}, "policy.device and launcher.seats cannot both be given"),
    ],
)
def test_policies_that_cannot_be_copied_are_refused(policy: dict[str, object], settings: dict[str, int], said: str) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    with pytest.raises(ConfigError, match=said):
        make_launcher(LauncherSettings("ray", seats=settings["seats"])).seats(policy)


def test_a_suite_that_is_not_the_same_elsewhere_is_named() -> None:
    suite = make_suite(load_config(["suite=toy"]).legs[0].suite)
    check_same_suite(suite, suite.provenance())
    with pytest.raises(ConfigError, match=r"toy is not the same here as .* \(toy: 2 -> 1\)"):
        check_same_suite(suite, {"toy": 2})


@pytest.fixture
def switchboard() -> Iterator[Switchboard]:
    made = Switchboard("127.0.0.1")
    yield made
    made.close()


def test_whoever_calls_with_the_word_is_connected(switchboard: Switchboard) -> None:
    places: list[str] = []
    word, line = switchboard.expect(places.append)
    theirs = call_in(switchboard.address, word, "machine 7")
    other = Channel(theirs)
    other.send([1, 2, 3])
    assert line.receive() == [1, 2, 3]
    assert places == ["machine 7"]
    line.send({"a": 1})
    assert other.receive() == {"a": 1}
    line.cut()  # as when the machine is gone
    with pytest.raises(EOFError):
        line.receive()
    line.close()
    other.close()


def test_whoever_calls_without_it_is_hung_up_on(switchboard: Switchboard) -> None:
    _, line = switchboard.expect(lambda place: pytest.fail("nobody was to call"))
    line.set_blocking(False)
    with call_in(switchboard.address, b"x" * 32, "elsewhere") as stranger:
        assert stranger.recv(1) == b""
    assert line.receive() is None
    line.cut()
    with pytest.raises(EOFError, match="before it called"):
        line.receive()


def test_a_file_that_would_leave_the_run_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    spec = EpisodeSpec("toy", "push_right", 0, 0)
    result = EpisodeResult(spec, "", True, True, True, 1, 1, "success", None, None, execution={"trajectory": "../out.npz"})
    with pytest.raises(VlagymError, match="not in the run's folder"):
        put_in_run(Ended(result, {"../out.npz": b"x"}), run)
    assert not (run.parent / "out.npz").exists()


def test_whoever_calls_too_late_is_hung_up_on(switchboard: Switchboard) -> None:
    word, line = switchboard.expect(lambda place: None)
    line.close()
    with call_in(switchboard.address, word, "late") as late:
        assert late.recv(1) == b"", "its channel was closed before it called"
