#!/bin/bash
# The next round of the generators of SRWGAN_Gen/ on an accelerator, several trainings at once, in three commands:
#
#   bash recipes/portable_round.sh export PHOTOS VGG16_WEIGHTS CHANNEL_WEIGHTS   # here: TensorFlow and JAX
#   bash ROUND/portable_round.sh train PHOTOS SECONDS                          # there: JAX, NumPy, Pillow and tqdm
#   bash recipes/portable_round.sh import                                        # here again, with ROUND/out
#
#   PHOTOS           folder of photographs, here and there; the last 20 are held out
#   VGG16_WEIGHTS    VGG16 without its top layers, as keras.applications has it
#   CHANNEL_WEIGHTS  .npz of a weight for each channel of VGG16's five layers, LPIPS's (see --content-channels)
#
# ROUND is what is carried there: exported steps, and the code that makes degraded pairs. Files that several steps have are
# one file with several names, which tar and rsync -H keep. The trainings run side by side, so that none waits for another's
# compilation or pairs. Stopped or out of time, `train` goes on when it is called again.
#
# Set in the environment:
#   ROUND       the folder (runs/round)
#   TRAININGS   which (sharp robust diffusion); faithful and fast are two more. diffusion is followed by its student
#   TEACHERS    folders of generators that faithful learns from too (none): see --teacher
#   PAIRS       of crops and their degraded partners, for robust (160000: 8 GB of the accelerator's memory)
#   PYTHON      (python3)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
trainings=${TRAININGS:-sharp robust diffusion}

fail() {
  echo "portable_round.sh: $*" >&2
  exit 2
}

for name in $trainings; do
  case $name in sharp | faithful | robust | fast | diffusion) ;; *) fail "Received: TRAININGS=$trainings. Expected some of sharp faithful robust fast diffusion." ;; esac
done

