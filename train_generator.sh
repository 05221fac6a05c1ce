#!/bin/bash
# Train the generators of SRWGAN_Gen/ from nothing, in three phases. The first trains the faithful end on the
# reconstruction loss. From it the second trains the sharp end, with content and adversarial losses. From that the third
# trains the robust generator, on degraded pictures:
#
#   bash train_generator.sh PHOTOS VGG16_WEIGHTS CHANNEL_WEIGHTS [flags of train_SRWGAN.py, for all phases]
#
#   PHOTOS           folder of photographs
#   VGG16_WEIGHTS    VGG16 without its top layers, as keras.applications has it
#   CHANNEL_WEIGHTS  .npz of a weight for each channel of VGG16's five layers, LPIPS's (see --content-channels)
#
# The flags of each phase are in recipes/. The first two phases have rounds. In a round the learning rate falls. The next
# round starts at the full rate, from the mean of the weights so far. What a phase has reached is the mean of where its
# last round started and ended.
#
# Set in the environment:
#   WORK                 folder of everything (runs/generator); the result is WORK/SRWGAN_Gen
#   SHARP_PHOTOS         the later phases' photographs, the cleanest (PHOTOS)
#   HALVE_BELOW          megapixels below which the later phases take photographs at half their size, and the last
#                        adversarial round takes them at both sizes (1; 0: none)
#   WARMUP_EPOCHS, WARMUP_ROUNDS             of the first phase (40, 3)
#   ADVERSARIAL_EPOCHS, ADVERSARIAL_ROUNDS   of the second (40, 3)
#   ROBUST_EPOCHS        of the third (10)
#   DRY_RUN=1            only prints the commands
#
# An epoch has 4 crops of each photograph in the first phase and one in the others. The epochs above are for about a
# thousand photographs. recipes/ and the README.md of SRWGAN_Gen/ say what it was itself trained with, round by round.
#
# Started again with the same arguments, after Ctrl-C or a kill, it passes over what is finished and resumes an
# interrupted round. The last 20 photographs of each folder are held out, a tenth of 40 and fewer.
set -euo pipefail

fail() {
  echo "train_generator.sh: $*" >&2
  exit 2
}

[ $# -ge 3 ] || fail "Received: $# arguments. Expected PHOTOS VGG16_WEIGHTS CHANNEL_WEIGHTS [flags]."
photos=$1 vgg16=$2 channels=$3
shift 3
flags=("$@")
sharp_photos=${SHARP_PHOTOS:-$photos}
for folder in "$photos" "$sharp_photos"; do
  [ -d "$folder" ] || fail "Received: photographs $folder. Expected a folder."
done
for file in "$vgg16" "$channels"; do
  [ -f "$file" ] || fail "Received: weights $file. Expected a file."
done

work=${WORK:-runs/generator}
here=$(dirname "$0")
python=python3
[ -x "$here/.venv/bin/python" ] && python=$here/.venv/bin/python

# All photographs but the held-out ones.
training_number() {
  local number
  number=$(find -L "$1" -type f ! -name '.*' | wc -l)
  echo $((number > 40 ? number - 20 : number))
}

# run COMMAND...: prints it and, but for a dry run, runs it.
run() {
  printf '%q ' "$@"
  echo
  [ -n "${DRY_RUN:-}" ] || "$@"
}

# done_before NAME: whether NAME_Dis, which comes last of all, is there.
done_before() {
  [ -f "$work/$1_Dis/discriminator.keras" ] && echo "$1: done before"
}

# train NAME FLAGS...: leaves WORK/NAME_Gen and WORK/NAME_Dis.
train() {
  local name=$1 place
  shift
  done_before "$name" && return
  place=(--run-dir "$work/$name")
  [ -f "$work/$name/checkpoints/checkpoint" ] && place=(--resume "$work/$name")
  run "$python" "$here/train_SRWGAN.py" "${place[@]}" --savemodel True --chkpt_path "$work/$name" "$@" "${flags[@]}"
}

# mean NAME A B: NAME_Gen of the mean weights of A_Gen and B_Gen, with B's discriminator.
mean() {
  done_before "$1" && return
  run env PYTHONPATH="$here" "$python" -m utils.mean_generator "$work/$1_Gen" "$work/$2_Gen" "$work/$3_Gen"
  run cp -r "$work/$3_Dis" "$work/$1_Dis"
}

# phase NAME ROUNDS FLAGS...: trains NAME, NAME2, ..., and sets `reached` to the name of the last mean. The last of
# several rounds has the flags in `last_round` too.
last_round=()
phase() {
  local name=$1 rounds=$2 round more
  shift 2
  train "$name" "$@"
  reached=$name
  for ((round = 2; round <= rounds; round++)); do
    more=()
    ((round < rounds)) || more=("${last_round[@]}")
    train "$name$round" "$@" "${more[@]}" --init "$work/${reached}_Gen"
    mean "${name}_mean$round" "$reached" "$name$round"
    reached=${name}_mean$round
  done
}

recipes=$here/recipes
warmup=("@$recipes/faithful.txt" --datapath "$photos" --trainnum "$(training_number "$photos")")
sharp=(
  "@$recipes/sharp.txt" --datapath "$sharp_photos" --trainnum "$(training_number "$sharp_photos")"
  --pretrained-weights "$vgg16" --content-channels "$channels"
)
robust=("@$recipes/robust.txt")
[ -z "${WARMUP_EPOCHS:-}" ] || warmup+=(--epochs "$WARMUP_EPOCHS" --warmup-epochs "$WARMUP_EPOCHS")
[ -z "${HALVE_BELOW:-}" ] || sharp+=(--halve-below "$HALVE_BELOW")
[ -z "${ROBUST_EPOCHS:-}" ] || robust+=(--epochs "$ROBUST_EPOCHS")
adversarial=("${sharp[@]}")
[ -z "${ADVERSARIAL_EPOCHS:-}" ] || adversarial+=(--epochs "$ADVERSARIAL_EPOCHS")

last_round=("@$recipes/faithful_last.txt")
phase warmup "${WARMUP_ROUNDS:-3}" "${warmup[@]}"
faithful=$reached
last_round=("@$recipes/sharp_last.txt")
[[ ${HALVE_BELOW:-1} =~ ^[0.]+$ ]] && last_round=(--grain 5) # without halves there are no photographs at both sizes
phase sharp "${ADVERSARIAL_ROUNDS:-3}" --init "$work/${faithful}_Gen" "${adversarial[@]}"
sharp_end=$reached
phase robust 1 --init "$work/${sharp_end}_Gen" "${sharp[@]}" "${robust[@]}"

# Beside the sharp end: the faithful one, for --fidelity, and the robust generator, for --model robust and GIFs.
beside() {
  mkdir -p "$work/SRWGAN_Gen/$2"
  cp "$work/$1_Gen/config.json" "$work/$1_Gen/generator.keras" "$work/SRWGAN_Gen/$2"
}
if [ -z "${DRY_RUN:-}" ]; then
  mkdir -p "$work/SRWGAN_Gen"
  cp -r "$work/${sharp_end}_Gen/." "$work/SRWGAN_Gen"
  beside "$faithful" faithful
  beside robust robust
fi
echo "The generator: $work/SRWGAN_Gen, with faithful/ and robust/ in it"
