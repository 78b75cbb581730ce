"""Versions that jobs are pinned to: one set that resolves together (docs/jobs.md says when it was tried)."""

from __future__ import annotations

RAY = "2.60.0"
PYTHON_IMAGE = "python:3.12-slim-bookworm"
KUBECTL_IMAGE = "registry.k8s.io/kubectl:v1.33.4"
PACKAGES = {
    "ray[data,default]": RAY,
    "vllm": "0.32.0",
    "transformers": "5.19.0",
    "torch": "2.13.0",
    "datasets": "5.2.0",
    "pyarrow": "26.0.1",
    "huggingface_hub": "2.4.0",
    "pillow": "13.0.0",
    "jsonschema": "4.26.0",
}
