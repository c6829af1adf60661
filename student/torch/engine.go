package torch

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"

	"facepipe/internal/nativelib"
)

// abi is the version of engine/engine.h that this package speaks.
const abi = 7

// ErrEngine marks an engine that is missing, cannot be loaded or speaks another
// version of the C ABI.
var ErrEngine = errors.New("training engine")

// api holds the C functions, in the order of engine.h. Pointers travel as
// unsafe.Pointer so that the garbage collector sees them during a call.
type api struct {
	abi            func() int32
	torchVersion   func() string
	torchLoaded    func() string
	simd           func() string
	bfloat16       func() string
	freeString     func(unsafe.Pointer)
	liveTensors    func() int64
	trim           func()
	setThreads     func(int64)
	threads        func() int64
	tryDevice      func(string) unsafe.Pointer
	cudaDevices    func() int64
	tryKernels     func(string) unsafe.Pointer
	measured       func() unsafe.Pointer
	setCUDANumbers func(tf32, benchmark, deterministic int32)
	findOp         func(name, overload string, out unsafe.Pointer) unsafe.Pointer
	call           func(op uintptr, args unsafe.Pointer, nArgs int64, out unsafe.Pointer, maxOut int64, nOut unsafe.Pointer) unsafe.Pointer
	fromData       func(arrays unsafe.Pointer, n int64, device string, like uintptr, out unsafe.Pointer) unsafe.Pointer
	toData         func(t uintptr, dst unsafe.Pointer, bytes int64) unsafe.Pointer
	fetch          func(t uintptr, out unsafe.Pointer) unsafe.Pointer
	fetched        func(fetch uintptr, dst unsafe.Pointer, bytes int64) unsafe.Pointer
	blockingCalls  func() int64
	info           func(t uintptr, dtype, ndim, shape unsafe.Pointer, maxDim int64) unsafe.Pointer
	release        func(uintptr)
	setRequireGrad func(t uintptr, on int32) unsafe.Pointer
	backward       func(loss uintptr) unsafe.Pointer
	grad           func(t uintptr, out unsafe.Pointer) unsafe.Pointer
	clearGrad      func(t uintptr) unsafe.Pointer
	setGradEnabled func(int32)

	slotCreate  func(bytes int64, device string, out unsafe.Pointer) unsafe.Pointer
	slotMemory  func(slot uintptr, memory unsafe.Pointer) unsafe.Pointer
	slotSend    func(slot uintptr) unsafe.Pointer
	slotView    func(slot uintptr, dtype, from int64, shape unsafe.Pointer, ndim int64, out unsafe.Pointer) unsafe.Pointer
	slotDone    func(slot uintptr) unsafe.Pointer
	slotDestroy func(slot uintptr)

	groupBackends      func() string
	groupCreate        func(host string, port, rank, size int64, address, device string, joinMS, waitMS, deviceWaitMS int64, out unsafe.Pointer) unsafe.Pointer
	groupDestroy       func(group uintptr)
	groupAllReduce     func(group, t uintptr, out unsafe.Pointer) unsafe.Pointer
	groupWait          func(work uintptr) unsafe.Pointer
	groupBroadcast     func(group, t uintptr, root int64) unsafe.Pointer
	groupAllGather     func(group, t, out uintptr) unsafe.Pointer
	groupBarrier       func(group uintptr) unsafe.Pointer
	groupSyncBatchNorm func(group uintptr)
	bucketsCreate      func(group uintptr, leaves unsafe.Pointer, n int64, bucket, out unsafe.Pointer) unsafe.Pointer
	bucketsArm         func(buckets uintptr) unsafe.Pointer
	bucketsFinish      func(buckets uintptr, scale unsafe.Pointer) unsafe.Pointer
	bucketsEarly       func(buckets uintptr) int64
	bucketsDestroy     func(buckets uintptr)
}

// symbolPrefix begins the C names.
const symbolPrefix = "pipe_engine_"

