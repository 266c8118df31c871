#!/usr/bin/env bash
# Everything that only a machine with a CUDA GPU can do:
#
#     benchmarks/on_a_gpu.sh OUT                     # all steps, half an hour at most
#     benchmarks/on_a_gpu.sh OUT profile agreement   # these only
#
# Writes records and logs into the folder OUT. The steps are independent: one that fails or takes
# longer than LIMIT seconds (400) is named at the end, and the others run all the same. Call a step
# again to go on with a profile that was cut off.
#
# Goals for v2-medium in bf16 at batch 256, and for v1-wide likewise: the best mixer kernel at least
# 2.0 times as fast as the best of slice, roll, conv and deform, and 1.3 times compiled; at most 1.02
# times the model without shifts; over half of the matrix-product rate; a block with half of slice's
# activations; `triton` alone at 90 % of the copy bandwidth.
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

profile() {
  step "$1" -m s2mlp_cli profile --shift all --device cuda --resume "$out/$1-cuda.json" "${@:2}"
}

# The goal's numbers first: a machine that is lent may be gone before the rest is done.
goal=(--level model --dtype bf16 --batch-size 256)
profile goal --model v2-medium "${goal[@]}"
profile compiled --model v2-medium "${goal[@]}" --compile
step verify -m s2mlp_cli verify --shift all --device cuda -o "$out/verify-cuda.json"
profile wide --model v1-wide "${goal[@]}"
profile all --model v2-medium --dtype bf16,fp32 --batch-size 256,64,1
step agreement benchmarks/agreement.py --device cuda
step tests -m pytest -q tests/shifts tests/measure/profiling tests/measure/verifying

for name in $wanted; do
  [[ " ${known[*]} " == *" $name "* ]] || { echo "no step $name; known: ${known[*]}"; exit 2; }
done
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}"; exit 1; }
