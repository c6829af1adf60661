package imgcodec

import (
	"bytes"
	"errors"
	"fmt"
	"image/color"
	"image/jpeg"
	"os"
	"runtime"
	"strings"
	"sync"
)

// jpegDecoder decodes the pixels of a grey or colour JPEG whose header has been
// inspected. Implementations are safe for concurrent use.
type jpegDecoder interface {
	// name identifies the decoder and the version its pixels depend on.
	name() string
	// decode writes interleaved RGB in the stored orientation, at the reduction.
	decode(dst []byte, h Header, data []byte, reduction int) error
	// reduces says whether decode takes another reduction than 1.
	reduces() bool
}

// The choices of [Use].
const (
	Auto  = "auto"
	Std   = "std"
	Turbo = "turbo"
)

// active is the JPEG decoder of the process. There is one, as the pixels of a dataset depend
// on it.
var active struct {
	sync.RWMutex
	decoder jpegDecoder
}

// Use chooses the JPEG decoder of the process. "std" is the standard library's. "turbo" is
// libjpeg-turbo, and an error if that cannot be opened. "auto" (also "") is turbo if it can be
// opened, else std. A library that the environment variable PIPE_TURBOJPEG names must open,
// unless std is chosen. Without a call the choice is auto. Call it before the first image is
// decoded.
func Use(choice string) error {
	d, err := openJPEGDecoder(choice)
	if err != nil {
		return fmt.Errorf("choose jpeg decoder: %w", err)
	}
	active.Lock()
	defer active.Unlock()
	active.decoder = d
	return nil
}

// DecoderName names the JPEG decoder in use and its version. The name is part of
// a dataset's contract: crops decoded by two decoders differ in their last bits.
func DecoderName() string {
	return jpegDecoderInUse().name()
}

func jpegDecoderInUse() jpegDecoder {
	active.RLock()
	d := active.decoder
	active.RUnlock()
	if d != nil {
		return d
	}
	active.Lock()
	defer active.Unlock()
	if active.decoder == nil {
		d, err := openJPEGDecoder(Auto)
		if err != nil {
			d = brokenJPEG{err}
		}
		active.decoder = d
	}
	return active.decoder
}

func openJPEGDecoder(choice string) (jpegDecoder, error) {
	switch choice {
	case Std:
		return stdJPEG{}, nil
	case Turbo, Auto, "":
		turbo, err := openTurbo()
		switch {
		case err == nil:
			return turbo, nil
		case choice == Turbo || os.Getenv(turboEnv) != "":
			return nil, err
		}
		return stdJPEG{}, nil
	}
	return nil, fmt.Errorf("unknown choice %q, want %s, %s or %s", choice, Auto, Std, Turbo)
}

// brokenJPEG stands for a decoder that the user has named and that cannot be opened. Another
// one must not take its place.
type brokenJPEG struct{ err error }

func (brokenJPEG) name() string                               { return "none" }
func (brokenJPEG) reduces() bool                              { return false }
func (b brokenJPEG) decode([]byte, Header, []byte, int) error { return b.err }

// maxScans bounds the scans of a progressive JPEG. Each may cost a pass over the whole
// picture, however few bytes it has. Encoders write about ten.
const maxScans = 500

func decodeJPEG(dst []byte, h Header, data []byte, reduction int) error {
	if n := bytes.Count(data[h.pixels:], []byte{0xff, markerSOS}); n > maxScans {
		return refusal(ErrUnsupported, JPEG, "has %d scans, more than the limit of %d", n, maxScans)
	}
	err := jpegDecoderFor(h).decode(dst, h, data, reduction)
	if errors.Is(err, ErrCorrupt) && !bytes.Contains(data[h.pixels:], []byte{0xff, markerEOI}) {
		// The decoders report some cuts inside a code word as bad codes.
		return refusal(ErrTruncated, JPEG, "has no end marker")
	}
	return err
}

// jpegDecoderFor chooses the decoder of one image. CMYK goes to the standard library, which
// knows when ink is stored inverted; libjpeg leaves that to its caller. Such photographs are
// rare.
func jpegDecoderFor(h Header) jpegDecoder {
	if h.Components == 4 {
		return stdJPEG{}
	}
	return jpegDecoderInUse()
}

// stdJPEG is the standard library's decoder: exact inverse DCT, chroma repeated
// rather than interpolated, full size only.
type stdJPEG struct{}

func (stdJPEG) reduces() bool { return false }

// name has the release of Go in it: Go 1.26 replaced the decoder, and a later release may do
// so again.
func (stdJPEG) name() string {
	release := runtime.Version()
	if parts := strings.SplitN(release, ".", 3); len(parts) == 3 {
		release = parts[0] + "." + parts[1]
	}
	return release + " image/jpeg"
}

func (stdJPEG) decode(dst []byte, h Header, data []byte, _ int) error {
	if h.Components == 4 && !h.adobe {
		data = withAdobe(data)
	}
	img, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		return classify(JPEG, err)
	}
	return copyChecked(dst, h, img, color.YCbCrToRGB)
}

// withAdobe puts Adobe's marker into a CMYK file that lacks it, without which the standard library
// does not decode it. Pillow and OpenCV take such a file's ink as stored inverted, as with the
// marker.
func withAdobe(data []byte) []byte {
	const start, lengthBytes = 2, 2
	out := append(make([]byte, 0, len(data)+start+lengthBytes+len(adobeCMYK)), data[:start]...)
	out = append(out, 0xff, markerAPPE, 0, byte(lengthBytes+len(adobeCMYK)))
	out = append(out, adobeCMYK...)
	return append(out, data[start:]...)
}
