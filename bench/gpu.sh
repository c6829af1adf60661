#!/bin/bash
# The first ten minutes on a machine with a CUDA GPU: builds the training engine against the
# PyTorch of its Python and finds out whether it computes there what it should, and how fast. Each
# result is printed as it is there, so that what was found stays where time ran out; at the end they
# make a table of what was wanted and what was got. Crops are drawn.
#
# Where there is no Go, build the programs before, here or elsewhere, and bring them along:
#
#   go build -o bin/pipe ./cmd/pipe
#   go build -o bin/bench-train ./bench/train
#   go build -o bin/bench-teacher ./bench/teacher
#   go test -c -o bin/torch.test ./student/torch
#   go test -c -o bin/optim.test ./student/optim
#   go test -c -o bin/loss.test ./student/loss
#
# It ends with status 0 if all that was wanted was got, 1 if not, 2 of a mistake in its arguments,
# and 3 where there is no device.
set -uo pipefail

all="versions build tests sanitizer bandwidth agreement blocking speed resume teacher"

usage() {
	cat <<END
usage: bench/gpu.sh [--parts LIST] [--students LIST] [--batches LIST] [--rounds N] [--steps N] [--dir DIR] [--compile] [--no-peers] [--dry-run]
  --parts LIST     what to do (default, and always in this order: "$all")
  --students LIST  networks whose speed is measured (default "mobilefacenet ir50")
  --batches LIST   crops a step (default "512 1024")
  --rounds N       measurements of a speed, of which the medians are shown (default 1)
  --steps N        steps of a measurement (default 30, the first 10 do not count)
  --dir DIR        where crops and datasets go, and stay (default: a temporary folder)
  --compile        PyTorch's training compiled, too
  --no-peers       without PyTorch's own training
  --dry-run        print the commands; no device is needed
PIPE_BENCH_PYTHON is a Python with a CUDA build of torch (default python3). ONNXRUNTIME is an ONNX
Runtime for CUDA; without one that is found the part teacher is left out.
END
	exit "$1"
}

parts=$all students="mobilefacenet ir50" batches="512 1024" rounds=1 steps=30 dir="" peers="eager" dry=""
while [ $# -gt 0 ]; do
	case $1 in
	--parts | --students | --batches | --rounds | --steps | --dir)
		[ $# -ge 2 ] || usage 2 >&2
		declare "${1#--}=$2"
		shift
		;;
	--compile) peers="eager compiled" ;;
	--no-peers) peers="" ;;
	--dry-run) dry=yes ;;
	-h | --help) usage 0 ;;
	*) usage 2 >&2 ;;
	esac
	shift
done

for part in $parts; do
	case " $all " in
	*" $part "*) ;;
	*)
		echo "bench/gpu.sh: no part $part" >&2
		exit 2
		;;
	esac
done

cd "$(dirname "$0")/.." || exit
python=${PIPE_BENCH_PYTHON:-python3}
rows=() bad=0
exec 3>&1 # what would be done is shown, wherever what it says would go

# A line of the table, as soon as it is known; ok, bad, or "" for what has no verdict.
row() { # what, wanted, got, verdict
	rows+=("| $1 | $2 | $3 | $4 |")
	[ "$4" != bad ] || bad=1
	echo "$1: $3${2:+ (wanted: $2)} $4"
}
table() {
	printf '\n| what | wanted | got | |\n|---|---|---|---|\n'
	[ ${#rows[@]} -eq 0 ] || printf '%s\n' "${rows[@]}"
}

# Runs a command for so many seconds at most; what it says goes to $log and to the screen.
log=/dev/null
limited() { # seconds, command...
	local seconds=$1
	shift
	if [ -n "$dry" ]; then
		echo "+ $*" >&3
		return 0
	fi
	timeout "$seconds" "$@" 2>&1 | tee "$log"
}
# The same, and a line of the table by its status.
judged() { # what, wanted, seconds, command...
	local what=$1 wanted=$2 status
	shift 2
	limited "$@"
	status=$?
	[ -z "$dry" ] || return 0
	case $status in
	0) row "$what" "$wanted" "$(tail -1 "$log")" ok ;;
	124) row "$what" "$wanted" "no end within $1 s" bad ;;
	*) row "$what" "$wanted" "status $status: $(tail -1 "$log")" bad ;;
	esac
	return "$status"
}
ask() { # Python's expression, with torch
	"$python" -c "import torch; print($1)" 2>/dev/null || echo none
}
# The verdict of a comparison of numbers, as awk writes it; bad if one of them is none.
holds() { awk "BEGIN {exit !($1)}" 2>/dev/null && echo ok || echo bad; }
wants() { case " $parts " in *" $1 "*) true ;; *) false ;; esac; }

