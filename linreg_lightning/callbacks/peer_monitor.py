"""Ends a run of several processes when one of them is lost."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, NoReturn, final

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.utilities import rank_zero_warn

from linreg_lightning.errors import PROGRAM, InputError

_BEAT = 1.0  # seconds between two signs of life
_CONNECT = 20.0  # seconds to wait for each connection to the first process
_GRACE = 2.0  # seconds in which the training itself may fail, whose message then says more
# The messages of torch's process groups when another process is gone.
_LOST_CONNECTION = re.compile(r"(closed|reset) by peer|Broken pipe|remote process exited")
_last_message = threading.Lock()


@final
class PeerMonitor(Callback):
    """Ends this process, with a message and status 1, when another process of the run is lost.

    Each process sends the first one a sign of life every second, and gets one back, from a thread
    that runs however long a batch takes. A process is lost when it ends before its run does, or
    when nothing is heard of it for `seconds`: it was stopped, or its machine or network is down.
    The others then end within three seconds.

    Without this, they notice only when they next wait for each other, after the process group's
    timeout: half an hour, and with LeastSquares at the end of a pass. One process has no monitor.

    Args:
        seconds: the longest silence of a process, 3 or more.
    """

    def __init__(self, seconds: float = 60.0) -> None:
        if not seconds >= 3:
            raise InputError(f"seconds: {seconds} was given; type 3 or more")
        self.seconds = seconds
        self._watch: _PeerWatch | None = None

    def setup(self, trainer: Any, pl_module: LightningModule, stage: str) -> None:
        if trainer.world_size == 1:
            return
        host, server = os.environ.get("MASTER_ADDR", "127.0.0.1"), None
        if trainer.is_global_zero:
            interface = host if host in ("127.0.0.1", "localhost") else ""  # or all of them
            server = socket.create_server((interface, 0), backlog=trainer.world_size)
        port = trainer.strategy.broadcast(server and server.getsockname()[1])
        peers = _connect(server, trainer.world_size, (host, port))
        if trainer.strategy.reduce_boolean_decision(bool(peers)):
            self._watch = _PeerWatch(trainer, peers, self.seconds)
        else:
            rank_zero_warn(
                f"The processes cannot connect to port {port} of {host}, so they notice a lost one "
                "only after the timeout of the process group; let them connect to all its ports"
            )

    def teardown(self, trainer: Any, pl_module: LightningModule, stage: str) -> None:
        if self._watch is not None:
            self._watch.finish("done")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        if self._watch is not None:
            if is_lost_connection(exception):
                self._watch.loss_found.wait(2 * _BEAT)  # which process it is
                exception.add_note(self._watch.loss)
                exception.add_note(remedy(trainer))
            self._watch.finish(f"{self._watch.name} has failed and has printed its own message")


def is_lost_connection(error: BaseException) -> bool:
    """Whether a process group raised this because another process is gone."""
    return isinstance(error, RuntimeError) and bool(_LOST_CONNECTION.search(str(error)))


def end_process(message: str, status: int) -> NoReturn:
    """Print an error message and end the process at once, whatever its threads wait for.

    Only the first of several threads prints. `os._exit` skips Python's shutdown, in which threads
    of a process group that still run would crash.
    """
    with _last_message:
        with contextlib.suppress(OSError, ValueError):  # the stream may be closed
            line = f"{PROGRAM.get()}: error: {message}"
            print(line, file=sys.stderr, flush=True)
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(status)


def end_with_parent(parent: int) -> None:
    """End this process if its parent ends before all processes of the run have joined.

    Lightning starts the other processes of a machine from the first one. If that is killed while
    they wait for it to join, they would wait for the timeout of the process group.
    """
    if os.environ.get("LOCAL_RANK", "0") == "0" or torch.distributed.is_torchelastic_launched():
        return

    def watch() -> None:
        while not torch.distributed.is_initialized():
            if os.getppid() != parent:
                text = "the process that started this one has ended; start all processes again"
                end_process(text, 1)
            time.sleep(_BEAT)

    _start_thread(watch)


def _start_thread(function: Callable[..., None], *args: Any) -> None:
    """Run a function in a thread that knows the name of the command, and ends with the process."""
    run = copy_context().run
    threading.Thread(target=run, args=(function, *args), daemon=True).start()


class _PeerWatch:
    """Exchanges lines: the first process with all others, each of these with the first.

    The first line of each is its name. An empty line follows each second as a sign of life. The
    last line is "done", or says which process was lost.
    """

    def __init__(self, trainer: Any, peers: list[socket.socket], seconds: float) -> None:
        rank, host = trainer.global_rank, socket.gethostname()
        self.name = f"process {rank + 1} (PID {os.getpid()} on {host})"
        self.loss, self.loss_found = "another process was lost", threading.Event()
        self._trainer, self._seconds, self._finished = trainer, seconds, threading.Event()
        # Silence is counted in beats of this process, so that a run may be stopped and go on.
        self._beats, self._last_beats = 0, dict.fromkeys(peers, 0)
        self._names = dict.fromkeys(peers, "another process")
        self._send(self.name)
        for peer in peers:
            peer.settimeout(None)
            _start_thread(self._listen, peer)
        _start_thread(self._beat)

    def finish(self, line: str) -> None:
        """Send a last line, and stop."""
        self._finished.set()
        self._send(line)

    def _send(self, line: str) -> None:
        for peer in self._names:
            with contextlib.suppress(OSError):  # `_listen` notices that the other process is gone
                peer.sendall(f"{line}\n".encode())

    def _beat(self) -> None:
        while not self._finished.wait(_BEAT):
            self._send("")
            self._beats += 1
            for peer, last_beat in list(self._last_beats.items()):
                if (self._beats - last_beat) * _BEAT > self._seconds:
                    self._end(
                        f"{self._names[peer]} has given no sign of life for {self._seconds:g} "
                        "seconds: it was stopped, or its machine or network is down"
                    )

    def _listen(self, peer: socket.socket) -> None:
        last_line = ""
        with contextlib.suppress(OSError), peer, peer.makefile(encoding="utf-8") as lines:
            self._names[peer] = lines.readline().strip() or self._names[peer]
            for line in lines:
                self._last_beats[peer] = self._beats
                if last_line := line.strip():
                    break
        del self._last_beats[peer]
        if last_line != "done":
            loss = f"{self._names[peer]} has ended without a message, so something killed it"
            self._end(last_line or loss)

    def _end(self, loss: str) -> None:
        """Tell the others of a lost process, and end this one unless its training fails itself."""
        if self._finished.is_set() or self.loss_found.is_set():
            return
        self.loss = loss
        self.loss_found.set()
        self._send(loss)
        if not self._finished.wait(_GRACE):
            rank, message = self._trainer.global_rank, f"{loss}; {remedy(self._trainer)}"
            end_process(f"process {rank + 1}: {message}" if rank else message, 1)


def _connect(server: socket.socket | None, world_size: int, address: Any) -> list[socket.socket]:
    """Accept all others or connect to the first process; return no connection if one fails."""
    try:
        if server is None:
            return [socket.create_connection(address, _CONNECT)]
        with server:
            server.settimeout(_CONNECT)
            return [server.accept()[0] for _ in range(world_size - 1)]
    except OSError:
        return []


def remedy(trainer: Any) -> str:
    """Say how to go on from what the run has saved."""
    saved = any(getattr(each, "best_model_path", "") for each in trainer.checkpoint_callbacks)
    if trainer.state.fn == "fit" and saved:
        return "start all processes again with --ckpt_path last to go on from the last checkpoint"
    return "start all processes again"
