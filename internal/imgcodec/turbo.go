package imgcodec

import (
	"bytes"
	"errors"
	"fmt"
	"image/color"
	"image/jpeg"
	"regexp"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"

	"facepipe/internal/nativelib"
	"facepipe/internal/regular"
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

// turboAPI holds the functions of the TurboJPEG API, version 2.0 or later. The ones that every
// image needs are addresses, as the call of a registered function allocates a dozen times.
type turboAPI struct {
	initDecompress     func() uintptr
	header, decompress uintptr
	errorCode          func(handle uintptr) int32
	errorText          func(handle uintptr) string
}

// decompressor is a handle of the library's, with room for the arguments and results of a
// call. They are on the heap, so that they stay in place during the call.
type decompressor struct {
	handle                     uintptr
	w, h, subsampling, colours int32 // of a header
	data, dst                  unsafe.Pointer
	arguments                  [9]uintptr
}

// turboJPEG is libjpeg-turbo: accurate inverse DCT, chroma interpolated between
// samples ("fancy upsampling").
type turboJPEG struct {
	api     turboAPI
	version string

	mu sync.Mutex
	// idle are decompressors that nobody uses. There are never more than images that were
	// decoded at the same time. They live as long as the process.
	idle []*decompressor
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
		if address, ok := fn.(*uintptr); ok {
			*address = symbol
		} else {
			purego.RegisterFunc(fn, symbol)
		}
	}
	return t, nil
}

var turboVersionText = regexp.MustCompile(`libjpeg-turbo version (\d[\w.]*)`)

// maxLibrary is the longest library that is looked through, in bytes: libturbojpeg has a million.
const maxLibrary = 64 << 20

// turboVersion reads the version from the text that the library has for its command line
// tools. It has no function for it.
func turboVersion(path string) string {
	image, err := regular.Read(path, maxLibrary)
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
	d, err := t.acquire()
	if err != nil {
		return err
	}
	defer t.release(d)

	if !d.readHeader(t.api.header, data) {
		return t.judge(d.handle, dst, h, data, reduction)
	}
	if int(d.w) != h.W || int(d.h) != h.H {
		return refusal(ErrCorrupt, JPEG, "declares %dx%d pixels and holds %dx%d", h.W, h.H, d.w, d.h)
	}
	if !d.decompress(t.api.decompress, data, dst, ceilDiv(h.W, reduction), ceilDiv(h.H, reduction)) {
		return t.judge(d.handle, dst, h, data, reduction)
	}
	return nil
}

// readHeader is tjDecompressHeader3, at an address.
func (d *decompressor) readHeader(address uintptr, data []byte) bool {
	d.data = unsafe.Pointer(&data[0])
	d.arguments = [9]uintptr{d.handle, uintptr(d.data), uintptr(len(data)),
		uintptr(unsafe.Pointer(&d.w)), uintptr(unsafe.Pointer(&d.h)), uintptr(unsafe.Pointer(&d.subsampling)), uintptr(unsafe.Pointer(&d.colours))}
	return d.call(address, 7)
}

// decompress is tjDecompress2, at an address, into w×h pixels of RGB.
func (d *decompressor) decompress(address uintptr, data, dst []byte, w, h int) bool {
	d.data, d.dst = unsafe.Pointer(&data[0]), unsafe.Pointer(&dst[0])
	d.arguments = [9]uintptr{d.handle, uintptr(d.data), uintptr(len(data)), uintptr(d.dst), uintptr(w), uintptr(3 * w), uintptr(h),
		tjPixelRGB, tjFlagAccurateDCT | tjFlagLimitScans}
	return d.call(address, 9)
}

// call reports whether a function of the library's succeeds, with the first n arguments.
func (d *decompressor) call(address uintptr, n int) bool {
	failed, _, _ := purego.SyscallN(address, d.arguments[:n]...)
	d.data, d.dst = nil, nil
	return int32(failed) == 0
}

// judge turns the failure of a call into an error. libjpeg mends what it can and only warns,
// of stray bytes as well as of a missing half. The standard library stops at any damage, so it
// decides which it was. If it has no objection its pixels are taken, as after a warning the
// call may have ended before it wrote all of dst.
func (t *turboJPEG) judge(handle uintptr, dst []byte, h Header, data []byte, reduction int) error {
	if h.frugal {
		return errDoubtful
	}
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

func (t *turboJPEG) acquire() (*decompressor, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.idle); n > 0 {
		d := t.idle[n-1]
		t.idle = t.idle[:n-1]
		return d, nil
	}
	d := &decompressor{handle: t.api.initDecompress()}
	if d.handle == 0 {
		return nil, errors.New("libjpeg-turbo: out of memory")
	}
	return d, nil
}

func (t *turboJPEG) release(d *decompressor) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.idle = append(t.idle, d)
}
