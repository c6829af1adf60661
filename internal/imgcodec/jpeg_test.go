package imgcodec

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// use switches the decoder for one test.
func use(t testing.TB, choice string) {
	t.Helper()
	before := jpegDecoderInUse()
	if err := Use(choice); err != nil {
		t.Skipf("decoder %s is not here: %v", choice, err)
	}
	t.Cleanup(func() {
		active.Lock()
		defer active.Unlock()
		active.decoder = before
	})
}

// portrait is a smooth picture with edges and fine structure, as photographs have.
func portrait(w, h int) *Image {
	img := NewImage(w, h)
	for y := range h {
		for x := range w {
			fx, fy := float64(x)/float64(w), float64(y)/float64(h)
			light := 90 + 70*math.Sin(5*fx+1)*math.Cos(4*fy) + 20*math.Sin(60*fx*fy)
			p := img.Pix[3*(y*w+x):]
			p[0], p[1], p[2] = clamp8(int32(light+40)), clamp8(int32(light+15*math.Sin(9*fy))), clamp8(int32(light-20+30*fx))
			if math.Hypot(fx-0.5, (fy-0.5)*0.8) < 0.25 {
				p[0], p[1], p[2] = clamp8(int32(light+90)), clamp8(int32(light+40)), clamp8(int32(light+10))
			}
		}
	}
	return img
}

func TestDecodersAgree(t *testing.T) {
	files := map[string]struct {
		data    []byte
		minPSNR float64
	}{
		// Without subsampling only the rounding differs; with it, the interpolation
		// of chroma does.
		"4:4:4":             {fixture(t, "baseline_444.jpg"), 50},
		"progressive 4:4:4": {fixture(t, "progressive_444.jpg"), 50},
		"rgb":               {fixture(t, "rgb.jpg"), 50},
		"grey":              {fixture(t, "grey.jpg"), 50},
		"cmyk":              {fixture(t, "cmyk.jpg"), math.Inf(1)},
		"portrait 4:2:0":    {encodeJPEG(t, rgba(portrait(250, 250))), 38},
		"odd size":          {encodeJPEG(t, rgba(portrait(113, 77))), 35},
	}
	for name, file := range files {
		t.Run(name, func(t *testing.T) {
			decoded := map[string]*Image{}
			for _, choice := range []string{Std, Turbo} {
				t.Run(choice, func(t *testing.T) {
					use(t, choice)
					img, _, err := Decode(file.data, Limits{})
					if err != nil {
						t.Fatal(err)
					}
					decoded[choice] = img
				})
			}
			if len(decoded) < 2 {
				t.Skip("one decoder is missing")
			}
			if p := psnr(t, decoded[Std], decoded[Turbo]); p < file.minPSNR {
				t.Errorf("the decoders differ: %.1f dB, want at least %.1f", p, file.minPSNR)
			}
		})
	}
}

// Both decoders must refuse the same damage for the same reason.
func TestDecodersRefuseDamage(t *testing.T) {
	good := encodeJPEG(t, rgba(portrait(64, 64)))
	damaged := append([]byte{}, good...)
	for i := len(good) / 2; i < len(good)/2+8; i++ {
		damaged[i] = 0xff
	}
	stray := append(append(append([]byte{}, good[:2]...), 0, 0, 0), good[2:]...)
	tests := []struct {
		name string
		data []byte
		want error
	}{
		{"whole", good, nil},
		{"bytes after the end", append(append([]byte{}, good...), "tail"...), nil},
		{"half", good[:len(good)/2], ErrTruncated},
		{"nine tenths", good[:len(good)*9/10], ErrTruncated},
		{"end marker missing", good[:len(good)-2], ErrTruncated},
		{"overwritten", damaged, ErrCorrupt},
	}
	for _, choice := range []string{Std, Turbo} {
		t.Run(choice, func(t *testing.T) {
			use(t, choice)
			for _, tt := range tests {
				if _, _, err := Decode(tt.data, Limits{}); !errors.Is(err, tt.want) {
					t.Errorf("%s: error %v, want %v", tt.name, err, tt.want)
				}
			}
			if _, format, _ := Decode(stray, Limits{}); format != Unknown {
				t.Errorf("bytes before the first marker made it %q", format)
			}
		})
	}
}

