package ingest

import (
	"bytes"
	"image"
	"image/jpeg"
	"math"
	"os"
	"path/filepath"
	"testing"

	"facepipe/ingest/align"
	"facepipe/ingest/detect"
	"facepipe/ingest/detect/detecttest"
	"facepipe/internal/imgcodec"
	"facepipe/internal/synthface"
)

// largePhoto is a JPEG of 4000 by 3000 pixels with a face of some size in its middle,
// on a textured background, and where its landmarks are.
func largePhoto(b *testing.B, faceSize int) ([]byte, align.Landmarks) {
	b.Helper()
	const w, h = 4000, 3000
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			v := byte(110 + 40*math.Sin(float64(x)/37)*math.Cos(float64(y)/23) + float64((x*7+y*13)%11))
			copy(img.Pix[img.PixOffset(x, y):], []byte{v, v - 10, v / 2, 255})
		}
	}
	photo, points := synthface.New(1).Photo(0, 0, synthface.PhotoOptions{Size: faceSize})
	left, top := (w-faceSize)/2, (h-faceSize)/2
	for y := range photo.H {
		for x := range photo.W {
			copy(img.Pix[img.PixOffset(left+x, top+y):], photo.Pix[3*(y*photo.W+x):][:3])
		}
	}
	var face align.Landmarks
	for i := range face {
		face[i] = align.Point{X: points[2*i] + float64(left), Y: points[2*i+1] + float64(top)}
	}
	var buf bytes.Buffer
	if err := jpeg.Encode(&buf, img, &jpeg.Options{Quality: 90}); err != nil {
		b.Fatal(err)
	}
	return buf.Bytes(), face
}

// benchDetector is SCRFD where PIPE_REAL_DATA has it, else a made-up one, whose cost is
// next to nothing.
func benchDetector(b *testing.B) *detect.Detector {
	b.Helper()
	path := filepath.Join(os.Getenv("PIPE_REAL_DATA"), "models", "scrfd_2.5g_bnkps.onnx")
	if os.Getenv("PIPE_REAL_DATA") == "" {
		path = filepath.Join(b.TempDir(), "blob.onnx")
		if err := os.WriteFile(path, detecttest.Model(detecttest.Options{Kind: "scrfd"}), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	d, err := detect.Open(detect.Spec{Kind: "scrfd", File: path}, detect.Options{})
	if err != nil {
		b.Skip(err)
	}
	b.Cleanup(func() {
		if err := d.Close(); err != nil {
			b.Error(err)
		}
	})
	return d
}

// BenchmarkLargePhotograph compares decoding a photograph of 12 megapixels in full with
// decoding it as small as the detector and the crop allow: with given landmarks
// (align), and with detection before.
func BenchmarkLargePhotograph(b *testing.B) {
	detector := benchDetector(b)
	for _, face := range []struct {
		name string
		size int
	}{{"close", 2800}, {"middle", 1200}, {"far", 500}} {
		data, landmarks := largePhoto(b, face.size)
		full := func(b *testing.B, look bool) {
			photo, _, err := imgcodec.Decode(data, imgcodec.Limits{})
			if err != nil {
				b.Fatal(err)
			}
			if look {
				if _, err := detector.Detect(photo); err != nil {
					b.Fatal(err)
				}
			}
			if _, err := align.Crop(photo, landmarks, align.CropSize); err != nil {
				b.Fatal(err)
			}
		}
		reduced := func(b *testing.B, look bool) {
			opened, err := imgcodec.OpenPhoto(data, imgcodec.Limits{})
			if err != nil {
				b.Fatal(err)
			}
			photo := newBudget(DefaultMemory()).open(b.Context(), opened)
			defer photo.close()
			if look {
				if _, err := photo.detect(b.Context(), detector); err != nil {
					b.Fatal(err)
				}
			}
			if _, err := photo.align(b.Context(), landmarks, align.CropSize); err != nil {
				b.Fatal(err)
			}
		}
		for _, way := range []struct {
			name string
			make func(b *testing.B, look bool)
		}{{"full", full}, {"reduced", reduced}} {
			for _, look := range []bool{false, true} {
				name := face.name + "/align/" + way.name
				if look {
					name = face.name + "/detect/" + way.name
				}
				b.Run(name, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						way.make(b, look)
					}
				})
			}
		}
	}
}
