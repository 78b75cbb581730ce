#!/bin/sh
# An environment with lmms-eval, which scores MME, MMBench and MM-Vet by code of its own (test_lmms.py).
#
#     sh tests/evaluation/environments.sh DIR
#     ECSO_LMMS_PYTHON=DIR/lmms/bin/python python -m pytest tests/evaluation/benchmarks/test_lmms.py
#
# Installed without its dependencies, for these would bring CUDA and fifty packages; what the three files import is here.
set -eu
folder=${1:?folder for the environment}
${PYTHON:-python3} -m venv "$folder/lmms"
pip="$folder/lmms/bin/pip --disable-pip-version-check -q"
$pip install pandas==3.1.1 pyyaml==6.0.3 loguru==0.7.3 requests==2.34.2
$pip install --no-deps lmms-eval==0.7.3
