"""Let torchvision's CUDA build import beside a CPU torch, in this environment and every process started from it.

    .venv/bin/python tests/env/torchvision_ops.py

The CUDA build cannot load its compiled operators there, and its import fails with `operator torchvision::nms does not
exist`. Only its Python transforms are used, so declaring the two operators' schemas before the import is enough. vLLM
starts further processes, so the declaration lives in site-packages: this file copies itself there, with a one-line
`.pth` that installs an import hook (a few microseconds at start; torch is imported only when torchvision is).
Where torchvision imports already, nothing is written.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec

MODULE = "ecso_torchvision_ops"


class DeclareOps(MetaPathFinder):
    """Finds nothing itself: it declares the operators when torchvision is about to be imported, and steps aside."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            declare()
        return None


def declare() -> None:
    """The two schemas that torchvision's Python code registers fakes for. Kept alive on the module: a Library that is
    collected takes its operators along."""
    import torch

    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    sys.modules[__name__].__dict__["_library"] = library


def imports() -> bool:
    """Does torchvision import in a fresh process?"""
    import subprocess

    return subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True).returncode == 0


def main() -> int:
    """Copy this file and its `.pth` into site-packages where torchvision needs them; 1 where that did not help."""
    import sysconfig
    from pathlib import Path

    if imports():
        print("torchvision imports: nothing to do")
        return 0
    site = Path(sysconfig.get_paths()["purelib"])
    (site / f"{MODULE}.py").write_text(Path(__file__).read_text("utf-8"), "utf-8")
    (site / f"{MODULE}.pth").write_text(f"import {MODULE}\n", "utf-8")
    worked = imports()
    print(f"{site / MODULE}.pth written: torchvision {'imports now' if worked else 'still does not import'}")
    return 0 if worked else 1


if __name__ == "__main__":
    sys.exit(main())
elif __name__ == MODULE:
    sys.meta_path.insert(0, DeclareOps())
