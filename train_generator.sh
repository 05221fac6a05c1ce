#!/bin/bash
# Train the generators of SRWGAN_Gen/ from nothing, in three phases: the faithful end on the reconstruction loss, from it
# the sharp end with content and adversarial losses, and from that the robust one, on degraded pictures:
#
#   bash train_generator.sh PHOTOS VGG16_WEIGHTS CHANNEL_WEIGHTS [flags of train_SRWGAN.py, for all phases]
#
#   PHOTOS           folder of photographs
#   VGG16_WEIGHTS    VGG16 without its top layers, as keras.applications has it
#   CHANNEL_WEIGHTS  .npz of a weight for each channel of VGG16's five layers, LPIPS's (see --content-channels)
#
# Set in the environment:
#   WORK                 folder of everything (runs/generator); the result is WORK/SRWGAN_Gen
#   SHARP_PHOTOS         the later phases' photographs, the cleanest (PHOTOS)
#   WARMUP_EPOCHS        of the first phase (60)
#   ADVERSARIAL_EPOCHS   of the second phase (120)
#   ROBUST_EPOCHS        of the third phase (30)
#   DRY_RUN=1            only prints the commands
#
# An epoch has 4 crops of each photograph in the first phase and 16 in the others; the epochs above are for hundreds of
# PHOTOS and dozens of SHARP_PHOTOS. The flags that SRWGAN_Gen/ itself was trained with are in its README.md.
#
# Stopped (Ctrl-C) or killed and started again with the same arguments, it passes over a finished phase and resumes an
# interrupted one. The last 20 photographs of each folder are held out, a tenth of 40 and fewer.
set -euo pipefail

fail() {
  echo "train_generator.sh: $*" >&2
  exit 2
}

[ $# -ge 3 ] || fail "Received: $# arguments. Expected PHOTOS VGG16_WEIGHTS CHANNEL_WEIGHTS [flags]."
photos=$1 vgg16=$2 channels=$3
shift 3
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

# phase NAME FLAGS...: leaves WORK/NAME_Gen, and last of all WORK/NAME_Dis.
phase() {
  local name=$1 place command
  shift
  if [ -f "$work/${name}_Dis/discriminator.keras" ]; then
    echo "$name: done before"
    return
  fi
  place=(--run-dir "$work/$name")
  [ -f "$work/$name/checkpoints/checkpoint" ] && place=(--resume "$work/$name")
  command=("$python" "$here/train_SRWGAN.py" "${place[@]}" --savemodel True --chkpt_path "$work/$name" "$@")
  printf '%q ' "${command[@]}"
  echo
  [ -n "${DRY_RUN:-}" ] || "${command[@]}"
}

warmup=(
  --datapath "$photos" --trainnum "$(training_number "$photos")" --validnum 20
  --cropsz 192 --batchsz 16 --crops-per-photo 4 --sampling area
  --epochs "${WARMUP_EPOCHS:-60}" --warmup-epochs "${WARMUP_EPOCHS:-60}" --reconstruction l1
  --goptimizer muon --glr 1.5e-3 --beta1 0.9 --beta2 0.99 --lr-schedule cosine --lr-warmup 100
)
sharp=(
  --datapath "$sharp_photos" --trainnum "$(training_number "$sharp_photos")" --validnum 20
  --cropsz 128 --batchsz 8 --crops-per-photo 16 --sampling area
  --weighting gradient --advweight 0.05 --cweight 1 --rweight 0.05 --latweight 0.3 --reconstruction l1
  --content-norm unit --content-channels "$channels" --interpolation uniform
  --pretrained vgg16 --pretrained-weights "$vgg16" --hyperpixel-layers '2,5,9,13,17'
  --goptimizer muon --glr 4e-4 --doptimizer muon --dlr 5e-4 --beta1 0 --beta2 0.9 --lr-schedule cosine
)
adversarial=(--init "$work/warmup_Gen" "${sharp[@]}" --epochs "${ADVERSARIAL_EPOCHS:-120}" --critic-warmup 150)
robust=(--init "$work/SRWGAN_Gen" "${sharp[@]}" --epochs "${ROBUST_EPOCHS:-30}" --critic-warmup 50
        --degradation mixed)

phase warmup "${warmup[@]}" "$@"
phase SRWGAN "${adversarial[@]}" "$@"
phase robust "${robust[@]}" "$@"

# Beside the sharp end: the faithful one, for --fidelity, and the robust generator, for --model robust and GIFs.
beside() {
  mkdir -p "$work/SRWGAN_Gen/$2"
  cp "$work/$1_Gen/config.json" "$work/$1_Gen/generator.keras" "$work/SRWGAN_Gen/$2"
}
if [ -z "${DRY_RUN:-}" ]; then
  beside warmup faithful
  beside robust robust
fi
echo "The generator: $work/SRWGAN_Gen, with faithful/ and robust/ in it"
