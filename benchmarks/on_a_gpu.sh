#!/usr/bin/env bash
# Everything that only a machine with a CUDA GPU can do, in one call of about ten minutes:
#
#     benchmarks/on_a_gpu.sh OUT
#
# Writes records and benchmarks into the folder OUT. The steps are independent: one that fails is
# named at the end, and the others have run all the same.
set -uo pipefail
out=${1:?usage: benchmarks/on_a_gpu.sh OUT}
cd "$(dirname "$0")/.."
mkdir -p "$out"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
failed=()

step() {
  local name=$1
  shift
  echo "== $name"
  timeout 400 "$@" 2>&1 | tee "$out/$name.log" || failed+=("$name")
}

step tests python -m pytest -q tests/shifts tests/measure/profiling tests/measure/verifying
step verify python -m s2mlp_cli verify --shift all --device cuda -o "$out/verify-cuda.json"
step fused python benchmarks/fused_mixers.py --device cuda --compile -o "$out/fused_mixers_cuda.json"
step profile python -m s2mlp_cli profile --shift all --model v2-medium --device cuda \
  --dtype bf16,fp32 --batch-size 1,64,256 -o "$out/profile-cuda.json"
step agreement python benchmarks/agreement.py --device cuda

[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}"; exit 1; }
