package ort

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// providerError is a provider that the opened library cannot use.
type providerError struct{ provider, reason, remedy string }

func (e *providerError) Error() string {
	text := fmt.Sprintf("provider %s is not usable with %s: %s", e.provider, opened, e.reason)
	if e.remedy != "" {
		text += "; " + e.remedy
	}
	return text
}

// Remedies of the usual reasons.
const (
	takeGPUBuild = "take the libonnxruntime.so in onnxruntime/capi of the Python package onnxruntime-gpu, and name it with --onnxruntime or PIPE_ONNXRUNTIME"
	takeBuild    = "take a build of ONNX Runtime with it, and name that with --onnxruntime or PIPE_ONNXRUNTIME"
	findNeeded   = "install what it needs, in the version that this ONNX Runtime was built for, or name the folder in LD_LIBRARY_PATH"
)

// refused puts in a user's words why the runtime in a folder cannot use a provider. err is
// what the runtime said.
func (p provider) refused(folder string, err error) *providerError {
	e := &providerError{provider: p.name}
	if e.reason = p.absent(folder); e.reason != "" {
		if e.remedy = takeBuild; p.name == "cuda" || p.behind == "cuda" {
			e.remedy = takeGPUBuild
		}
		return e
	}
	if p.platform != "" && p.platform != runtime.GOOS {
		e.reason = "ONNX Runtime has it on " + map[string]string{"darwin": "macOS", "windows": "Windows"}[p.platform] + " only"
		return e
	}
	e.reason = cause(err)
	if library, missing, found := missingLibrary(e.reason); found {
		e.reason, e.remedy = fmt.Sprintf("%s needs %s, which is not found", library, missing), findNeeded
	}
	return e
}

// absent says what a build of the runtime lacks for a provider, "" if nothing. A provider's
// own library lies beside the runtime's.
func (p provider) absent(folder string) string {
	if p.library == "" {
		return ""
	}
	lacks := func(name string) bool {
		_, err := os.Stat(filepath.Join(folder, name))
		return err != nil
	}
	const shared = "libonnxruntime_providers_shared.so"
	if lacks(shared) {
		return fmt.Sprintf("this is ONNX Runtime's CPU build (no %s beside it)", shared)
	}
	if own := "libonnxruntime_providers_" + p.library + ".so"; lacks(own) {
		return fmt.Sprintf("this ONNX Runtime is built without it (no %s beside it)", own)
	}
	return ""
}

// missingLibrary reads in the loader's message which library needs which.
func missingLibrary(text string) (library, missing string, found bool) {
	path, why, isLoad := strings.Cut(text, " with error: ")
	path, isFailure := strings.CutPrefix(path, "Failed to load library ")
	missing, _, isMissing := strings.Cut(why, ": cannot open shared object file")
	return filepath.Base(path), filepath.Base(missing), isLoad && isFailure && isMissing
}

// cause is the last part of the runtime's message, which begins with a place in its source.
func cause(err error) string {
	text := firstLine(err)
	if _, last, found := strings.Cut(text, " : FAIL : "); found {
		return last
	}
	return text
}
