#!/usr/bin/env bash
# Read Mandarin: bash egs/aishell/asr/run.sh [--stage N] [--stop_stage N] [--corpus DIR] [--init FOLDER]
#     [--conf conf/small.yaml] [--exp exp/small] [--fit_memory 0.9]
# DIR is AISHELL-1 (the folder with data_aishell/), or a folder with manifest.tsv; without it SPEECH_CORPORA has
# zh_aishell_sample. --init FOLDER starts from a model folder of any language, by conf/finetune.yaml into exp/finetune.
# --conf and --exp count from this folder. --fit_memory finds batch sizes that fill this share of the GPU. Further
# options go to `speech train`.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../common.sh"
corpus="" init="" conf="" exp="" fit_memory=""
options "corpus init conf exp fit_memory" "$@"
corpus=${corpus:+$(realpath -- "$corpus")}
init=${init:+$(realpath -- "$init")}
name=${init:+finetune}
conf=${conf:-conf/${name:-small}.yaml} exp=${exp:-exp/${name:-small}}
setup
cd "$root/egs/aishell/asr"
sets=(data/dev.jsonl.gz data/test.jsonl.gz)

if run_stage 0 "data: manifests with normalised text"; then
    python -m recipes.prepare.aishell --out data ${corpus:+--corpus "$corpus"}
fi

if run_stage 1 "validate the manifests"; then
    for manifest in data/train.jsonl.gz "${sets[@]}"; do speech data validate "$manifest"; done
fi

if run_stage 2 "tokenizer: the characters of the training set, others by their bytes"; then
    python -m recipes.train_tokenizer --manifest data/train.jsonl.gz --out data/char/tokenizer.model \
        --kind char --byte_fallback --vocab_size 6000 --languages zh
fi

settings=(--config "$conf" --data.train data/train.jsonl.gz --data.tokenizer data/char/tokenizer.model
    --train.out "$exp" ${init:+--init "$init"} ${rest[@]+"${rest[@]}"})
if run_stage 3 "batch sizes that fill the memory (only with --fit_memory)" && [ -n "$fit_memory" ]; then
    speech data bins "${settings[@]}" --data.bins "$exp/bins.json"
    speech data batch-sizes "${settings[@]}" --data.bins "$exp/bins.json" --data.batch_sizes "$exp/batch_sizes.json" \
        --fraction "$fit_memory"
fi
[ -z "$fit_memory" ] || settings+=(--data.bins "$exp/bins.json" --data.batch_sizes "$exp/batch_sizes.json")

if run_stage 4 "train (goes on where an earlier run stopped)"; then
    speech train "${settings[@]}" --data.dev data/dev.jsonl.gz
fi

if run_stage 5 "character error rates of the decoder alone, greedy search"; then
    speech evaluate "$exp/model" "${sets[@]}" --beam_size 1 --ctc_weight 0 --out "$exp/decoder"
fi

if run_stage 6 "character error rates of decoder and CTC head together, beam of 4"; then
    speech evaluate "$exp/model" "${sets[@]}" --beam_size 4 --worst 0 --out "$exp/joint"
fi

if run_stage 7 "transcribe three test files"; then
    mapfile -t files < <(speech data files data/test.jsonl.gz --count 3)
    speech transcribe "$exp/model" "${files[@]}" --output_dir "$exp/transcripts"
fi
took "loss curves: egs/aishell/asr/$exp/curves.png"
