#!/usr/bin/env bash
# Everything that only a machine with a CUDA GPU can do:
#
#     benchmarks/on_a_gpu.sh OUT                     # all steps, half an hour at most
#     benchmarks/on_a_gpu.sh OUT profile agreement   # these only
#
# Writes records and benchmarks into the folder OUT. The steps are independent: one that fails or
# takes longer than LIMIT seconds (400) is named at the end, and the others have run all the same.
# A profile that was ended so goes on where it stopped when the step is called again.
set -uo pipefail
out=$(realpath -m "${1:?usage: benchmarks/on_a_gpu.sh OUT [STEP...]}")
wanted=" ${*:2} "
python=$(command -v python3 || command -v python)
cd "$(dirname "$0")/.."
mkdir -p "$out"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
failed=()
known=()

step() {
  local name=$1
  shift
  known+=("$name")
  [[ $wanted == "  " || $wanted == *" $name "* ]] || return 0
  echo "== $name"
  timeout "${LIMIT:-400}" "$python" "$@" 2>&1 | tee "$out/$name.log" || failed+=("$name")
}

# The goal's number first: a machine that is lent may be gone before the rest is done.
step goal -m s2mlp_cli profile --shift all --model v2-medium --device cuda --level model \
  --dtype bf16 --batch-size 256 --resume "$out/goal-cuda.json"
step verify -m s2mlp_cli verify --shift all --device cuda -o "$out/verify-cuda.json"
step fused benchmarks/fused_mixers.py --device cuda -o "$out/fused_mixers_cuda.json"
step compiled benchmarks/fused_mixers.py --device cuda --compile -o "$out/fused_mixers_compiled.json"
step profile -m s2mlp_cli profile --shift all --model v2-medium --device cuda \
  --dtype bf16,fp32 --batch-size 256,64,1 --resume "$out/profile-cuda.json"
step agreement benchmarks/agreement.py --device cuda
step tests -m pytest -q tests/shifts tests/measure/profiling tests/measure/verifying

for name in $wanted; do
  [[ " ${known[*]} " == *" $name "* ]] || { echo "no step $name; known: ${known[*]}"; exit 2; }
done
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}"; exit 1; }
