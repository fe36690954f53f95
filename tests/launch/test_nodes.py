"""Several nodes: two agents on one machine, each started by the real command as on a node of its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import Demo, tiny_recipe
from launching import COMMAND, free_port, launch_environment


def test_two_nodes_train_as_one_world(demo: Demo, tmp_path: Path) -> None:
    """The start-up hook reaches the worker of each agent: both know the stage, and both log the same losses."""
    port = free_port()
    agents = []
    for node in (0, 1):
        recipe = tiny_recipe(demo, tmp_path / f"node{node}")
        recipe |= {"max_samples": 8, "ddp_backend": "gloo", "save_on_each_node": True}
        (tmp_path / f"node{node}.yaml").write_text(yaml.safe_dump(recipe))
        environment = launch_environment(
            FORCE_TORCHRUN="1", NNODES="2", NODE_RANK=str(node), NPROC_PER_NODE="1", MASTER_ADDR="127.0.0.1",
            MASTER_PORT=port,
        )  # fmt: skip
        command = [COMMAND, "train", tmp_path / f"node{node}.yaml"]
        with (tmp_path / f"node{node}.log").open("w") as log:
            agents.append(subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT))
    try:
        codes = [agent.wait(timeout=300) for agent in agents]
    finally:
        for agent in agents:
            agent.kill()
    logs = [(tmp_path / f"node{node}.log").read_text() for node in (0, 1)]
    assert codes == [0, 0], "\n".join(log[-4000:] for log in logs)
    for node, log in enumerate(logs):
        assert f"Process rank: {node}, world size: 2" in log
    written = [(tmp_path / f"node{node}" / "trainer_log.jsonl").read_text().splitlines() for node in (0, 1)]
    losses = [[entry["loss"] for entry in map(json.loads, lines) if "loss" in entry] for lines in written]
    assert losses[0] == losses[1]
    assert losses[0][0] == pytest.approx(1.8715, abs=1e-3)  # 2.7 log 2: all rows are complete
    state = json.loads((tmp_path / "node0" / "trainer_state.json").read_text())["log_history"]
    rows = [entry["vista/response_rows"] for entry in state if "loss" in entry]
    assert rows == [4, 4]  # 2 nodes x 2 rows
