#!/usr/bin/env bash
# A voice from 47 minutes of one speaker: bash egs/kathleen/tts/run.sh [--stage N] [--stop_stage N] [--corpus DIR]
#     [--conf conf/small.yaml] [--exp exp/small] [--teacher yes] [--vocoder yes] [--recognizer MODEL] [--sentences FILE]
# DIR is a folder with manifest.tsv; without it SPEECH_CORPORA has en_kathleen_tts. --teacher yes distils from a
# Transformer TTS, --vocoder yes trains a Vocos in the place of Griffin-Lim. --recognizer reads the test set back,
# --sentences adds hard ones. --conf and --exp count from this folder. Further options go to `recipes.train_fastspeech`.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../common.sh"
source "$root/egs/voice.sh"
voice_options "$@"
setup
cd "$root/egs/kathleen/tts"
if run_stage 0 "data: phonemes by espeak-ng, silence trimmed"; then
    python -m recipes.prepare.voice --corpus "$(corpus_folder en_kathleen_tts)" --phonemizer espeak --language en-us \
        --out data
fi
text="The 3rd train leaves at 7:45."
voice_stages
