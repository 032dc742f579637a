#!/usr/bin/env bash
# A voice from LJSpeech: bash egs/ljspeech/tts/run.sh [--stage N] [--stop_stage N] [--corpus DIR]
#     [--conf conf/small.yaml] [--exp exp/small] [--teacher yes] [--vocoder yes] [--recognizer MODEL] [--sentences FILE]
# DIR is LJSpeech-1.1, or a folder with manifest.tsv; without it SPEECH_CORPORA has en_ljspeech_385. --teacher yes distils from a
# Transformer TTS, --vocoder yes trains a Vocos in the place of Griffin-Lim. --recognizer reads the test set back,
# --sentences adds hard ones. --conf and --exp count from this folder. Further options go to `recipes.train_fastspeech`.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../common.sh"
source "$root/egs/voice.sh"
voice_options "$@"
setup
cd "$root/egs/ljspeech/tts"
if run_stage 0 "data: phonemes by espeak-ng, silence trimmed"; then
    python -m recipes.prepare.ljspeech --corpus "$(corpus_folder en_ljspeech_385)" --phonemizer espeak --language en-us \
        --out data
fi
text="The 3rd train leaves at 7:45."
voice_stages
