"""Fits over two hosts, which are network namespaces of this machine; needs root and `ip`.

Run it by `pytest -n 0 tests/faults/test_two_hosts.py`: it takes about two minutes.
"""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback

ROOT = Path(__file__).parents[2]
LINES = {
    line.split()[0]: line
    for line in (ROOT / "README.md").read_text().splitlines()
    if line.startswith(("torchrun", "srun"))
}
ADDRESSES = ("10.77.1.1", "10.77.1.2")
QUIET = "--trainer.accelerator cpu --trainer.enable_progress_bar false --figures false"
MONITOR = "--trainer.callbacks+=PeerMonitor --trainer.callbacks.seconds=5"
SLOW = "--trainer.callbacks+=test_two_hosts.Slow"
SAVE = "--trainer.callbacks+=ModelCheckpoint --trainer.callbacks.every_n_train_steps=1"


class Slow(Callback):
    """Writes a file in the fourth batch, and waits there until the link has been cut."""

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 3:
            Path(f"started{trainer.global_rank}").touch()
            while not Path("go").exists():
                time.sleep(0.1)
        time.sleep(0.2)


def ip(line: str) -> None:
    subprocess.run(["ip", *line.split()], check=True, capture_output=True)


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """Make two hosts with a cable between them, and return their names."""
    names = f"linreg{os.getpid()}a", f"linreg{os.getpid()}b"
    try:
        for name in names:
            ip(f"netns add {name}")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine does not let us make network namespaces")
    try:
        ip(f"link add cable netns {names[0]} type veth peer name cable netns {names[1]}")
        for name, address in zip(names, ADDRESSES, strict=True):
            ip(f"-n {name} addr add {address}/24 dev cable")
            ip(f"-n {name} link set cable up")
            ip(f"-n {name} link set lo up")
        yield names
    finally:
        for name in names:
            ip(f"netns delete {name}")


@pytest.fixture
def table() -> Path:
    rows = [f"{i % 7},{i * i % 11 / 7},{i % 13}" for i in range(201)]
    Path("rows.csv").write_text("\n".join(["a,b,y", *rows]))
    return Path("rows.csv")


def start(host: str, line: str, **variables: str) -> subprocess.Popen[str]:
    """Start a command line on a host; gloo needs the name of its network interface."""
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    variables |= {"GLOO_SOCKET_IFNAME": "cable", "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    words = shlex.split(line.replace("torchrun", f"{sys.executable} -m torch.distributed.run"))
    return subprocess.Popen(
        ["ip", "netns", "exec", host, *words],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def torchrun(host: str, node: int, options: str) -> subprocess.Popen[str]:
    """Start the README's line on a host, with one process."""
    line = LINES["torchrun"].replace("node-rank 0", f"node-rank {node}")
    for old, new in (("host1", ADDRESSES[0]), ("node 4", "node 1"), ("devices 4", "devices 1")):
        assert old in line
        line = line.replace(old, new)
    return start(host, f"{line} {QUIET} {options}")


def slurm(host: str, node: int, options: str) -> subprocess.Popen[str]:
    """Start the program of the README's line on a host, as srun does, with one process."""
    line = LINES["srun"]
    words = f"{sys.executable} -m linreg_lightning {line.split(' linreg ')[1]}"
    assert "devices 4" in words
    variables = {"JOB_ID": "7", "JOB_NAME": "fit", "NTASKS": "2", "NTASKS_PER_NODE": "1"}
    variables |= {"NNODES": "2", "NODELIST": ADDRESSES[0], "PROCID": str(node)}
    variables |= {"NODEID": str(node), "LOCALID": "0"}
    slurm = {f"SLURM_{name}": value for name, value in variables.items()}
    slurm |= {"MASTER_ADDR": ADDRESSES[0], "MASTER_PORT": "29511"}
    return start(host, f"{words.replace('devices 4', 'devices 1')} {QUIET} {options}", **slurm)


def finish(processes: list[subprocess.Popen[str]]) -> None:
    """Wait for processes that succeed."""
    for process in processes:
        _, stderr = process.communicate(timeout=180)
        assert process.returncode == 0, stderr


def coefficients(root: str) -> list[bytes]:
    return [path.read_bytes() for path in Path(root).glob("*/coefficients.json")]


@pytest.mark.parametrize("launch", [torchrun, slurm])
def test_two_hosts_give_the_same_bytes_as_one_process(
    launch: Callable[..., Any], hosts: Any, table: Path, command: Callable[..., Any]
) -> None:
    command(f"fit -c least_squares --data.path {table} --data.target y")
    finish(
        [launch(host, node, "--trainer.default_root_dir two") for node, host in enumerate(hosts)]
    )
    assert coefficients("two") == coefficients("logs")


@pytest.mark.parametrize("model", ["LeastSquares", "LinearRegression --trainer.max_epochs 2"])
def test_a_cut_link_ends_both_hosts_and_the_run_resumes(
    model: str, hosts: Any, table: Path
) -> None:
    def launch(options: str) -> list[subprocess.Popen[str]]:
        options = f"--model {model} --data.batch_size 10 --trainer.default_root_dir {options}"
        return [torchrun(host, node, options) for node, host in enumerate(hosts)]

    processes = launch(f"two {SAVE} {SLOW} {MONITOR}")
    deadline = time.monotonic() + 120
    while not (Path("started0").exists() and Path("started1").exists()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    ip(f"-n {hosts[1]} link set cable down")
    Path("go").touch()
    cut = time.monotonic()
    for number, process in enumerate(processes, 1):
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 1
        (message,) = [line for line in stderr.splitlines() if line.startswith("linreg: error")]
        assert re.search(rf"process {3 - number} \(PID \d+ on .*\) has given no sign", message)
        assert "--ckpt_path last" in message
    assert time.monotonic() - cut < 30  # 5 seconds of silence, 2 of grace, and torchrun's end
    ip(f"-n {hosts[1]} link set cable up")
    finish(launch("two --ckpt_path last"))
    finish(launch("whole"))
    assert coefficients("two") == coefficients("whole")
