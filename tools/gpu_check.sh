#!/usr/bin/env bash
# What a GPU makes of vlagym, in under ten minutes: the networks' speed, whether answers depend on their company, rendering on the
# GPU's EGL, and one run from end to end. Needs `pip install 'vlagym[openvla]'` and the suite's packages and data.
#
# usage: tools/gpu_check.sh [FOLDER [SUITE [SETTING=VALUE ...]]]     FOLDER takes the figures; further settings go to the run
set -euo pipefail

folder=${1:-gpu-check}
suite=${2:-libero_goal}
further=("${@:3}")
checkpoint=policy.checkpoint=random:openvla-7b
export MUJOCO_GL=egl
mkdir -p "$folder"

step() {
    echo "== $* ($((SECONDS)) s)"
}

step "the card"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | tee "$folder/card.txt"
python -c 'import torch, transformers; print("torch", torch.__version__, "transformers", transformers.__version__)' | tee -a "$folder/card.txt"

step "OpenVLA-7B"
vla-eval bench policy=openvla "$checkpoint" policy.device=cuda json="$folder/openvla.json"

step "OpenVLA-OFT-7B"
vla-eval bench policy=openvla_oft "$checkpoint" policy.device=cuda "batch_sizes=[1,2,4,8,16,32]" json="$folder/openvla_oft.json"

step "answers and their company"
vla-eval doctor policy=openvla "$checkpoint" policy.device=cuda policy.batch=8
vla-eval doctor policy=openvla_oft "$checkpoint" policy.device=cuda policy.batch=8

step "rendering"
vla-eval bench suite="$suite" "workers=[1,4]" json="$folder/environments.json"

step "a run from end to end"
vla-eval suite="$suite" policy=openvla "$checkpoint" policy.device=cuda policy.batch=8 workers=8 "tasks=[0,1]" episodes_per_task=4 \
    run_dir="$folder/run" "${further[@]}"

step "done"
