package ort

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
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

// place is what the runtime puts before a message: a line of its source and the signature of
// the function there.
var place = regexp.MustCompile(`[^\s:]+\.(?:cc|cpp|cu|cuh|h|hpp):\d+ .*?\)(?: const)?(?: \[with [^\]]*\])? `)

// firstLine is the first line of the runtime's message, without places in its source.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return place.ReplaceAllString(line, "")
}

// What the runtime says of a model that is newer than itself.
var (
	newIR    = regexp.MustCompile(`Unsupported model IR version: (\d+), max supported IR version: (\d+)`)
	newOpset = regexp.MustCompile(`Opset (\d+) is under development.* for domain (\S+) is till opset (\d+)`)
)

// loadError says in a user's words why the runtime does not load a model.
func loadError(err error) string {
	text := firstLine(err)
	const remedy = "export it for that, or name a newer ONNX Runtime with --onnxruntime or PIPE_ONNXRUNTIME"
	if v := newIR.FindStringSubmatch(text); v != nil {
		return fmt.Sprintf("its IR version is %s, this ONNX Runtime (%s) takes up to %s: %s", v[1], Version(), v[2], remedy)
	}
	if v := newOpset.FindStringSubmatch(text); v != nil {
		return fmt.Sprintf("its opset of %s is %s, this ONNX Runtime (%s) takes up to %s: %s", v[2], v[1], Version(), v[3], remedy)
	}
	for _, prefix := range []string{"Error loading temporary session: ", "Error creating C session from file: ", "Error creating C session: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	if _, why, found := strings.Cut(text, " failed:"); found && strings.HasPrefix(text, "Load model from ") {
		return why
	}
	return text
}
