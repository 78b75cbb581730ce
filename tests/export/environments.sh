#!/bin/sh
# Environments for other_trainers.py: LLaMA-Factory and ms-swift, each in its own, on a CPU build of torch.
#
#     sh tests/export/environments.sh DIR [TORCH]
#
# TORCH is the requirement of a CPU torch (default torch==2.13.0+cpu; name its index by PIP_EXTRA_INDEX_URL or
# PIP_FIND_LINKS). Both packages are installed without their dependencies, for these would bring CUDA and web servers;
# what their loaders import is listed here.
set -eu
folder=${1:?folder for the environments}
torch=${2:-torch==2.13.0+cpu}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$folder"
printf '%s\ntorchvision==0.28.0\n' "$torch" > "$folder/cpu.txt"

make_one() { # name, package, dependencies…
    name=$1 package=$2
    shift 2
    python3 -m venv "$folder/$name"
    pip="$folder/$name/bin/pip --disable-pip-version-check -q"
    $pip install -c "$folder/cpu.txt" "$torch"
    $pip install --no-deps "$package"
    $pip install -c "$folder/cpu.txt" torchvision "$@"
    "$folder/$name/bin/python" "$here/../env/torchvision_ops.py"
}

make_one llamafactory llamafactory==0.9.5 'transformers<=5.6.0' 'datasets<=4.0.0' 'trl<=0.24.0' 'peft>=0.18.0,<=0.18.1' \
    'accelerate<=1.11.0' torchdata==0.11.0 'av<=16' einops fire omegaconf 'tyro<0.9' scipy sentencepiece tiktoken pillow \
    modelscope pyyaml matplotlib hf-transfer pandas protobuf
# torchaudio has no CPU build on PyPI. Only its import is needed; without the compiled part it imports anywhere.
"$folder/llamafactory/bin/pip" --disable-pip-version-check -q install --no-deps torchaudio==2.11.0
rm -f "$folder"/llamafactory/lib/python3*/site-packages/torchaudio/lib/*.so

make_one swift ms-swift==4.6.0 'transformers<5.20' 'datasets>=4.0,<4.8.5' 'trl<1.0' 'peft<0.21' accelerate addict aiohttp \
    attrdict binpacking charset-normalizer cpm-kernels dacite einops fastapi importlib-metadata json-repair matplotlib \
    'modelscope>=1.23' nltk openai oss2 pandas pillow requests rouge scipy sentencepiece simplejson sortedcontainers \
    tensorboard tiktoken transformers-stream-generator uvicorn zstandard
