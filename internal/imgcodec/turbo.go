package imgcodec

import (
	"bytes"
	"errors"
	"fmt"
	"image/color"
	"image/jpeg"
	"os"
	"regexp"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"

	"facepipe/internal/nativelib"
)

// turboEnv names a libturbojpeg to use instead of the system's.
const turboEnv = "PIPE_TURBOJPEG"

// Values of turbojpeg.h, the same in all its versions.
const (
	tjPixelRGB         = 0
	tjFlagAccurateDCT  = 4096
	tjFlagLimitScans   = 32768 // against files of endless progressive scans; ignored before 2.1
	tjErrorOnlyWarning = 0
)

// turboAPI holds the functions of the TurboJPEG API, version 2.0 or later.
type turboAPI struct {
	initDecompress func() uintptr
	header         func(handle uintptr, data unsafe.Pointer, size uint64, w, h, subsampling, colours *int32) int32
	decompress     func(handle uintptr, data unsafe.Pointer, size uint64, dst unsafe.Pointer, w, pitch, h, format, flags int32) int32
	errorCode      func(handle uintptr) int32
	errorText      func(handle uintptr) string
}

// turboJPEG is libjpeg-turbo: accurate inverse DCT, chroma interpolated between
// samples ("fancy upsampling").
type turboJPEG struct {
	api     turboAPI
	version string

	mu sync.Mutex
	// idle are decompressor handles that nobody uses. There are never more than
	// decoded at the same time, and they live as long as the process.
	idle []uintptr
}

// openTurbo opens the library once a process; it is never unloaded.
var openTurbo = sync.OnceValues(func() (*turboJPEG, error) {
	path, err := nativelib.Search{
		Name:   "libjpeg-turbo (libturbojpeg)",
		Env:    turboEnv,
		System: []string{"libturbojpeg.so.0"},
		Remedy: "install the Debian package libturbojpeg0, or choose the decoder std",
	}.Path()
	if err != nil {
		return nil, err
	}
	t, err := loadTurbo(path)
	if err != nil {
		return nil, fmt.Errorf("open libjpeg-turbo %s: %w", path, err)
	}
	return t, nil
})

func loadTurbo(path string) (*turboJPEG, error) {
	library, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, err
	}
	t := &turboJPEG{version: turboVersion(path)}
	for name, fn := range map[string]any{
		"tjInitDecompress":    &t.api.initDecompress,
		"tjDecompressHeader3": &t.api.header,
		"tjDecompress2":       &t.api.decompress,
		"tjGetErrorCode":      &t.api.errorCode,
		"tjGetErrorStr2":      &t.api.errorText,
	} {
		symbol, err := purego.Dlsym(library, name)
		if err != nil {
			return nil, fmt.Errorf("too old, it lacks %s: %w", name, err)
		}
		purego.RegisterFunc(fn, symbol)
	}
	return t, nil
}

var turboVersionText = regexp.MustCompile(`libjpeg-turbo version (\d[\w.]*)`)

// turboVersion reads the version from the text that the library embeds for its
// command line tools; there is no function that tells it.
func turboVersion(path string) string {
	image, err := os.ReadFile(path)
	if err != nil {
		return "of unknown version"
	}
	match := turboVersionText.FindSubmatch(image)
	if match == nil {
		return "of unknown version"
	}
	return string(match[1])
}

func (t *turboJPEG) name() string { return "libjpeg-turbo " + t.version }

// reduces: the inverse DCT of fewer coefficients gives a block of 4, 2 or 1 pixels a
// side where the whole one gives 8.
func (t *turboJPEG) reduces() bool { return true }

func (t *turboJPEG) decode(dst []byte, h Header, data []byte, reduction int) error {
	handle, err := t.acquire()
	if err != nil {
		return err
	}
	defer t.release(handle)

	size, src := uint64(len(data)), unsafe.Pointer(&data[0])
	var w, height, subsampling, colours int32
	if t.api.header(handle, src, size, &w, &height, &subsampling, &colours) != 0 {
		return t.judge(handle, dst, data, reduction)
	}
	if int(w) != h.W || int(height) != h.H {
		return refusal(ErrCorrupt, JPEG, "declares %dx%d pixels and holds %dx%d", h.W, h.H, w, height)
	}
	w, height = int32(ceilDiv(h.W, reduction)), int32(ceilDiv(h.H, reduction))
	if t.api.decompress(handle, src, size, unsafe.Pointer(&dst[0]), w, 3*w, height,
		tjPixelRGB, tjFlagAccurateDCT|tjFlagLimitScans) != 0 {
		return t.judge(handle, dst, data, reduction)
	}
	return nil
}

// judge turns the failure of a call into an error. libjpeg mends what it can and
// only warns, of stray bytes as well as of a missing half: the standard library,
// which stops at any damage, tells which it was. If that has no objection its pixels are
// taken: after a warning, too, a call may have ended before it wrote all of dst.
func (t *turboJPEG) judge(handle uintptr, dst, data []byte, reduction int) error {
	text := t.api.errorText(handle)
	warning := t.api.errorCode(handle) == tjErrorOnlyWarning
	img, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		return classify(JPEG, err)
	}
	if !warning {
		return refusal(ErrCorrupt, JPEG, "cannot be decoded: %s", text)
	}
	full := NewImage(img.Bounds().Dx(), img.Bounds().Dy())
	copyRGB(full.Pix, img, color.YCbCrToRGB)
	if reduction > 1 {
		full = blockMeans(full, reduction)
	}
	if len(full.Pix) != len(dst) {
		return refusal(ErrCorrupt, JPEG, "holds another size than it declares")
	}
	copy(dst, full.Pix)
	return nil
}

func (t *turboJPEG) acquire() (uintptr, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.idle); n > 0 {
		handle := t.idle[n-1]
		t.idle = t.idle[:n-1]
		return handle, nil
	}
	handle := t.api.initDecompress()
	if handle == 0 {
		return 0, errors.New("libjpeg-turbo: out of memory")
	}
	return handle, nil
}

func (t *turboJPEG) release(handle uintptr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.idle = append(t.idle, handle)
}
