#!/usr/bin/env bash
# A search in a Slurm allocation: a Ray cluster of its nodes for as long as the job lasts. A job that comes to its time
# limit ends in order and is queued again; it goes on where it was.
#
#   sbatch slurm.sh STUDY RUN      both on storage that all nodes see under the same path
#
#SBATCH --job-name=seti-tune
#SBATCH --nodes=3
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --exclusive
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@180
#SBATCH --requeue
#SBATCH --open-mode=append
# --exclusive: at its end `ray symmetric-run` ends all of Ray on its nodes, that of other jobs too.
# --signal=B: to this script alone. A signal to all processes would end Ray before the search is through. The search needs
# some seconds, the other nodes need a minute to notice that the head is gone.
set -euo pipefail

study=${1:?STUDY is missing} run=${2:?RUN is missing}
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1) # this script runs there too
pid_file=${TMPDIR:-/tmp}/seti-tune-$SLURM_JOB_ID
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token # of this job alone
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300 # in seconds, for the other nodes

was_told=
end_in_order() {
    was_told=yes
    [ ! -s "$pid_file" ] || kill -TERM "$(cat "$pid_file")"
}
trap end_in_order TERM
trap 'rm -f "$pid_file"' EXIT

srun ray symmetric-run --address "$head:6379" --min-nodes "$SLURM_JOB_NUM_NODES" --num-cpus "$SLURM_CPUS_PER_TASK" \
    -- bash -c 'echo $$ >"$0"; exec "$@"' "$pid_file" \
    seti-tune search "$study" --run "$run" --address "$head:6379" --plain &
step=$!
code=0
wait "$step" || code=$?
if [ -n "$was_told" ]; then # which ended the waiting, not the search
    code=0
    wait "$step" || code=$?
fi
# 3: interrupted, to be continued. 0: finished. 2: a mistake, named above.
[ "$code" -ne 3 ] || scontrol requeue "$SLURM_JOB_ID"
exit "$code"
