"""A worker process: one environment (its compiled models and GL context), kept for its whole life, in which it runs episodes."""

from __future__ import annotations

import os
import signal
import socket
import traceback
from contextlib import nullcontext
from dataclasses import replace

from ...edges.secrets import masked_text
from ...episode import EpisodeResult
from ...errors import VlagymError
from .channel import Channel
from .clock import SimulatedClock
from .delivery import Outbox, check_same_suite
from .messages import Actions, Begin, Ended, Failed, Message, Observed, Ready, Record, WorkerSettings
from .rollout import Recorder, RecordSettings, Rollout, TrajectoryRecorder, VideoRecorder


def worker_main(end: socket.socket, index: int, settings: WorkerSettings) -> None:
    """Build the environment, then answer commands until the main process closes the channel."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to handle
    channel = Channel(end)
    if settings.egl_devices:
        device = str(settings.egl_devices[index % len(settings.egl_devices)])
        os.environ.update(MUJOCO_EGL_DEVICE_ID=device, EGL_VISIBLE_DEVICES=device)  # the latter for pybullet
    with Outbox() if settings.elsewhere is not None else nullcontext() as outbox:
        try:
            rollout = _build(settings, outbox)
        except Exception as error:  # sent on: the main process decides
            _send(channel, _failure(error))
            return
        _send(channel, Ready())
        try:
            _serve(channel, rollout, settings, outbox)
        finally:
            rollout.abandon()
            rollout.env.close()


def _build(settings: WorkerSettings, outbox: Outbox | None) -> Rollout:
    suite = settings.suite
    if settings.elsewhere is not None:
        suite.check_ready()
        check_same_suite(suite, settings.elsewhere)
    env = suite.make_env(settings.cameras)
    clock = None if settings.realtime is None else SimulatedClock(settings.realtime, env)
    return Rollout(env, _recorders(settings.record, outbox), clock)


def _recorders(record: RecordSettings | None, outbox: Outbox | None) -> list[Recorder]:
    if record is None:
        return []
    if outbox is not None:
        record = replace(record, run_dir=outbox.folder)
    video = [VideoRecorder(record)] if record.video != "none" else []
    return [TrajectoryRecorder(record), *video]


def _serve(channel: Channel, rollout: Rollout, settings: WorkerSettings, outbox: Outbox | None) -> None:
    clock = rollout.env.clock
    while True:
        try:
            with clock("idle"):
                channel.wait()
            with clock("transport"):
                command: Begin | Actions | Record | None = channel.receive()
        except (EOFError, OSError):
            return
        assert command is not None  # this end waits for whole messages
        try:
            answer = _execute(command, rollout, settings, outbox)
        except Exception as error:  # sent on: the main process decides
            rollout.abandon()
            answer = _failure(error)
        with clock("transport"):
            if not _send(channel, answer):
                return


def _execute(command: Begin | Actions | Record, rollout: Rollout, settings: WorkerSettings, outbox: Outbox | None) -> Message:
    env = rollout.env
    if isinstance(command, Record):
        rollout.recorders = _recorders(command.record, outbox)
        return Ready()
    if isinstance(command, Begin):
        rollout.abandon()  # an episode that the policy lost
        if command.undrawn is not None:
            if outbox is not None:
                outbox.unpack(command.files)
            return _ended(rollout.draw_again(command.undrawn, command.index), outbox)
        observation, new_subtask = rollout.begin(command.spec, command.index), False
    else:
        chunk = rollout.advance(command.actions, command.done)
        if chunk.observation is None:
            return _ended(rollout.finish(chunk), outbox)
        observation, new_subtask = chunk.observation, chunk.new_subtask
    if settings.precise:
        observation = {**observation, "state": env.precise_state()}
    pending = None if rollout.clock is None else rollout.clock.pending
    return Observed(observation, env.privileged_state() if settings.privileged else None, rollout.steps, new_subtask, pending)


def _ended(result: EpisodeResult, outbox: Outbox | None) -> Ended:
    return Ended(result, {} if outbox is None else outbox.pack(result))


def _failure(error: Exception) -> Failed:
    understood = isinstance(error, VlagymError)
    message = str(error) if understood else "".join(traceback.format_exception(error)[-4:]).strip()
    return Failed(type(error).__name__, masked_text(message), understood)


def _send(channel: Channel, message: Message) -> bool:
    """Send to the main process; False if it is gone."""
    try:
        channel.send(message)
    except OSError:
        return False
    return True
