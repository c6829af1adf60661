package ingest_test

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/ingest"
	"facepipe/ingest/align"
	"facepipe/ingest/detect/detecttest"
	"facepipe/internal/imgcodec"
	"facepipe/internal/synthface"
	"facepipe/store"
)

// enlarged repeats every pixel.
func enlarged(img *imgcodec.Image, times int) *imgcodec.Image {
	out := imgcodec.NewImage(img.W*times, img.H*times)
	for y := range out.H {
		for x := range out.W {
			copy(out.Pix[3*(y*out.W+x):][:3], img.Pix[3*(y/times*img.W+x/times):])
		}
	}
	return out
}

// difference compares two crops: the ratio of signal and noise in dB, and by how many
// pixels the first is shifted against the second, by least squares over the gradients
// (Lucas and Kanade, 1981).
func difference(a, b []byte) (psnr, dx, dy float64) {
	const size = align.CropSize
	var squares, xx, xy, yy, xd, yd float64
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		squares += d * d
		if x, y := i/3%size, i/3/size; x > 0 && y > 0 && x < size-1 && y < size-1 {
			gx := (float64(b[i+3]) - float64(b[i-3])) / 2
			gy := (float64(b[i+3*size]) - float64(b[i-3*size])) / 2
			xx, xy, yy, xd, yd = xx+gx*gx, xy+gx*gy, yy+gy*gy, xd+gx*d, yd+gy*d
		}
	}
	det := xx*yy - xy*xy
	return 10 * math.Log10(255*255*float64(len(a))/squares), -(yy*xd - xy*yd) / det, -(xx*yd - xy*xd) / det
}

// supersampled is the crop of a photograph where every pixel is the mean of n by n
// points within it: what a crop of a large face should look like.
func supersampled(t *testing.T, photo *imgcodec.Image, face align.Landmarks, n int) []byte {
	t.Helper()
	const size = align.CropSize
	m, err := align.Estimate(face, align.Template(size))
	if err != nil {
		t.Fatal(err)
	}
	// In pixels of the n times larger crop a pixel's centre is (n−1)/2 further in.
	shift := float64(n-1) / 2
	m = align.Similarity{A: m.A * float64(n), B: m.B * float64(n), Tx: m.Tx*float64(n) + shift, Ty: m.Ty*float64(n) + shift}
	large := imgcodec.NewImage(n*size, n*size)
	align.Warp(large, photo, m)
	out := make([]byte, 3*size*size)
	for i := range out {
		x, y, c := i/3%size, i/3/size, i%3
		sum := 0
		for k := range n * n {
			sum += int(large.Pix[3*((y*n+k/n)*n*size+x*n+k%n)+c])
		}
		out[i] = byte((sum + n*n/2) / (n * n))
	}
	return out
}

func pointsOf(v [10]float64) (l align.Landmarks) {
	for i := range l {
		l[i] = align.Point{X: v[2*i], Y: v[2*i+1]}
	}
	return l
}

func landmarkLine(key string, l align.Landmarks) string {
	line := key
	for _, p := range l {
		line += fmt.Sprintf("\t%v\t%v", p.X, p.Y)
	}
	return line + "\n"
}

