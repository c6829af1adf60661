#!/bin/sh
# Submits 128 workers that share a plan as a Slurm array, and a merge that runs when all of
# them have ended well. Run it with sh on a machine that has sbatch. Submitting it again
# does no harm: what is done is skipped.
set -eu

array=$(sbatch --parsable <<'WORKER'
#!/bin/bash
#SBATCH --job-name=embed
#SBATCH --array=0-127
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --gres=gpu:1
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
#SBATCH --output=/data/job/%x-%A_%a.log

# The shell gets the signals; the worker stops at them by itself, with status 75. Where
# that was for want of time the task is queued again, and goes on.
again=
/opt/pipe/bin/pipe precompute-teacher --plan /data/job --worker auto &
worker=$!
trap 'again=yes; kill -USR1 "$worker" 2>/dev/null' USR1
trap 'kill -TERM "$worker" 2>/dev/null' TERM
while :; do
	wait "$worker"
	status=$?
	kill -0 "$worker" 2>/dev/null || break
done
if [ "$status" -eq 75 ] && [ -n "$again" ]; then
	scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
fi
exit "$status"
WORKER
)
array=${array%%;*}

merge=$(sbatch --parsable --dependency="afterok:$array" --kill-on-invalid-dep=yes <<'MERGE'
#!/bin/bash
#SBATCH --job-name=embed-merge
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=/data/job/%x-%j.log

exec /opt/pipe/bin/pipe merge --plan /data/job
MERGE
)
echo "workers: job $array; merge: job ${merge%%;*}"