// symbols maps each field of api to its C name, less the prefix.
func (a *api) symbols() map[string]any {
	return map[string]any{
		"abi": &a.abi, "torch_version": &a.torchVersion, "torch_loaded": &a.torchLoaded,
		"simd": &a.simd, "bfloat16": &a.bfloat16, "free_string": &a.freeString,
		"live_tensors": &a.liveTensors, "trim": &a.trim, "set_threads": &a.setThreads, "threads": &a.threads,
		"try_device": &a.tryDevice, "cuda_devices": &a.cudaDevices, "try_kernels": &a.tryKernels, "measured": &a.measured,
		"set_cuda_numbers": &a.setCUDANumbers, "find_op": &a.findOp, "call": &a.call,
		"from_data": &a.fromData, "to_data": &a.toData, "fetch": &a.fetch, "fetched": &a.fetched,
		"blocking_calls": &a.blockingCalls, "info": &a.info, "release": &a.release,
		"set_requires_grad": &a.setRequireGrad, "backward": &a.backward, "grad": &a.grad,
		"clear_grad": &a.clearGrad, "set_grad_enabled": &a.setGradEnabled,
		"slot_create": &a.slotCreate, "slot_memory": &a.slotMemory, "slot_send": &a.slotSend, "slot_view": &a.slotView,
		"slot_done": &a.slotDone, "slot_destroy": &a.slotDestroy,
		"group_backends": &a.groupBackends, "group_create": &a.groupCreate, "group_destroy": &a.groupDestroy,
		"group_all_reduce": &a.groupAllReduce, "group_wait": &a.groupWait, "group_broadcast": &a.groupBroadcast,
		"group_all_gather": &a.groupAllGather, "group_barrier": &a.groupBarrier,
		"group_sync_batch_norm": &a.groupSyncBatchNorm, "buckets_create": &a.bucketsCreate, "buckets_arm": &a.bucketsArm,
		"buckets_finish": &a.bucketsFinish, "buckets_early": &a.bucketsEarly, "buckets_destroy": &a.bucketsDestroy,
	}
}

// Engine is the opened training engine. It stays loaded for the life of the
// process: libtorch does not support being unloaded.
type Engine struct {
	api  api
	path string

	separate bool // see StepSeparately

	mu  sync.Mutex
	ops map[string]uintptr // "name.overload" -> operator handle
}

// Library says where the engine is looked for: explicit (may be ""), then
// $PIPE_ENGINE, then what `make engine` builds, then the system's loader path.
func Library(explicit string) nativelib.Search {
	return nativelib.Search{
		Name:     "the training engine (libpipe_engine.so)",
		Explicit: explicit,
		Env:      "PIPE_ENGINE",
		Pinned:   []string{"student/torch/engine/build/libpipe_engine.so", "lib/libpipe_engine.so"},
		System:   []string{"libpipe_engine.so"},
		Remedy:   "run `make engine` (it needs libtorch: `make deps`, or LIBTORCH=DIR), or name one with --engine or PIPE_ENGINE",
	}
}

// Open loads the engine. See [Library] for where it looks; explicit may be "".
// Errors wrap [ErrEngine] and name the remedy.
func Open(explicit string) (*Engine, error) {
	search := Library(explicit)
	path, err := search.Path()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEngine, err)
	}
	waitGently()
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, fmt.Errorf("%w: load %s: %w%s; %s", ErrEngine, path, err, anotherTorch(err), search.Remedy)
	}
	e := &Engine{path: path, ops: map[string]uintptr{}}
	if err := e.api.bind(handle); err != nil {
		return nil, fmt.Errorf("%w: %s %w; %s", ErrEngine, path, err, search.Remedy)
	}
	if built, loaded := e.api.torchVersion(), e.api.torchLoaded(); !sameRelease(built, loaded) {
		return nil, fmt.Errorf("%w: %s was built against libtorch %s, but the one that it finds here is %s; %s", ErrEngine, path, built, loaded, search.Remedy)
	}
	return e, nil
}

// bind finds the functions of a library that has been opened, the number of its interface
// first: of another one, what is missing would say little.
func (a *api) bind(handle uintptr) error {
	symbols := a.symbols()
	find := func(name string) error {
		address, err := purego.Dlsym(handle, symbolPrefix+name)
		if err != nil {
			return fmt.Errorf("is no engine of this version of pipe (%w)", err)
		}
		purego.RegisterFunc(symbols[name], address)
		return nil
	}
	if err := find("abi"); err != nil {
		return err
	}
	if got := a.abi(); got != abi {
		return fmt.Errorf("speaks version %d of the interface, this pipe needs %d", got, abi)
	}
	for _, name := range slices.Sorted(maps.Keys(symbols)) {
		if err := find(name); err != nil {
			return err
		}
	}
	return nil
}

// anotherTorch says what symbols that are missing mean.
func anotherTorch(err error) string {
	if !strings.Contains(err.Error(), "undefined symbol") {
		return ""
	}
	return " (the libtorch that it finds here is not the one that it was built against)"
}

// sameRelease is whether two versions of libtorch, such as "2.11.0+cu130", differ in no
// more than a patch. loaded may be "".
func sameRelease(built, loaded string) bool {
	if loaded == "" {
		return true
	}
	release := func(v string) string {
		parts := strings.SplitN(v, ".", 3)
		return strings.Join(parts[:min(2, len(parts))], ".")
	}
	return release(built) == release(loaded)
}

// waitGently keeps OpenMP's threads from spinning long at barriers, unless the user
// has said how they should wait. Workers that decode crops run beside them, and a
// spinning thread takes the core that the one it waits for needs: on two cores with
// one other busy process, training ran at a fifth of its speed. The library reads
// the setting once, when it is loaded.
func waitGently() {
	for _, name := range []string{"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} {
		if _, set := os.LookupEnv(name); set {
			return
		}
	}
	os.Setenv("GOMP_SPINCOUNT", "10000")
}