if [ -z "$dry" ]; then
	if ! command -v nvidia-smi >/dev/null || ! nvidia-smi -L | grep -q GPU; then
		echo "bench/gpu.sh: no CUDA device here (nvidia-smi shows none); --dry-run prints what would be done" >&2
		exit 3
	fi
	if [ "$(ask 'torch.cuda.is_available()')" != True ]; then
		echo "bench/gpu.sh: $python has no torch that sees the device: pip install torch, or PIPE_BENCH_PYTHON=FILE" >&2
		exit 3
	fi
fi
if [ -n "$dry" ]; then
	dir=${dir:-DIR} libtorch=LIBTORCH
else
	if [ -z "$dir" ]; then
		dir=$(mktemp -d)
		trap 'table; rm -rf "$dir"' EXIT
	else
		trap table EXIT
	fi
	mkdir -p "$dir"
	log=$dir/log
	libtorch=$(ask '__import__("os").path.dirname(torch.__file__)')
fi
engine=(make --no-print-directory -C student/torch/engine BUILD=build-gpu "LIBTORCH=$libtorch")
export PIPE_ENGINE=$PWD/student/torch/engine/build-gpu/libpipe_engine.so PIPE_TEST_CUDA=yes

versions() {
	if [ -n "$dry" ]; then
		limited 60 nvidia-smi --query-gpu=name,driver_version,compute_cap,memory.total --format=csv,noheader
		limited 60 "${engine[@]}" -s found
		return
	fi
	local found nccl header torch_nccl
	row "device" "" "$(nvidia-smi --query-gpu=name,driver_version,compute_cap,memory.total --format=csv,noheader | paste -sd';')" ""
	row "PyTorch, CUDA, cuDNN" "" "$(ask 'torch.__version__, torch.version.cuda, torch.backends.cudnn.version()')" ""
	found=$("${engine[@]}" -s found)
	echo "$found"
	row "nvcc" "one" "$(sed -n 's/^nvcc *//p' <<<"$found")" "$(grep -q '^nvcc *none' <<<"$found" && echo bad || echo ok)"
	header=$(sed -n 's/^nccl *//p' <<<"$found")
	nccl=$(sed -n 's/^#define NCCL_\(MAJOR\|MINOR\|PATCH\) *//p' "$header" 2>/dev/null | paste -sd.)
	torch_nccl=$(ask '".".join(map(str, torch.cuda.nccl.version()))')
	row "NCCL's header" "$torch_nccl, as PyTorch" "${nccl:-none}" "$([ "$nccl" = "$torch_nccl" ] && echo ok || echo bad)"
}

build() {
	judged "engine" "built" 600 "${engine[@]}" -s "-j$(nproc)" || return
	if [ -n "$dry" ] || command -v "${GO:-go}" >/dev/null; then
		limited 300 "${GO:-go}" build -o bin/ ./cmd/pipe
		for program in train teacher; do limited 300 "${GO:-go}" build -o "bin/bench-$program" "./bench/$program"; done
		for package in torch optim loss; do limited 300 "${GO:-go}" test -c -o "bin/$package.test" "./student/$package"; done
	fi
	for program in pipe bench-train bench-teacher torch.test optim.test loss.test; do
		[ -n "$dry" ] || [ -x "bin/$program" ] || row "bin/$program" "built" "no Go here, and no such program: see the top of this script" bad
	done
	[ -z "$dry" ] || return 0
	local undefined
	undefined=$(ldd -r "$PIPE_ENGINE" 2>&1 | grep -c undefined)
	row "undefined symbols" 0 "$undefined" "$([ "$undefined" = 0 ] && echo ok || echo bad)"
	limited 60 bin/torch.test -test.v -test.run '^TestKernelsOnCUDA$' >/dev/null
	row "the engine's kernels" "in use" "$(grep -m1 -E 'cuda:|--- PASS' "$log" || tail -1 "$log")" "$(grep -q -- '--- PASS' "$log" && echo ok || echo bad)"
}

