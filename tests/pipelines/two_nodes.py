"""A two-node cluster for test_cluster.py, in a process of its own: `python -m tests.pipelines.two_nodes OUT [kill]`.

Starts two nodes, runs the real command against their address in a further process, and (with `kill`) takes one node
away without grace once rows are in the journal.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from ray.cluster_utils import Cluster

from pipelines.cluster import QUIET
from tests.chaos.harness import count


def main(out: Path, kill: bool) -> int:
    os.environ.update(QUIET)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 3, "include_dashboard": False})
    node = cluster.add_node(num_cpus=3)
    cluster.wait_for_nodes()
    arguments = ["--backend", "scripted", "--scripted-latency-ms", "100", "--engine-arg", "capacity=16"]
    # Another folder than the checkout: the packages reach the workers through Ray, not through the working directory.
    command = subprocess.Popen(
        [sys.executable, "-m", "engine.generate", "--out", str(out), "--workers", "2", *arguments],
        env={**os.environ, "RAY_ADDRESS": cluster.address},
        cwd=out.parent,
    )
    if kill:
        while count(out) < 60 and command.poll() is None:
            time.sleep(0.05)
        cluster.remove_node(node, allow_graceful=False)
        print(f"node killed with {count(out)} rows in the journal", flush=True)
    code = command.wait()
    cluster.shutdown()
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), "kill" in sys.argv[2:]))