// Path is the file that was loaded.
func (e *Engine) Path() string { return e.path }

// TorchVersion is the libtorch that the engine was compiled against.
func (e *Engine) TorchVersion() string { return e.api.torchVersion() }

// SIMD is the instruction set that the engine's own loops run in: "avx512", "avx2", or
// "baseline", which every processor of its kind has.
func (e *Engine) SIMD() string { return e.api.simd() }

// BFloat16 is what multiplies in convolutions in bfloat16 on the CPU: "onednn", where that
// is faster here than in float32, or the engine's "own" loops.
func (e *Engine) BFloat16() string { return e.api.bfloat16() }

// BlockingCalls counts the calls so far that returned only when a device had come to them, or
// would have if the processor were one: values that were read, and arrays too large to go through
// pinned memory.
func (e *Engine) BlockingCalls() int { return int(e.api.blockingCalls()) }

// LiveTensors counts the tensors handed out and not yet released.
func (e *Engine) LiveTensors() int { return int(e.api.liveTensors()) }

// Trim gives memory that is kept for the next step, as that of this size was needed for
// the last one, back to the system. A step after that is slower, once.
func (e *Engine) Trim() { e.api.trim() }

// StepSeparately has the processor take the optimizers' steps as other devices do, which is slower:
// for tests.
func (e *Engine) StepSeparately(on bool) { e.separate = on }

// SetThreads sets the number of threads that one operator may use.
func (e *Engine) SetThreads(n int) { e.api.setThreads(int64(n)) }

// Threads is the number of threads that one operator may use.
func (e *Engine) Threads() int { return int(e.api.threads()) }

// HasDevice reports whether a device ("cpu", "cuda", "cuda:1") can be used.
func (e *Engine) HasDevice(device string) bool { return e.TryDevice(device) == nil }

// TryDevice is nil if a device can be used, and else libtorch's reason.
func (e *Engine) TryDevice(device string) error { return e.check(e.api.tryDevice(device)) }

// CUDADevices is the number of CUDA devices that this process sees.
func (e *Engine) CUDADevices() int { return int(e.api.cudaDevices()) }

// TryKernels is nil if a CUDA device runs the engine's own kernels, and else says why libtorch's
// operators must do the same, more slowly.
func (e *Engine) TryKernels(device string) error { return e.check(e.api.tryKernels(device)) }

// Measured is what was measured on this process's CUDA devices of the engine's own convolutions
// beside libtorch's, a line for each shape that came up, and which are in use.
func (e *Engine) Measured() (lines []string) {
	text := e.api.measured()
	defer e.api.freeString(text)
	for line := range strings.Lines(goString(text)) {
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
	return lines
}

// CUDANumbers say how CUDA devices compute. The processor does not know of them.
type CUDANumbers struct {
	// TF32 lets float32 be rounded to ten bits in products of matrices and in convolutions,
	// which newer devices are several times faster in. Sums stay in float32.
	TF32 bool
	// Benchmark has cuDNN measure its algorithms for each new shape of a convolution and take
	// the fastest, which may be another one in the next process.
	Benchmark bool
	// Deterministic keeps cuDNN to algorithms that give the same bits again.
	Deterministic bool
}

// SetCUDANumbers has the whole process compute so on CUDA devices from now on.
func (e *Engine) SetCUDANumbers(n CUDANumbers) {
	flag := map[bool]int32{true: 1}
	e.api.setCUDANumbers(flag[n.TF32], flag[n.Benchmark], flag[n.Deterministic])
}

// NoGrad runs f without recording gradients on this thread.
func (e *Engine) NoGrad(f func()) {
	e.api.setGradEnabled(0)
	defer e.api.setGradEnabled(1)
	f()
}

// check turns a message of the engine into a Go error and frees it.
func (e *Engine) check(message unsafe.Pointer) error {
	if message == nil {
		return nil
	}
	defer e.api.freeString(message)
	return errors.New(goString(message))
}

func goString(p unsafe.Pointer) string {
	n := 0
	for *(*byte)(unsafe.Add(p, n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(p), n))
}

// op finds an operator once and remembers it. Names without a namespace are
// ATen's.
func (e *Engine) op(name, overload string) (uintptr, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	key := name + "." + overload
	if h, ok := e.ops[key]; ok {
		return h, nil
	}
	h := new(uintptr)
	qualified := name
	if !strings.Contains(name, "::") {
		qualified = "aten::" + name
	}
	if err := e.check(e.api.findOp(qualified, overload, unsafe.Pointer(h))); err != nil {
		return 0, fmt.Errorf("operator %s: %w", key, err)
	}
	e.ops[key] = *h
	return *h, nil
}