tests() {
	for package in torch optim loss; do
		limited 180 "bin/$package.test" -test.v -test.run '^Test(NormAct|Pixels|Token|Attention|MaxPool|Depthwise|GroupOnDevices|Slot|Upload|Fetch|SGD|AdamW|LossesOnDevices).*$/^cuda$' >/dev/null
		[ -z "$dry" ] || continue
		# Tests that find no device skip, and would pass.
		local passed failed
		passed=$(grep -c -- '--- PASS: .*/cuda' "$log") failed=$(grep -E -- '^ *--- FAIL|^panic' "$log" | sed 's/^ *//' | paste -sd,)
		grep -B20 -e '--- FAIL' "$log" | head -60
		row "tests of $package on the device" "some, none fails" "$passed pass${failed:+; $failed}" "$([ "$passed" -gt 0 ] && [ -z "$failed" ] && echo ok || echo bad)"
		grep -E 'takes (own|libtorch)' "$log" | sed 's/^ *//' | sort -u
	done
}

sanitizer() {
	local tool
	tool=$(command -v compute-sanitizer || ls "${CUDA_HOME:-/usr/local/cuda}/bin/compute-sanitizer" 2>/dev/null || true)
	if [ -z "$tool" ] && [ -z "$dry" ]; then
		row "compute-sanitizer" "no error" "it is not here" ""
		return
	fi
	judged "compute-sanitizer" "no error" 180 "${tool:-compute-sanitizer}" --error-exitcode 9 bin/torch.test -test.run '^(TestNormActMatchesSeparateOperators|TestDepthwiseOnDevices)$/cuda'
}

bandwidth() {
	limited 120 "$python" bench/peers/kernels.py --engine "$PIPE_ENGINE"
	[ -z "$dry" ] || return 0
	# Lines of "kernel; shape; GB/s of the engine's; of PyTorch's, channels-last; channels-first".
	local kernel shape own last first
	while IFS=';' read -r kernel shape own last first; do
		row "$kernel,$shape, GB/s" "≥ PyTorch's$last,$first" "${own# }" "$(holds "$own >= 0.95 * $last && $own >= 0.95 * $first")"
	done < <(grep ';' "$log")
}

agreement() {
	data 640
	local loss
	for loss in cosine unified; do
		for how in "fp32 off 0.01" "fp32 on 0.03" "bf16 off 0.05"; do
			read -r precision tf32 within <<<"$how"
			judged "20 steps of $loss in $precision, TF32 $tf32" "within $within of the processor's" 120 \
				bin/bench-train agree --dir "$dir/640" --batch 32 --loss "$loss" --precision "$precision" --tf32 "$tf32" --within "$within" --device cuda
		done
	done
}

distilled() { # folder, further flags...: a run of bin/pipe
	local out=$1
	shift
	limited 120 bin/pipe distill "$dir/640/jpeg.ds" --teacher drawn --out "$out" --device cuda --epochs 1 --lr 1e-3 --log-every 1 "$@"
}

blocking() {
	data 640
	local loss most got
	for loss in cosine unified arcface proxyless; do
		most=2
		case $loss in cosine | unified) most=1 ;; esac
		rm -rf "$dir/blocking"
		distilled "$dir/blocking" --batch 32 --loss "$loss" --json >/dev/null
		[ -z "$dry" ] || continue
		got=$(sed -n 's/.*"blocking_calls_per_step": *\([0-9.]*\).*/\1/p' "$log")
		row "blocking calls a step, $loss" "≤ $most" "${got:-$(tail -1 "$log")}" "$(holds "$got <= $most")"
	done
}

speed() {
	local student batch crops how results=$dir/gpu.jsonl
	[ -n "$dry" ] || : >"$results"
	for _ in $(seq "$rounds"); do
		for student in $students; do
			for batch in $batches; do
				crops=$((batch * steps))
				data "$crops"
				limited 120 bin/bench-train distill --dir "$dir/$crops" --batch "$batch" --warm 10 --student "$student" --precision bf16 --device cuda
				keep "$student, $batch" pipe
				for how in $peers; do
					local flags=()
					[ "$how" = eager ] || flags=(--compile)
					limited 240 "$python" bench/peers/train.py --dir "$dir/$crops" --crops "$crops" --batch "$batch" --warm 10 --student "$student" \
						--precision bf16 --channels-last --resident --device cuda "${flags[@]}"
					keep "$student, $batch" "PyTorch $how"
				done
			done
		done
	done
	[ -n "$dry" ] || bin/bench-train table <"$results"
}
declare -A rate
keep() { # what, who: adds the result that was just printed to those of the table of speeds
	[ -z "$dry" ] || return 0
	local line images
	line=$(grep '"operations"' "$log" | tail -1)
	echo "$line" >>"$dir/gpu.jsonl"
	images=$(sed -n 's/.*"operations": *\([0-9]*\).*"seconds": *\([0-9.e+-]*\).*/\1 \2/p' <<<"$line" | awk '{printf "%.0f", $1 / $2}')
	rate[$1,$2]=$images
	case $2 in
	pipe) row "$1, images/s" "" "${images:-none: $(tail -1 "$log")}" "$([ -n "$images" ] && echo ok || echo bad)" ;;
	*) row "$1, pipe beside $2's ${images:-none} images/s" "≥ 1×" "$(awk -v a="${rate[$1,pipe]:-0}" -v b="${images:-0}" 'BEGIN {printf "%.2f×", (b > 0 ? a / b : 0)}')" \
		"$(holds "${rate[$1,pipe]:-0} >= $images")" ;;
	esac
}

