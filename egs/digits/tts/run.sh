#!/usr/bin/env bash
# One speaker's digits, joined to strings: bash egs/digits/tts/run.sh [--stage N] [--stop_stage N] [--corpus DIR]
#     [--speaker jackson] [--vocoder no] [--exp exp/small] [--recognizer MODEL]
# DIR is a folder with manifest.tsv or the public archive. MODEL reads 100 strings back; without it the recogniser of
# egs/digits does, if it was trained. Further options go to `recipes.train_fastspeech`.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../common.sh"
source "$root/egs/voice.sh"
speaker=jackson vocoder=yes
own="speaker"
voice_options "$@"
setup
cd "$root/egs/digits/tts"
if [ -z "$recognizer" ] && [ -d ../exp/model ]; then recognizer=$(realpath ../exp/model); fi
if run_stage 0 "data: digits of $speaker, joined to strings"; then
    python -m recipes.prepare.digit_voice --speaker "$speaker" ${corpus:+--corpus "$corpus"} --phonemizer espeak \
        --language en-us --out data
fi
text="one two three four five"
voice_stages

if [ "$vocoder" = yes ] && run_stage 8 "export: what \`speech demo\` opens"; then
    case $teacher in yes) run=student ;; *) run=fastspeech ;; esac
    speech export "$exp/$run/voice" exp/onnx --precision 32 int8
    printf '%s\n' "one two three four" "5 5 5, 0 1 2 3" "nine, eight, seven. Six!" >exp/onnx/examples.txt
fi