func file(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// oriented turns a photograph into how a camera that was held in another way stores it.
func oriented(img *imgcodec.Image, orientation int) *imgcodec.Image {
	w, h := img.W, img.H
	if orientation >= 5 {
		w, h = h, w
	}
	out := imgcodec.NewImage(w, h)
	for y := range img.H {
		for x := range img.W {
			// Exif 2.3: where the upright pixel (x, y) is stored.
			u, v := x, y
			switch orientation {
			case 2:
				u = img.W - 1 - x
			case 3:
				u, v = img.W-1-x, img.H-1-y
			case 4:
				v = img.H - 1 - y
			case 5:
				u, v = y, x
			case 6:
				u, v = y, img.W-1-x
			case 7:
				u, v = img.H-1-y, img.W-1-x
			case 8:
				u, v = img.H-1-y, x
			}
			copy(out.Pix[3*(v*w+u):][:3], img.Pix[3*(y*img.W+x):])
		}
	}
	return out
}

func withJPEGOrientation(jpeg []byte, orientation byte) []byte {
	exif := append([]byte("\xff\xe1\x00\x22Exif\x00\x00"), 'I', 'I', '*', 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0, 0, 0, 0, 0)
	return append(append(append([]byte{}, jpeg[:2]...), exif...), jpeg[2:]...)
}

// A large photograph is decoded at a fraction of its size. Its crop is the face all the
// same, not shifted by half a block: what finer sampling of the full picture gives, with
// either decoder and however the camera was held.
func TestLargePhotographs(t *testing.T) {
	tests := []struct {
		size, times  int // of the rendering, and by how much it is enlarged
		minReduction float64
		orientations []int
	}{
		{1351, 1, 2, []int{1, 2, 7}}, // odd, so that the last block is half beyond it
		{653, 4, 4, []int{3}},
	}
	for _, tt := range tests {
		photo, points := synthface.New(7).Photo(1, 0, synthface.PhotoOptions{Size: tt.size})
		photo = enlarged(photo, tt.times)
		face := pointsOf(points)
		for i, p := range face {
			// The centre of a pixel moves with it.
			at := func(v float64) float64 { return (v+0.5)*float64(tt.times) - 0.5 }
			face[i] = align.Point{X: at(p.X), Y: at(p.Y)}
		}
		m, err := align.Estimate(face, align.Template(align.CropSize))
		if err != nil {
			t.Fatal(err)
		}
		if reduction := min(0.5/m.Scale(), float64(photo.W)/640); reduction < tt.minReduction {
			t.Fatalf("a photograph of %d pixels is reduced by %.1f only", photo.W, reduction)
		}
		files, lines := map[string][]byte{}, ""
		for _, orientation := range tt.orientations {
			key := fmt.Sprintf("p/%d.jpg", orientation)
			files[key] = withJPEGOrientation(asJPEG(t, oriented(photo, orientation)), byte(orientation))
			lines += landmarkLine(key, face)
		}
		if tt.times == 1 {
			files["p/6.png"] = withOrientation(imgcodec.EncodePNG(oriented(photo, 6)), 6)
			lines += landmarkLine("p/6.png", face)
		}
		root, list := folder(t, files), file(t, "landmarks.txt", lines)
		want := supersampled(t, photo, face, 4)
		for _, decoder := range decoders(t) {
			out := filepath.Join(t.TempDir(), "faces.ds")
			s := mustRun(t, ingest.Options{Sources: []string{"folder=" + root}, Landmarks: list, Out: out, Decoder: decoder})
			if s.Written+s.Duplicates != len(files) {
				t.Fatalf("%s: summary %+v", decoder, s)
			}
			for key, c := range crops(t, out) {
				p, dx, dy := difference(pixels(t, c), want)
				// Half a block of the reduced photograph would be 0.09 pixels of the crop.
				if p < 42 || math.Hypot(dx, dy) > 0.03 {
					t.Errorf("%s %s of %d pixels: %.1f dB and a shift of (%.3f, %.3f) from the finely sampled face", decoder, key, photo.W, p, dx, dy)
				}
				if got, want := c.Landmarks, stored32(face); got != want {
					t.Errorf("%s %s: landmarks %v, want those of the full size %v", decoder, key, got, want)
				}
			}
		}
	}
}

func stored32(l align.Landmarks) (out [10]float32) {
	for i, p := range l {
		out[2*i], out[2*i+1] = float32(p.X), float32(p.Y)
	}
	return out
}

// decoders are the JPEG decoders that are here.
func decoders(t testing.TB) []string {
	t.Helper()
	before := imgcodec.Auto
	defer func() {
		if err := imgcodec.Use(before); err != nil {
			t.Error(err)
		}
	}()
	if err := imgcodec.Use(imgcodec.Turbo); err != nil {
		t.Log(err)
		return []string{imgcodec.Std}
	}
	return []string{imgcodec.Std, imgcodec.Turbo}
}

// Up to 1280 pixels nothing is reduced: a crop is the bilinear warp of the full decode,
// bit for bit.
func TestSmallPhotographsAreDecodedInFull(t *testing.T) {
	files, lines := map[string][]byte{}, ""
	faces, photos := map[string]align.Landmarks{}, synthface.New(3)
	for _, size := range []int{250, 640, 1279} {
		data, points := photos.JPEG(size, 0, synthface.PhotoOptions{Size: size})
		key := fmt.Sprintf("%d.jpg", size)
		files[key], faces[key] = data, pointsOf(points)
		lines += landmarkLine(key, faces[key])
	}
	root, list := folder(t, files), file(t, "landmarks.txt", lines)
	for _, decoder := range decoders(t) {
		out := filepath.Join(t.TempDir(), "faces.ds")
		mustRun(t, ingest.Options{Sources: []string{"folder=" + root}, Landmarks: list, Out: out, Decoder: decoder})
		for key, c := range crops(t, out) {
			photo, _, err := imgcodec.Decode(files[key], imgcodec.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			want, err := align.Crop(photo, faces[key], align.CropSize)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(pixels(t, c), want.Pix) {
				t.Errorf("%s %s: not the warp of the full decode", decoder, key)
			}
		}
	}
}

// What is found in a reduced photograph is recorded where it is in the full one.
func TestDetectionInLargePhotographs(t *testing.T) {
	root := folder(t, map[string][]byte{
		"four.png":   imgcodec.EncodePNG(enlarged(photo(1, 640, 160, 240, 80), 4)),
		"turned.png": withOrientation(imgcodec.EncodePNG(oriented(enlarged(photo(3, 640, 160, 240, 80), 4), 3)), 3),
		"eight.png":  imgcodec.EncodePNG(enlarged(photo(2, 640, 128, 320, 56), 8)),
	})
	out := filepath.Join(t.TempDir(), "faces.ds")
	mustRun(t, ingest.Options{Sources: []string{"folder=" + root}, Out: out, Detector: detector(t)})
	got := crops(t, out)
	if len(got) != 3 {
		t.Fatalf("%d crops", len(got))
	}
	for key, want := range map[string]struct {
		landmarks align.Landmarks
		times     float64
	}{
		"four.png":   {detecttest.Landmarks(240, 80), 4},
		"turned.png": {detecttest.Landmarks(240, 80), 4},
		"eight.png":  {detecttest.Landmarks(320, 56), 8},
	} {
		for i, p := range want.landmarks {
			if x, y := float64(got[key].Landmarks[2*i]), float64(got[key].Landmarks[2*i+1]); math.Abs(x-want.times*p.X) > 0.01 || math.Abs(y-want.times*p.Y) > 0.01 {
				t.Errorf("%s: landmark %d at (%.2f, %.2f), want (%v, %v)", key, i, x, y, want.times*p.X, want.times*p.Y)
			}
		}
	}
}

// Where the source says in which box its face is, that face is taken, be it at the edge.
func TestRunTakesTheFaceInTheBox(t *testing.T) {
	files := map[string][]byte{}
	for i, key := range []string{"edge.png", "middle.png", "nowhere.png", "open.png"} {
		img := photo(uint64(i), 300, 260, 144, 120)
		detecttest.Draw(img, 32, 200)
		files[key] = imgcodec.EncodePNG(img)
	}
	root := folder(t, files)
	text := "path,x1,y1,x2,y2\nedge.png,10,180,70,240\nmiddle.png,130,100,190,160\nnowhere.png,10,10,60,60\nopen.png,,,,\n"
	manifest := filepath.Join(root, "m.csv")
	if err := os.WriteFile(manifest, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "faces.ds")
	s := mustRun(t, ingest.Options{Sources: []string{"manifest=" + manifest}, Out: out, Detector: detector(t)})
	if s.Written != 3 || s.RejectReasons["detect: no face in the given box"] != 1 {
		t.Errorf("summary %+v", s)
	}
	got := crops(t, out)
	for key, want := range map[string][2]int{"edge.png": {32, 200}, "middle.png": {144, 120}, "open.png": {144, 120}} {
		if got[key].Landmarks != stored32(detecttest.Landmarks(want[0], want[1])) {
			t.Errorf("%s: landmarks %v, want those of the face at %v", key, got[key].Landmarks, want)
		}
	}
	if r := rejects(t, out)["nowhere.png"]; !strings.Contains(r.Reason, "faces the best overlaps by 0.00") {
		t.Errorf("the reject is %+v", r)
	}
}

// The same faces by a manifest and as a folder are the same crops.
func TestManifestGivesTheCropsOfTheFolder(t *testing.T) {
	dir := t.TempDir()
	made, err := synthface.WriteFolder(t.Context(), dir, synthface.FolderOptions{Identities: 10, PerIdentity: 4, Size: 200, Seed: 5, Hard: 1})
	if err != nil {
		t.Fatal(err)
	}
	whole := filepath.Join(t.TempDir(), "folder.ds")
	mustRun(t, ingest.Options{Sources: []string{"folder=" + made.ImageDir}, Landmarks: made.LandmarksFile, Out: whole})
	want := crops(t, whole)
	lines, err := os.ReadFile(made.LandmarksFile)
	if err != nil {
		t.Fatal(err)
	}
	csv, jsonl := "path,identity,landmarks,split\n", ""
	for line := range strings.Lines(string(lines)) {
		key, points, _ := strings.Cut(strings.TrimSpace(line), "\t")
		identity, _, _ := strings.Cut(key, "/")
		csv += fmt.Sprintf("images/%s,%s,%s,train\n", key, identity, points)
		jsonl += fmt.Sprintf(`{"file":"images/%s","person":%q,"kps":[%s]}`+"\n", key, identity, strings.ReplaceAll(points, " ", ","))
	}
	for name, text := range map[string]string{"m.csv": csv, "m.jsonl": jsonl} {
		manifest := filepath.Join(dir, name)
		if err := os.WriteFile(manifest, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "manifest.ds")
		o := ingest.Options{Sources: []string{"manifest=" + manifest}, Out: out, ShardRows: 16, Workers: 3}
		s := mustRun(t, o)
		if s.Written != 40 || s.Identities != 10 {
			t.Errorf("%s: summary %+v", name, s)
		}
		for key, c := range crops(t, out) {
			w, ok := want[strings.TrimPrefix(key, "images/")]
			if !ok || c.ID != w.ID || c.Identity != w.Identity || c.Landmarks != w.Landmarks {
				t.Errorf("%s: %s differs from the folder's crop", name, key)
			}
		}
		if again := mustRun(t, o); again.Skipped != 40 || again.Digest != s.Digest {
			t.Errorf("%s again: %+v", name, again)
		}
		d, err := store.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		if info := d.Sources()[0]; info.Kind != "manifest" || len(info.Digest) != 64 {
			t.Errorf("%s: the source is recorded as %+v", name, info)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
