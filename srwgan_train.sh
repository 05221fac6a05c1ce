#!/bin/bash
# Train under SLURM:            sbatch srwgan_train.sh --trainnum 600 --epochs 40 --batchsz 4 --savemodel True
#   all GPUs of a node:         sbatch --gpus-per-task=4 srwgan_train.sh ...
#   several nodes:              sbatch --nodes=4 srwgan_train.sh ...
# or on this machine:           bash srwgan_train.sh ...          (DRY_RUN=1 only prints the command)
#
# Shortly before its time is up, the job writes a checkpoint and goes back into the queue. When it starts again, it
# resumes from there, as it does after a preemption or the failure of a node. All arguments are those of
# train_SRWGAN.py.
#SBATCH --job-name=srwgan
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@180
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=srwgan-%j.out
set -u
cd "${SLURM_SUBMIT_DIR:-$(dirname "$0")}" || exit 2

python=python3
[ -x .venv/bin/python ] && python=.venv/bin/python

# One run folder for each job. It is the same when the job comes back from the queue.
run_dir=runs/slurm-${SLURM_JOB_ID:-local}
for ((i = 1; i <= $#; i++)); do
  case ${!i} in
    --run-dir=*) run_dir=${!i#*=} ;;
    --run-dir) next=$((i + 1)) && run_dir=${!next:-} ;;
  esac
done
place=(--run-dir "$run_dir")
[ -f "$run_dir/checkpoints/checkpoint" ] && place=(--resume "$run_dir")

command=("$python" train_SRWGAN.py "${place[@]}" "$@")
if [ -n "${SLURM_JOB_ID:-}" ]; then
  command=(srun --kill-on-bad-exit=1 "${command[@]}")
  export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1} # srun does not take it from sbatch
fi
printf '%q ' "${command[@]}"
echo
[ -n "${DRY_RUN:-}" ] && exit 0

# Bash runs a trap only between commands, so the job step runs in the background.
"${command[@]}" &
step=$!
signalled='' time_is_up=''
if [ -n "${SLURM_JOB_ID:-}" ]; then
  stop=(scancel --signal=TERM "$SLURM_JOB_ID") # reaches the tasks of the job step; srun itself would kill them
  trap 'signalled=1' TERM                      # which SLURM sends to the tasks too
else
  stop=(kill -TERM "$step")
  trap 'signalled=1; "${stop[@]}"' TERM
  trap 'signalled=1; kill -INT "$step"' INT
fi
trap 'signalled=1 time_is_up=1; "${stop[@]}"' USR1

wait "$step"
status=$?
while [ -n "$signalled" ]; do # a signal ended the wait above before the step has ended
  signalled=''
  wait "$step"
  status=$?
done

if [ -n "$time_is_up" ] && [ "$status" -eq 143 ] && [ -n "${SLURM_JOB_ID:-}" ]; then
  echo "Back into the queue, to resume from $run_dir"
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
