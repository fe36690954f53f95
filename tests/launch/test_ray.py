"""The host's Ray path: `USE_RAY=1`, two workers that Ray starts, on CPUs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import Demo, tiny_recipe
from launching import free_port, launch_environment

ray = pytest.importorskip("ray")

# The host asks Ray for 10 CPUs a worker, and for as many workers as there are devices, which on a machine without GPUs
# are its CPUs: more than there can ever be. Nothing else is changed; the workers are interpreters of their own.
DRIVER = """
import sys
from llamafactory.train import trainer_utils, tuner

host_config = tuner.get_ray_remote_config_for_worker

def placement_group(workers):
    bundle = {"CPU": 1}
    return trainer_utils.placement_group([bundle] * workers, strategy="PACK"), bundle

tuner.get_placement_group = placement_group
tuner.get_ray_remote_config_for_worker = lambda **given: {**host_config(**given), "num_cpus": 1}
tuner.run_exp()
"""


def test_the_hook_reaches_rays_workers(demo: Demo, tmp_path: Path) -> None:
    """Without it no worker would know `stage: vistadpo`; two of them form one world."""
    recipe = tiny_recipe(demo, tmp_path / "out")
    recipe |= {"max_samples": 8, "ddp_backend": "gloo", "ray_num_workers": 2, "master_port": free_port()}
    recipe["master_addr"] = ray.util.get_node_ip_address()  # or the host asks Ray's dashboard for it
    recipe["ray_init_kwargs"] = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": 80_000_000}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (tmp_path / "driver.py").write_text(DRIVER)
    done = subprocess.run(
        [sys.executable, tmp_path / "driver.py", tmp_path / "recipe.yaml"],
        env=launch_environment(USE_RAY="1", RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="disabled"),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    log = done.stdout + done.stderr
    assert done.returncode == 0, log[-6000:]
    for rank in (0, 1):
        assert f"Process rank: {rank}, world size: 2" in log
    state = json.loads((tmp_path / "out" / "trainer_state.json").read_text())["log_history"]
    assert next(entry["loss"] for entry in state if "loss" in entry) == pytest.approx(1.8715, abs=1e-3)  # 2.7 log 2
    assert [entry["vista/response_rows"] for entry in state if "loss" in entry] == [4, 4]  # 2 workers x 2 rows
