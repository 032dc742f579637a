#!/usr/bin/env bash
# From nothing to a recogniser of 30 M parameters with `base`'s decoder, 40 tokens in 10 s, to measure it on recordings:
#     bash tests/benchmarks/long_digits.sh DIR
#     python tests/benchmarks/onnx_speculation.py DIR/onnx DIR/test.jsonl.gz --beside DIR/last/model --ctc_weight 0 0.7
# Three quarters of an hour on two cores; it goes on where an earlier run stopped.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../../egs/common.sh"
[ $# = 1 ] || die "usage: bash tests/benchmarks/long_digits.sh DIR"
setup
mkdir -p "$1"
cd "$1"
python "$here/long_digits.py" .
python -m recipes.train_tokenizer --manifest train.jsonl.gz --out tokenizer.model --vocab_size 96
settings=(--config "$here/long_digits.yaml" --data.train train.jsonl.gz --data.tokenizer tokenizer.model
    --data.bins bins.json)
speech data bins "${settings[@]}" --buckets 10
speech train "${settings[@]}" --data.dev dev.jsonl.gz --train.out narrow

# wide from the start it learns nothing in this time
[ -e wide ] || python "$here/widen.py" narrow/model wide 5120
settings+=(--data.dev dev.jsonl.gz --model.encoder.d_ff 5120 --data.short_epochs 0)
speech train --init wide "${settings[@]}" --train.out widened --optim.lr 4e-4 --optim.warmup_steps 50 \
    --train.max_steps 600 --train.valid_every_steps 200
speech train --init widened/model "${settings[@]}" --train.out last --optim.lr 3e-4 --optim.warmup_steps 20 \
    --train.max_steps 420 --train.valid_every_steps 210
speech evaluate last/model test.jsonl.gz --out joint
speech evaluate last/model test.jsonl.gz --ctc_weight 0 --out decoder
[ -e onnx ] || speech export last/model onnx --precision 32 int8
