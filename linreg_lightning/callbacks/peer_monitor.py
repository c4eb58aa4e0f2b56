"""Ends a run of several processes when one of them is lost."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import sys
import threading
import time
from multiprocessing import AuthenticationError, Pipe
from multiprocessing.connection import Client, Connection, Listener, wait
from typing import Any, NoReturn, final

from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.utilities import rank_zero_warn

from linreg_lightning.errors import InputError

_BEAT = 1.0  # seconds between two signs of life
_CONNECT = 20.0  # seconds within which all processes connect to the first one
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
        if trainer.world_size == 1 or self._watch is not None:
            return
        listener = key = place = None
        if trainer.is_global_zero:
            host, key = os.environ.get("MASTER_ADDR", "127.0.0.1"), secrets.token_bytes(32)
            interface = host if host in ("127.0.0.1", "localhost") else ""  # or all of them
            listener = Listener((interface, 0), backlog=trainer.world_size, authkey=key)
            place = host, listener.address[1]
        place, key = trainer.strategy.broadcast((place, key))
        watch = _PeerWatch(trainer, place, key, listener, self.seconds)
        watch.start()
        connected = watch.connected.wait(_CONNECT)
        if trainer.strategy.reduce_boolean_decision(connected):
            self._watch = watch
            return
        watch.finish("done")
        rank_zero_warn(
            f"The processes cannot connect to port {place[1]} of {place[0]}, so they notice a lost "
            "one only after the timeout of the process group; let them connect to all its ports"
        )

    def teardown(self, trainer: Any, pl_module: LightningModule, stage: str) -> None:
        self._finish("done")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        watch = self._watch
        if watch is not None and is_lost_connection(exception):
            watch.found.wait(2 * _BEAT)  # which process it is
            exception.add_note(watch.loss or "another process was lost")
            exception.add_note(remedy(trainer))
        self._finish("failed")

    def _finish(self, word: str) -> None:
        if self._watch is not None:
            self._watch.finish(word)
            self._watch = None


def is_lost_connection(error: BaseException) -> bool:
    """Whether a process group raised this because another process is gone."""
    return isinstance(error, RuntimeError) and bool(_LOST_CONNECTION.search(str(error)))


def end_process(message: str, status: int) -> NoReturn:
    """Print an error message and end the process at once, whatever its threads wait for.

    Only the first of several threads prints. Python does not shut down in order, because threads
    of a process group that still run then crash.
    """
    with _last_message:
        with contextlib.suppress(OSError, ValueError):  # the stream may be closed
            line = f"linreg: error: {message}"
            print(line, file=sys.stderr, flush=True)
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(status)


class _PeerWatch(threading.Thread):
    """Exchanges signs of life: the first process with all others, each of these with the first."""

    def __init__(
        self, trainer: Any, place: Any, key: bytes, listener: Listener | None, seconds: float
    ) -> None:
        super().__init__(daemon=True, name="peer-watch")
        self.rank, self.peers = trainer.global_rank, trainer.world_size - 1
        self.connected, self.found, self.loss = threading.Event(), threading.Event(), ""
        self._trainer, self._place, self._key = trainer, place, key
        self._listener, self._seconds = listener, seconds
        self._inbox, self._outbox = Pipe(duplex=False)

    def finish(self, word: str) -> None:
        """Tell the other processes that this one is `done` or has `failed`, and stop."""
        self._outbox.send_bytes(word.encode())
        self.join(_GRACE + 3 * _BEAT)

    def run(self) -> None:
        try:
            names = self._connect()
        except (OSError, EOFError, ValueError, AuthenticationError):
            return  # `setup` says so when nothing has connected in time
        self.connected.set()
        self.loss = self._exchange(names)
        if not self.loss:
            return
        self.found.set()
        if not self._inbox.poll(_GRACE):
            message = f"{self.loss}; {remedy(self._trainer)}"
            end_process(f"process {self.rank + 1}: {message}" if self.rank else message, 1)

    def _connect(self) -> dict[Connection, str]:
        """Connect, and return how to name the process at the other end of each connection."""
        name = f"process {self.rank + 1} (PID {os.getpid()} on {socket.gethostname()})"
        names: dict[Any, str] = {}
        while len(names) < (self.peers if self._listener else 1):
            if self._listener is None:
                peer = Client(self._place, authkey=self._key)
            else:
                peer = self._listener.accept()
            peer.send_bytes(name.encode())
            names[peer] = peer.recv_bytes().decode()
        if self._listener is not None:
            self._listener.close()
        return names

    def _exchange(self, names: dict[Connection, str]) -> str:
        """Return what is known of a lost process; nothing if this one or the first one is done."""
        peers, next_beat = dict.fromkeys(names, time.monotonic()), 0.0
        while peers:
            for source in wait([self._inbox, *peers], timeout=_BEAT):
                word = _receive(source)
                if source is self._inbox:
                    self._tell(peers, word)
                    return ""
                peer: Any = source
                if word == b"done":
                    del peers[peer]
                elif word == b"alive":
                    peers[peer] = time.monotonic()
                else:
                    return self._report(names, peer, word)
            now = time.monotonic()
            if now >= next_beat:
                self._tell(peers, b"alive")
                next_beat = now + _BEAT
            for peer, heard in peers.items():
                if now - heard > self._seconds:
                    return self._report(names, peer, b"silent")
        return ""

    def _report(self, names: dict[Connection, str], peer: Connection, word: bytes) -> str:
        """Say what became of a process, to the other processes too."""
        reasons = {
            b"failed": "has failed and has printed its own message",
            b"ended": "has ended without a message, so something killed it",
            b"silent": f"has given no sign of life for {self._seconds:g} seconds: it was stopped, "
            "or its machine or network is down",
        }
        # The first process knows more than the others, and tells them in words.
        loss = f"{names[peer]} {reasons[word]}" if word in reasons else word.decode()
        self._tell([each for each in names if each is not peer], loss.encode())
        return loss

    def _tell(self, peers: Any, word: bytes) -> None:
        for peer in peers:
            with contextlib.suppress(OSError):  # `_receive` notices that this process is gone
                peer.send_bytes(word)


def _receive(source: Any) -> bytes:
    try:
        return bytes(source.recv_bytes())
    except (OSError, EOFError):
        return b"ended"


def remedy(trainer: Any) -> str:
    """Say how to go on from what the run has saved."""
    saved = any(getattr(each, "best_model_path", "") for each in trainer.checkpoint_callbacks)
    if trainer.state.fn == "fit" and saved:
        return "start all processes again with --ckpt_path last to go on from the last checkpoint"
    return "start all processes again"