# The losses of a run, a line each.
losses() { sed -n 's/.*"loss":\([^,}]*\).*/\1/p' "$1/metrics.jsonl"; }

resume() {
	data 640
	local exact=(--batch 16 --precision bf16 --cudnn-deterministic on --cudnn-benchmark off --checkpoint-every 10)
	distilled "$dir/whole" "${exact[@]}" >/dev/null
	if [ -n "$dry" ]; then
		distilled "$dir/broken" "${exact[@]}"
		echo "+ kill -INT, at its first checkpoint"
		distilled "$dir/broken" "${exact[@]}" --resume
		distilled "$dir/half" --batch 32 --precision fp16
		limited 180 bin/bench-train flat --dir "$dir/640" --batch 32 --epochs 30 --precision bf16 --device cuda
		return
	fi
	bin/pipe distill "$dir/640/jpeg.ds" --teacher drawn --out "$dir/broken" --device cuda --epochs 1 --lr 1e-3 --log-every 1 "${exact[@]}" >"$dir/broken.log" 2>&1 &
	local run=$! same before after
	for _ in $(seq 600); do
		if compgen -G "$dir/broken/checkpoints/*" >/dev/null || ! kill -0 "$run" 2>/dev/null; then break; fi
		sleep 0.1
	done
	kill -INT "$run" 2>/dev/null
	wait "$run"
	distilled "$dir/broken" "${exact[@]}" --resume >/dev/null
	same=$(paste -d= <(losses "$dir/whole") <(losses "$dir/broken") | awk -F= '$1 == $2' | wc -l)
	row "losses after a stop and --resume" "the same, of 40 steps" "$same are" "$([ "$same" = 40 ] && echo ok || echo bad)"
	distilled "$dir/half" --batch 32 --precision fp16 --json >/dev/null
	row "fp16: steps left out as they overflowed; last loss" "a few; finite" "$(sed -n 's/.*"skipped_steps": *\([0-9]*\).*/\1/p' "$log" | grep . || echo 0); $(losses "$dir/half" | tail -1)" \
		"$(holds "$(losses "$dir/half" | tail -1) < 1e6")"
	nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits -l 1 >"$dir/memory" &
	local watch=$!
	judged "memory of the process" "flat" 180 bin/bench-train flat --dir "$dir/640" --batch 32 --epochs 30 --precision bf16 --device cuda
	kill "$watch"
	before=$(awk 'NR > 5' "$dir/memory" | head -3 | sort -n | tail -1) after=$(tail -3 "$dir/memory" | sort -n | tail -1)
	row "memory of the device, MiB, after 5 s and at the end" "the same" "${before:-?}, $after" "$([ -z "$before" ] || holds "$after <= 1.05 * $before + 64")"
}

teacher() {
	data 640
	if [ -n "$dry" ] || bin/pipe doctor --json 2>/dev/null | grep -A3 '"cuda"' | grep -q '"usable": *true'; then
		judged "a model on ONNX Runtime's CUDA: two batches, two answers" "usable" 120 bin/pipe doctor --model testdata/teacher.onnx --provider cuda || return
		local phase
		for phase in session precompute; do
			limited 120 bin/bench-teacher "$phase" --dir "$dir/640" --crops 640 --model "$PWD/testdata/teacher.onnx" --provider cuda --batch 64
			[ -n "$dry" ] || row "ONNX Runtime on CUDA, $phase" "$([ $phase = session ] || echo 'near the session')" "$(tail -1 "$log")" ""
		done
	else
		row "ONNX Runtime on CUDA" "" "none is found: ONNXRUNTIME=FILE" ""
	fi
}

data() { # number of crops
	[ -e "$dir/$1/targets.npy" ] || { [ -n "$dry" ] || mkdir -p "$dir/$1"; limited 300 bin/bench-train make --dir "$dir/$1" --crops "$1" >/dev/null; }
}

for part in $all; do
	wants "$part" || continue
	printf '\n== %s (%s s)\n' "$part" "$SECONDS"
	"$part"
done
exit "$bad"
