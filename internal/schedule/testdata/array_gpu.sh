#!/bin/sh
# Submits 128 workers that share a plan as a Slurm array, and a merge that runs when all of
# them have ended well. Run it with sh on a machine that has sbatch. Submitting it again
# does no harm: what is done is skipped.
set -eu

array=$(sbatch --parsable --output=/data/job/%x-%A_%a.log <<'WORKER'
#!/bin/bash
#SBATCH --job-name=embed
#SBATCH --array=0-127%16
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --gres=gpu:1
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
#SBATCH --partition=gpu
#SBATCH --account=faces

# As many threads as processors, also where Slurm confines nobody to those it grants.
export GOMAXPROCS="$SLURM_CPUS_PER_TASK"

# The shell gets the signals, from before there is a worker; that stops at them by itself, with status 75. Where
# that was for want of time the task is queued again, and goes on. A signal ends the wait
# with a status of its own, even if the worker has ended meanwhile: the next wait has the
# worker's, which the shell keeps.
again= worker= early=
pass() { if [ -n "$worker" ]; then kill -"$1" "$worker" 2>/dev/null; else early=$1; fi; }
trap 'signalled=yes again=yes; pass USR1' USR1
trap 'signalled=yes; pass TERM' TERM
/opt/pipe/bin/pipe precompute-teacher --plan /data/job --worker auto &
worker=$!
[ -z "$early" ] || kill -"$early" "$worker"
while :; do
	signalled=
	wait "$worker"
	status=$?
	[ -n "$signalled" ] || break
done
# A crash (134, or 128 and a signal) may not come again: the task is queued again, too, where it
# was not twice already. Wrong usage (2) and damaged data (4) would.
case $status in
	75) ;;
	134|139|135|132|136|133|159|131) if [ "${SLURM_RESTART_COUNT:-0}" -lt 2 ]; then again=yes; else again=; fi ;;
	*) again= ;;
esac
if [ -n "$again" ]; then
	scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
fi
exit "$status"
WORKER
)
array=${array%%;*}

merge=$(sbatch --parsable --dependency="afterok:$array" --kill-on-invalid-dep=yes --output=/data/job/%x-%j.log <<'MERGE'
#!/bin/bash
#SBATCH --job-name=embed-merge
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --partition=gpu
#SBATCH --account=faces

export GOMAXPROCS="$SLURM_CPUS_PER_TASK"
exec /opt/pipe/bin/pipe merge --plan /data/job
MERGE
)
echo "workers: job $array; merge: job ${merge%%;*}"
