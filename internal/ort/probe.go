package ort

import (
	"fmt"

	"github.com/ebitengine/purego"
)

// apiVersion is the version of the runtime's C interface that the binding speaks:
// ORT_API_VERSION of its header, the minor version of the runtime it was made for.
const apiVersion = 24

// apiBase is OrtApiBase of the C interface: two functions that never change.
type apiBase struct {
	getAPI, getVersion uintptr
}

// probe opens the library and returns its version and its functions. A library that cannot be
// opened, is no ONNX Runtime or is too old for the binding is an error; the binding itself
// would only give a number. The library stays open.
func probe(path string) (version string, table *functions, err error) {
	handle, err := purego.Dlopen(path, purego.RTLD_LAZY|purego.RTLD_LOCAL)
	if err != nil {
		return "", nil, err
	}
	symbol, err := purego.Dlsym(handle, "OrtGetApiBase")
	if err != nil {
		return "", nil, fmt.Errorf("it is no ONNX Runtime: %w", err)
	}
	var getBase func() *apiBase
	purego.RegisterFunc(&getBase, symbol)
	base := getBase()
	if base == nil {
		return "", nil, fmt.Errorf("it is no ONNX Runtime: OrtGetApiBase gives nothing")
	}
	var getVersion func() string
	purego.RegisterFunc(&getVersion, base.getVersion)
	var getAPI func(uint32) *functions
	purego.RegisterFunc(&getAPI, base.getAPI)
	version = getVersion()
	if table = getAPI(apiVersion); table == nil {
		return "", nil, fmt.Errorf("it is version %s", version)
	}
	return version, table, nil
}