func TestTurboIsSafeForConcurrentUse(t *testing.T) {
	use(t, Turbo)
	data := encodeJPEG(t, rgba(portrait(100, 80)))
	want, _, err := Decode(data, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				got, _, err := Decode(data, Limits{})
				if err != nil || !bytes.Equal(got.Pix, want.Pix) {
					t.Errorf("decoded differently: %v", err)
					return
				}
				if _, _, err := Decode(data[:len(data)/2], Limits{}); !errors.Is(err, ErrTruncated) {
					t.Errorf("half an image: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestDecoderName(t *testing.T) {
	use(t, Std)
	if got := DecoderName(); !strings.HasPrefix(got, "go1.") || !strings.HasSuffix(got, " image/jpeg") || strings.Count(got, ".") > 1 {
		t.Errorf("name of the standard decoder is %q", got)
	}
	use(t, Turbo)
	if got := DecoderName(); !turboVersionText.MatchString(strings.Replace(got, "turbo ", "turbo version ", 1)) {
		t.Errorf("name of libjpeg-turbo is %q", got)
	}
}

func TestUseRefusesUnknownChoices(t *testing.T) {
	if err := Use("fastest"); err == nil || !strings.Contains(err.Error(), "fastest") {
		t.Errorf("error = %v", err)
	}
}

func TestLoadTurboRefusesOtherFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "libturbojpeg.so.0")
	if err := os.WriteFile(path, []byte("no library"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := loadTurbo(path); err == nil {
		t.Error("a text file was loaded")
	}
	if v := turboVersion(path); v != "of unknown version" {
		t.Errorf("version %q", v)
	}
}

// Pillow and OpenCV make the same of a CMYK file with and without Adobe's marker.
func TestCMYKWithoutAdobe(t *testing.T) {
	file := fixture(t, "cmyk.jpg")
	at := bytes.Index(file, []byte("\xff\xee\x00\x0eAdobe"))
	if at < 0 {
		t.Fatal("the file has no Adobe marker")
	}
	bare := append(bytes.Clone(file[:at]), file[at+16:]...)
	for _, choice := range []string{Std, Turbo} {
		use(t, choice)
		want, _, err := Decode(file, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := Decode(bare, Limits{})
		if err != nil {
			t.Fatalf("%s: %v", choice, err)
		}
		if !bytes.Equal(got.Pix, want.Pix) {
			t.Errorf("%s: other pixels without the marker", choice)
		}
	}
}

// A teacher sees millions of crops: none may cost an allocation.
func TestDecodingCropsAllocatesNothing(t *testing.T) {
	use(t, Turbo)
	crop := portrait(112, 112)
	dst := make([]byte, len(crop.Pix))
	for f, data := range map[Format][]byte{JPEG: encodeJPEG(t, rgba(crop)), PNG: EncodeCrop(crop), Raw: crop.Pix} {
		if n := testing.AllocsPerRun(50, func() {
			if err := DecodeRGB(f, data, 112, 112, dst); err != nil {
				t.Fatal(err)
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations a crop", f, n)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	files := map[string][]byte{
		"jpeg250": encodeJPEG(b, rgba(portrait(250, 250))),
		"jpeg112": encodeJPEG(b, rgba(portrait(112, 112))),
	}
	for _, choice := range []string{Std, Turbo} {
		for name, data := range files {
			b.Run(choice+"/"+name, func(b *testing.B) {
				use(b, choice)
				b.ReportAllocs()
				for b.Loop() {
					if _, _, err := Decode(data, Limits{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// A crop in each form, a lossless one as this package and as the standard library write it.
func BenchmarkDecodeCrop(b *testing.B) {
	crop := portrait(112, 112)
	dst := make([]byte, len(crop.Pix))
	for _, form := range []struct {
		name   string
		format Format
		data   []byte
	}{{"jpeg", JPEG, EncodeJPEG(crop, 95)}, {"png", PNG, EncodeCrop(crop)}, {"png with Paeth's filter", PNG, EncodePNG(crop)}, {"png of others", PNG, encodePNG(b, rgba(crop))}} {
		b.Run(form.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(dst)))
			for b.Loop() {
				if err := DecodeRGB(form.format, form.data, crop.W, crop.H, dst); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(form.data)), "bytes/crop")
		})
	}
}

// A file of which libjpeg only warns is decoded all the same, into memory that held another
// picture.
func TestTurboAfterWarnings(t *testing.T) {
	good := encodeJPEG(t, rgba(portrait(64, 64)))
	segment := []byte{0xff, 0xe0, 0, 16, 'J', 'F', 'I', 'F', 0, 0, 1, 0, 0, 1, 0, 1, 0, 0} // of version 0.1
	warned := append(append(append([]byte{}, good[:2]...), segment...), good[2:]...)
	use(t, Std)
	want, _, err := Decode(warned, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	use(t, Turbo)
	for _, reduction := range []int{1, 2} {
		h, err := Inspect(warned)
		if err != nil {
			t.Fatal(err)
		}
		side := 64 / reduction
		dst := bytes.Repeat([]byte{0x5a}, 3*side*side)
		if err := decodeInto(dst, h, warned, reduction); err != nil {
			t.Fatal(err)
		}
		expected := want
		if reduction > 1 {
			expected = blockMeans(want, reduction)
		}
		sum := 0.0
		for i := range dst {
			sum += math.Abs(float64(dst[i]) - float64(expected.Pix[i]))
		}
		if mean := sum / float64(len(dst)); mean > 4 {
			t.Errorf("reduction %d: pixels differ by %.1f on average", reduction, mean)
		}
	}
}
