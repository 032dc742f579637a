#!/usr/bin/env bash
# From nothing to a recogniser of spoken digits: bash egs/digits/run.sh [--stage N] [--stop_stage N] [--corpus DIR]
# Further options go to `speech train`, e.g. --train.max_steps 5000.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
corpus=()
options "$@"
set -- ${rest[@]+"${rest[@]}"}
rest=()
while [ $# -gt 0 ]; do
    case "$1" in
        --corpus) [ -n "${2:-}" ] || die "--corpus needs a folder"; corpus=(--corpus "$(realpath -- "$2")"); shift 2 ;;
        *) rest+=("$1"); shift ;;
    esac
done
setup
cd "$root/egs/digits"
started=$SECONDS
sets=(single-test test test-long)
manifests=("${sets[@]/#/data/}")
manifests=("${manifests[@]/%/.jsonl.gz}")

if run_stage 0 "data: spoken digits, single and joined into strings"; then
    python -m recipes.prepare.digits --out data ${corpus[@]+"${corpus[@]}"}
fi

if run_stage 1 "validate the manifests"; then
    for name in train dev "${sets[@]}"; do speech data validate "data/$name.jsonl.gz"; done
fi

if run_stage 2 "tokenizer"; then
    python -m recipes.train_tokenizer --manifest data/train.jsonl.gz --out data/tokenizer.model --vocab_size 64
fi

if run_stage 3 "train (continues where an earlier run stopped)"; then
    speech train --config conf/train.yaml --data.train data/train.jsonl.gz --data.dev data/dev.jsonl.gz \
        --data.tokenizer data/tokenizer.model --train.out exp ${rest[@]+"${rest[@]}"}
fi

if run_stage 4 "error rates, greedy search"; then
    speech evaluate exp/model "${manifests[@]}" --beam_size 1 --out exp/greedy
fi

if run_stage 5 "error rates, beam of 4"; then
    speech evaluate exp/model "${manifests[@]}" --beam_size 4 --worst 0 --out exp/beam4
fi

if run_stage 6 "transcribe three test files"; then
    mapfile -t files < <(speech data files data/single-test.jsonl.gz --count 3)
    speech transcribe exp/model "${files[@]}" --output_dir exp/transcripts
    ls exp/transcripts
fi
say "done in $(((SECONDS - started) / 60)) min $(((SECONDS - started) % 60)) s; loss curves: egs/digits/exp/curves.png"
