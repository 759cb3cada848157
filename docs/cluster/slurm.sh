#!/bin/bash
# Trains one recipe on several machines: sbatch docs/cluster/slurm.sh
# Needs a checkout with its .venv, the data and the run folder on a file system that all nodes share.
# Queue it again after its time is over, or after a failure: it goes on from the last checkpoint.
#SBATCH --job-name=recipe
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-task=1
#SBATCH --time=24:00:00
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=TERM@120
set -u

recipe=${RECIPE:-convnet_mnist}
run_dir=${RUN_DIR:-runs/$recipe-slurm}
restarts=3

for (( start = 0; start <= restarts; start++ )); do
    command=(run "$recipe" --strategy multi_worker --run-dir "$run_dir")
    if [ -e "$run_dir/config.json" ]; then command=(resume "$run_dir"); fi
    # In block order rank i is worker i. When one task fails, all end, so that all can start again.
    srun --cpus-per-task="$SLURM_CPUS_PER_TASK" --distribution=block --kill-on-bad-exit=1 \
        .venv/bin/python -m recipes "${command[@]}"
    status=$?
    # 0: done. 2: an error that would come again. 143: stopped by SIGTERM, and saved.
    case $status in 0 | 2 | 143) exit "$status" ;; esac
    echo "start $(( start + 1 )) of $(( restarts + 1 )) ended with status $status" >&2
done
exit "$status"