# What exports have in common: photographs at half their size too, in proportion to their sides, so that fine texture is
# no rarer than in photographs; and less than 2 GB of them, which indices of 32 bits reach.
export_step() {
  local name=$1
  shift
  if [ ! -e "$round/$name/meta.json" ]; then
    "$python" train_SRWGAN.py "$@" --datapath "$photos" --trainnum 1000000 --export-step "$round/$name"
  fi
  rm -f "$round/$name/photographs.bin" # the photographs themselves are less to carry
  for other in "$round"/*/classifier.npz; do # one file with several names
    if ! [ "$other" -ef "$round/$name/classifier.npz" ] && cmp -s "$other" "$round/$name/classifier.npz"; then
      ln -f "$other" "$round/$name/classifier.npz"
      break
    fi
  done
}

export_all() {
  [ $# = 3 ] || fail "Received: $# arguments. Expected PHOTOS VGG16_WEIGHTS CHANNEL_WEIGHTS."
  [ -d "$1" ] || fail "Received: photographs $1. Expected a folder."
  for file in "$2" "$3"; do
    [ -f "$file" ] || fail "Received: weights $file. Expected a file."
  done
  photos=$(realpath "$1")
  local weights=(--pretrained-weights "$(realpath "$2")" --content-channels "$(realpath "$3")")
  local sizes=(--halve-below 4 --sampling side --packed-limit 2140) teachers=() shortest more critic
  for more in ${TEACHERS:-}; do
    [ -d "$more" ] || fail "Received: TEACHERS=$TEACHERS. Expected folders."
    teachers+=("$(realpath "$more")")
  done
  if [ ${#teachers[@]} != 0 ]; then teachers=(--teacher "${teachers[@]}"); fi
  mkdir -p "$round/code" "$round/start"
  round=$(realpath "$round")
  cd "$here/.."
  for name in robust fast; do # with the discriminator of their last round where it was kept, or the sharp end's
    mkdir -p "$round/start/$name"
    critic=SRWGAN_Gen/$name/discriminator.keras
    [ -e $critic ] || critic=SRWGAN_Gen/discriminator.keras
    cp SRWGAN_Gen/$name/generator.keras $critic "$round/start/$name"
  done
  for name in $trainings; do
    case $name in
      sharp) export_step sharp @recipes/sharp_gpu.txt @recipes/sharp_gpu_next.txt "${weights[@]}" "${sizes[@]}" --init SRWGAN_Gen ;;
      faithful) export_step faithful @recipes/faithful_gpu.txt --packed-limit 2140 --init SRWGAN_Gen/faithful ${teachers[@]+"${teachers[@]}"} ;;
      robust) export_step robust @recipes/sharp_gpu.txt @recipes/robust_gpu.txt "${weights[@]}" "${sizes[@]}" --init "$round/start/robust" --packed-limit 4 ;;
      fast) export_step fast @recipes/sharp_gpu.txt @recipes/fast.txt "${weights[@]}" "${sizes[@]}" --grain 0 --init "$round/start/fast" ;;
      diffusion)
        export_step diffusion @recipes/diffusion_gpu.txt "${sizes[@]}" --init SRWGAN_Gen/faithful
        if [ ! -e "$round/start/teacher_Gen" ]; then # of the student's network; its weights are not used
          shortest=(--trainnum 2 --validnum 1 --halve-below 0 --cropsz 32 --batchsz 1 --crops-per-photo 1 --epochs 1 --precision float32)
          "$python" train_SRWGAN.py --family diffusion --init SRWGAN_Gen/faithful --datapath Images/train "${shortest[@]}" --savemodel True \
            --run-dir "$round/start/teacher_run" --chkpt_path "$round/start/teacher"
        fi
        export_step student @recipes/diffusion_student_gpu.txt "${weights[@]}" "${sizes[@]}" --student "$round/start/teacher_Gen" --init SRWGAN_Gen
        ;;
    esac
  done
  cp -r srwgan "$round/code"
  mkdir -p "$round/code/utils"
  cp utils/portable_run.py utils/portable_pairs.py "$round/code/utils"
  cp recipes/portable_round.sh "$round"
  echo "Exported to $round. Where JAX is: bash portable_round.sh train PHOTOS SECONDS, in that folder"
}

# A training of so many seconds, or the rest of it.
train_one() {
  local name=$1 from=$2 seconds=$3 resume=()
  shift 3
  if [ -e "out/$name/state.npz" ]; then resume=(--resume); fi
  "$python" "$name/portable_run.py" "$name" --photographs "$from" --seconds "$seconds" --output "out/$name" "${resume[@]}" \
    --compilation-cache cache "$@" < /dev/null >> "out/$name.log" 2>&1 || echo "$name ended with status $?: see out/$name.log" >&2
}

# The runner compiles while its pairs are made, and waits for pairs/ready. That says 0 seconds where they could not be made.
train_robust() {
  local pairs=pairs/photographs.bin waits_for=()
  if [ ! -e $pairs ]; then
    rm -f pairs/photographs.json pairs/ready
    make_pairs &
    while [ ! -e pairs/photographs.json ] && kill -0 $! 2> /dev/null; do sleep 0.2; done # it tells at once what there will be
    if [ ! -e pairs/photographs.json ]; then
      echo "robust has no pairs to train on: see above" >&2
      return
    fi
    waits_for=(--wait pairs/ready)
  fi
  train_one robust $pairs $((ends - $(date +%s))) ${waits_for[@]+"${waits_for[@]}"}
  wait # for the pairs, where the runner ended before them: another call would make them a second time beside
}

make_pairs() {
  if (cd code && "$python" -m utils.portable_pairs ../robust --photographs "$photos" --number "${PAIRS:-160000}" --texture 0.3 --output ../pairs); then
    : > pairs/ready
  else
    echo 0 > pairs/ready
  fi
}

train_diffusion() {
  train_one diffusion "$photos" $(($1 / 2))
  [ ! -e out/diffusion/average.npz ] || train_one student "$photos" $((ends - $(date +%s))) --teacher out/diffusion
}

train_all() {
  [ $# = 2 ] || fail "Received: $# arguments. Expected PHOTOS SECONDS."
  [ -d "$1" ] || fail "Received: photographs $1. Expected a folder."
  [[ $2 =~ ^[0-9]+$ ]] || fail "Received: $2 seconds. Expected a whole number."
  photos=$(realpath "$1")
  ends=$(($(date +%s) + $2))
  cd "$round"
  mkdir -p out
  export XLA_PYTHON_CLIENT_PREALLOCATE=false # the trainings share the accelerator's memory
  for name in $trainings; do
    case $name in
      sharp) train_one sharp "$photos" "$2" --texture 0.5 & ;;
      faithful | fast) train_one "$name" "$photos" "$2" & ;;
      robust) train_robust & ;;
      diffusion) train_diffusion "$2" & ;;
    esac
  done
  echo "Training $trainings; how far they are: tail -n 1 $round/out/*.log"
  wait
  for log in out/*.log; do echo "$log: $(tail -n 1 "$log")"; done
}

import_all() {
  round=$(realpath "$round")
  cd "$here/.."
  for state in "$round"/out/*/state.npz; do
    [ -e "$state" ] || fail "Received: $round, with no state in out. Expected what train wrote."
    name=$(basename "$(dirname "$state")")
    "$python" train_SRWGAN.py --import-state "$round/out/$name" --run-dir "$round/runs/$name" --savemodel True --chkpt_path "$round/result/$name"
  done
}

command=${1:-none}
[ $# = 0 ] || shift
case $command in
  export) round=${ROUND:-runs/round} && export_all "$@" ;;
  train) round=${ROUND:-$here} && train_all "$@" ;;
  import) round=${ROUND:-runs/round} && import_all ;;
  *) fail "Received: $command. Expected export, train or import." ;;
esac
