package ingest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"facepipe/ingest"
	"facepipe/ingest/align"
	"facepipe/ingest/detect/detecttest"
	"facepipe/internal/imgcodec"
	"facepipe/store"
	"facepipe/store/check"
)

// group is a photograph of n people, the one in its middle being the main face. Each
// stands out of other surroundings, so that no two crops have the same pixels.
func group(seed uint64, n int) *imgcodec.Image {
	img := textured(seed, 96+96*n, 128)
	for i := range n {
		detecttest.Draw(img, 40+96*i, 56)
	}
	return img
}

// groups is a folder of such photographs.
func groups(t testing.TB) string {
	files := map[string][]byte{
		"Eve/nobody.png": imgcodec.EncodePNG(group(100, 0)),
		"Eve/letter.png": []byte("no photograph"),
		"Fay/x.png":      imgcodec.EncodePNG(group(101, 2)),
		"Fay/x.png#1":    imgcodec.EncodePNG(group(102, 1)), // named like a further face
		"party.png":      imgcodec.EncodePNG(group(103, 4)),
	}
	for i := range 8 {
		files[fmt.Sprintf("%c/%d.png", 'A'+i%3, i)] = imgcodec.EncodePNG(group(uint64(i), 1+i%3))
	}
	return folder(t, files)
}

func TestRunTakesOneFace(t *testing.T) {
	out := filepath.Join(t.TempDir(), "faces.ds")
	s := mustRun(t, ingest.Options{Sources: []string{"folder=" + groups(t)}, Out: out, Detector: detector(t), Faces: ingest.FacesOne})
	want := map[string]int{"detect: not exactly one face": 7, "detect: no face found": 1, "decode: not an image": 1}
	if s.Seen != 13 || s.Written != 4 || !reflect.DeepEqual(s.RejectReasons, want) {
		t.Errorf("summary %+v", s)
	}
	if r := rejects(t, out)["party.png"]; r.Stage != "detect" || !strings.Contains(r.Reason, "4 found") {
		t.Errorf("the party is recorded as %+v", r)
	}
}

func TestRunTakesAllFaces(t *testing.T) {
	root, model := groups(t), detector(t)
	o := ingest.Options{Sources: []string{"folder=" + root}, Out: filepath.Join(t.TempDir(), "faces.ds"), Detector: model, Faces: ingest.FacesAll,
		Split: "train=0.5,val=0.5"}
	s := mustRun(t, o)
	// 15 in eight photographs, 3 in those of Fay, 4 at the party.
	if s.Written != 22 || s.Rejected != 2 || s.Seen != 24 {
		t.Errorf("summary %+v", s)
	}
	got := crops(t, o.Out)
	for _, key := range []string{"party.png", "party.png#1", "party.png#2", "party.png#3", "Fay/x.png", "Fay/x.png#1", "Fay/x.png##1"} {
		c, ok := got[key]
		if !ok {
			t.Errorf("%s is missing", key)
			continue
		}
		person := ""
		if key == "Fay/x.png" || key == "Fay/x.png##1" {
			person = "Fay"
		}
		photo := strings.TrimRight(key, "#123")
		if key == "Fay/x.png##1" {
			photo = key
		}
		if c.Identity != person || c.Split != got[photo].Split || c.Split == "" {
			t.Errorf("%s: %+v", key, c)
		}
	}
	// Main faces are those that are taken alone, and the same.
	o.Out, o.Faces, o.Split = filepath.Join(t.TempDir(), "main.ds"), "", ""
	mustRun(t, o)
	for key, c := range crops(t, o.Out) {
		if key == "Fay/x.png#1" {
			key = "Fay/x.png##1"
		}
		if all := got[key]; all.ID != c.ID || all.Identity != c.Identity || all.Label == store.NoLabel && c.Identity != "" {
			t.Errorf("%s is %v, alone %v", key, all.ID, c.ID)
		}
	}
}

// However many shards were committed before a run was killed, be it between two faces of
// a photograph, the same command comes to the same dataset and the same verdict.
func TestRunTakesAllFacesAfterAnyKill(t *testing.T) {
	root := folder(t, map[string][]byte{
		"a.png": imgcodec.EncodePNG(group(1, 3)),
		"b.png": imgcodec.EncodePNG(group(2, 1)),
		"c.png": []byte("no photograph"),
		"d.png": imgcodec.EncodePNG(group(3, 2)),
	})
	o := ingest.Options{Sources: []string{"folder=" + root}, Out: filepath.Join(t.TempDir(), "whole.ds"),
		Detector: detector(t), Faces: ingest.FacesAll, ShardRows: 1, Workers: 2}
	whole := mustRun(t, o)
	want := tree(t, o.Out)
	if whole.Shards != 6 || whole.Rejected != 1 {
		t.Fatalf("summary %+v", whole)
	}
	for committed := range whole.Shards + 1 {
		o.Out = filepath.Join(t.TempDir(), "killed.ds")
		if err := os.MkdirAll(filepath.Join(o.Out, "crops"), 0o755); err != nil {
			t.Fatal(err)
		}
		for shard := range committed {
			for _, suffix := range []string{"json", "arrow"} {
				name := filepath.Join("crops", fmt.Sprintf("%06d.%s", shard, suffix))
				if data, ok := want[name]; ok {
					if err := os.WriteFile(filepath.Join(o.Out, name), []byte(data), 0o444); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		s := mustRun(t, o)
		sameTree(t, fmt.Sprintf("after %d shards", committed), tree(t, o.Out), want)
		if s.Digest != whole.Digest || s.Seen != whole.Seen || s.Rejected+s.RejectedBefore != whole.Rejected || s.Written+s.Rejected+s.Skipped != whole.Seen {
			t.Errorf("after %d shards: %+v, whole %+v", committed, s, whole)
		}
	}
}

// tilted writes the landmarks of a face: the template's, enlarged, turned and shifted.
func tilted(key string, m align.Similarity, noseX, noseY float64) string {
	line := key
	face := align.Template(112)
	face[2].X += noseX
	face[2].Y += noseY
	for _, p := range face {
		p = m.Apply(p)
		line += fmt.Sprintf(" %g %g", p.X, p.Y)
	}
	return line + "\n"
}

func TestRunGatesFaces(t *testing.T) {
	files, list := map[string][]byte{}, ""
	for i, face := range []struct {
		name         string
		m            align.Similarity
		noseX, noseY float64
	}{
		{"good.png", align.Similarity{A: 1, Tx: 40, Ty: 40}, 0, 0},
		{"leaning.png", align.Similarity{A: 0.9, B: 0.4, Tx: 60, Ty: 20}, 0, 0},
		{"small.png", align.Similarity{A: 0.4, Tx: 40, Ty: 40}, 0, 0},
		{"up.png", align.Similarity{A: 1, Tx: 40, Ty: 40}, 0, -9},
		{"yaw.png", align.Similarity{A: 1, Tx: 40, Ty: 40}, 9, 0},
	} {
		files[face.name] = imgcodec.EncodePNG(textured(uint64(i), 200, 200))
		list += tilted(face.name, face.m, face.noseX, face.noseY)
	}
	blurred := imgcodec.NewImage(200, 200)
	for i := range blurred.Pix {
		blurred.Pix[i] = byte(i / 3 % 200 / 2)
	}
	files["blurred.png"] = imgcodec.EncodePNG(blurred)
	list += tilted("blurred.png", align.Similarity{A: 1, Tx: 40, Ty: 40}, 0, 0)
	points := filepath.Join(t.TempDir(), "landmarks.txt")
	if err := os.WriteFile(points, []byte(list), 0o644); err != nil {
		t.Fatal(err)
	}
	o := ingest.Options{Sources: []string{"folder=" + folder(t, files)}, Landmarks: points, Out: filepath.Join(t.TempDir(), "faces.ds")}
	if s := mustRun(t, o); s.Written != 6 {
		t.Fatalf("without a gate: %+v", s)
	}
	all := crops(t, o.Out)
	for key, c := range all {
		if q := c.Quality; !c.HasQuality || q.FaceSize < 40 || q.Yaw != q.Yaw || (q.Sharpness > 20) == (key == "blurred.png") {
			t.Errorf("%s is measured %+v", key, q)
		}
	}
	o.Gate = ingest.Gate{MinFace: 60, MinSharpness: 20, MaxYaw: 10, MaxPitch: 10, MaxRoll: 10}
	gated := o
	gated.Out = filepath.Join(t.TempDir(), "gated.ds")
	s := mustRun(t, gated)
	want := map[string]int{
		"quality: face too small": 1, "quality: face too blurred": 1, "quality: face turned too far": 1,
		"quality: face looks too far up or down": 1, "quality: head leans too far": 1,
	}
	if s.Written != 1 || !reflect.DeepEqual(s.RejectReasons, want) {
		t.Errorf("summary %+v", s)
	}
	for key, r := range rejects(t, gated.Out) {
		q := all[key].Quality
		value := map[string]float32{"small.png": q.FaceSize, "blurred.png": q.Sharpness, "yaw.png": q.Yaw, "up.png": q.Pitch, "leaning.png": q.Roll}[key]
		if r.Stage != "quality" || !strings.Contains(r.Reason, fmt.Sprintf(" %.2f", value)) {
			t.Errorf("%s is recorded as %+v, it measures %+v", key, r, q)
		}
	}
	// Another gate over a dataset is another policy: what was refused is looked at again.
	gated.Gate = ingest.Gate{}
	if s := mustRun(t, gated); s.Written != 5 || s.Duplicates != 1 {
		t.Errorf("without the gate again: %+v", s)
	}
}

func TestRunMeasuresAlignedCrops(t *testing.T) {
	root := folder(t, map[string][]byte{"flat.png": imgcodec.EncodePNG(imgcodec.NewImage(112, 112)), "rough.png": imgcodec.EncodePNG(textured(1, 112, 112))})
	o := ingest.Options{Sources: []string{"folder=" + root}, Out: filepath.Join(t.TempDir(), "faces.ds"), Gate: ingest.Gate{MinSharpness: 1, MinFace: 1000, MaxYaw: 1}}
	if s := mustRun(t, o); s.Written != 1 || s.RejectReasons["quality: face too blurred"] != 1 {
		t.Errorf("summary %+v", s)
	}
	if q := crops(t, o.Out)["rough.png"].Quality; q.Sharpness < 100 || q.FaceSize == q.FaceSize || q.Roll == q.Roll {
		t.Errorf("measured %+v", q)
	}
}

func TestRunLeavesRareIdentitiesOut(t *testing.T) {
	picture := func(i int) []byte { return imgcodec.EncodePNG(photo(uint64(i), 112, 112, 8, 8)) }
	one := folder(t, map[string][]byte{"Ann/1.png": picture(1), "Bob/1.png": picture(2), "Bob/2.png": picture(3), "who.png": picture(4)})
	two := folder(t, map[string][]byte{"Ann/2.png": picture(5), "Cid/1.png": picture(6), "Bob/bad.png": nil})
	o := ingest.Options{Sources: []string{"folder=" + one, "folder=" + two}, Out: filepath.Join(t.TempDir(), "faces.ds"), MinImages: 2}
	s := mustRun(t, o)
	if s.Seen != 6 || s.Written != 5 || s.Filtered != 1 || s.Rejected != 1 || s.Identities != 2 {
		t.Errorf("summary %+v", s)
	}
	if again := mustRun(t, o); again.Skipped != 6 || again.Filtered != 1 || again.Digest != s.Digest {
		t.Errorf("again: %+v", again)
	}
	o.MinImages = 3
	o.Out = filepath.Join(t.TempDir(), "more.ds")
	if s := mustRun(t, o); s.Filtered != 3 || s.Written != 3 || s.Rejected != 1 {
		t.Errorf("of three: %+v", s)
	}
	o.KeyPrefixes = []string{"one/", "two/"} // then they are other people
	o.Out = filepath.Join(t.TempDir(), "apart.ds")
	if s := mustRun(t, o); s.Filtered != 6 || s.Written != 1 {
		t.Errorf("with prefixes: %+v", s)
	}
	// What was left out is no loss: a later run takes it.
	o.MinImages = 0
	if s := mustRun(t, o); s.Written != 5 || s.Skipped != 1 || s.Rejected != 1 {
		t.Errorf("without the limit: %+v", s)
	}
}

// splits of a dataset by identity, or key where there is none.
func splits(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	for key, c := range crops(t, dir) {
		name := c.Identity
		if name == "" {
			name = key
		}
		if before, met := got[name]; met && before != c.Split {
			t.Errorf("%s is in the splits %s and %s", name, before, c.Split)
		}
		got[name] = c.Split
	}
	return got
}

func TestRunSplitsByIdentity(t *testing.T) {
	files := map[string][]byte{}
	for i := range 60 {
		files[fmt.Sprintf("person %d/%d.png", i%20, i)] = imgcodec.EncodePNG(textured(uint64(i), 112, 112))
		if i < 10 {
			files[fmt.Sprintf("%d.png", i)] = imgcodec.EncodePNG(textured(uint64(100+i), 112, 112))
		}
	}
	root := folder(t, files)
	o := ingest.Options{Sources: []string{"folder=" + root}, Out: filepath.Join(t.TempDir(), "faces.ds"), Split: "train=0.7,val=0.3", SplitSeed: 5}
	mustRun(t, o)
	got := splits(t, o.Out)
	counts := map[string]int{}
	for _, s := range got {
		counts[s]++
	}
	if len(got) != 30 || counts["train"] < 12 || counts["val"] < 3 || counts["train"]+counts["val"] != 30 {
		t.Errorf("splits %v", counts)
	}
	// What else there is, in which order and by how many workers, changes nothing.
	for name := range files {
		if strings.HasPrefix(name, "person 1") {
			if err := os.Remove(filepath.Join(root, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	o.Out, o.Workers = filepath.Join(t.TempDir(), "fewer.ds"), 3
	mustRun(t, o)
	for name, split := range splits(t, o.Out) {
		if split != got[name] {
			t.Errorf("%s is in %s, before in %s", name, split, got[name])
		}
	}
	o.Out, o.SplitSeed = filepath.Join(t.TempDir(), "other.ds"), 6
	mustRun(t, o)
	moved := 0
	for name, split := range splits(t, o.Out) {
		if split != got[name] {
			moved++
		}
	}
	if moved == 0 {
		t.Error("another seed gives the same splits")
	}
}

// What a source says of a photograph comes first, and is kept.
func TestRunKeepsSplitsAndAttributes(t *testing.T) {
	files := map[string][]byte{"list.jsonl": []byte(`{"path":"a.png","identity":"Ann","split":"probe","zone":"north","age":30}
{"path":"b.png","identity":"Bob"}
`)}
	files["a.png"], files["b.png"] = imgcodec.EncodePNG(textured(1, 112, 112)), imgcodec.EncodePNG(textured(2, 112, 112))
	list := filepath.Join(folder(t, files), "list.jsonl")
	o := ingest.Options{Sources: []string{"manifest=" + list}, Out: filepath.Join(t.TempDir(), "faces.ds"), Split: "train=1"}
	mustRun(t, o)
	got := crops(t, o.Out)
	var attributes map[string]string
	if err := json.Unmarshal([]byte(got["a.png"].Attributes), &attributes); err != nil {
		t.Fatal(err)
	}
	if got["a.png"].Split != "probe" || got["b.png"].Split != "train" || attributes["zone"] != "north" || attributes["age"] != "30" || got["b.png"].Attributes != "" {
		t.Errorf("crops %+v and %+v", got["a.png"], got["b.png"])
	}
	if z, a := strings.Index(got["a.png"].Attributes, "zone"), strings.Index(got["a.png"].Attributes, "age"); z > a {
		t.Errorf("the order of attributes is lost: %s", got["a.png"].Attributes)
	}
}

func TestRunEncodesCropsAsJPEG(t *testing.T) {
	root := folder(t, map[string][]byte{
		"Ann/1.png": imgcodec.EncodePNG(photo(1, 200, 200, 80, 72)),
		"Bob/1.png": imgcodec.EncodePNG(photo(2, 300, 260, 120, 104)),
	})
	o := ingest.Options{Sources: []string{"folder=" + root}, Detector: detector(t), CropFormat: ingest.CropJPEG}
	var digests []string
	for range 2 {
		o.Out = filepath.Join(t.TempDir(), "faces.ds")
		digests = append(digests, mustRun(t, o).Digest)
		o.JPEGQuality = ingest.MinJPEGQuality // which is the default
	}
	if digests[0] != digests[1] {
		t.Error("two runs differ")
	}
	plain := o
	plain.Out, plain.CropFormat, plain.JPEGQuality = filepath.Join(t.TempDir(), "png.ds"), "", 0
	mustRun(t, plain)
	lossless := crops(t, plain.Out)
	contract := store.Contract{CropSize: 112, Template: align.TemplateName}
	for key, c := range crops(t, o.Out) {
		rgb := pixels(t, c)
		if c.Encoding != imgcodec.JPEG || c.ID != store.CropID(contract, rgb) || c.ID == lossless[key].ID {
			t.Errorf("%s is %s, with the id of other pixels than its own", key, c.Encoding)
		}
		for i, want := range pixels(t, lossless[key]) {
			// Chroma at half the resolution smears the red square's edge; luma does not.
			if i%3 == 1 && want > 60 && want < 140 && (rgb[i] < 60 || rgb[i] > 140) {
				t.Fatalf("%s: byte %d is %d, was %d", key, i, rgb[i], want)
			}
		}
		if c.Landmarks != lossless[key].Landmarks || c.Quality.FaceSize != lossless[key].Quality.FaceSize {
			t.Errorf("%s: the face has moved", key)
		}
	}
	report, err := check.Run(t.Context(), o.Out, check.Options{ReadData: true})
	if err != nil || !report.OK {
		t.Errorf("check: %+v, %v", report, err)
	}
	o.JPEGQuality, o.Out = 100, filepath.Join(t.TempDir(), "best.ds")
	if s := mustRun(t, o); s.Digest == digests[0] {
		t.Error("the quality makes no difference")
	}
	// Aligned crops stay what they are, also those that must be encoded.
	aligned := ingest.Options{Sources: []string{"folder=" + folder(t, map[string][]byte{"a.bmp": asBMP(t, textured(1, 112, 112))})},
		Out: filepath.Join(t.TempDir(), "aligned.ds"), CropFormat: ingest.CropJPEG}
	mustRun(t, aligned)
	if c := crops(t, aligned.Out)["a.bmp"]; c.Encoding != imgcodec.PNG {
		t.Errorf("an aligned crop became %s", c.Encoding)
	}
}

// verificationBin writes a verification set: the pickle, protocol 3, of four images and
// of the flags true and false.
func verificationBin(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("\x80\x03](")
	for i := range 4 {
		data := imgcodec.EncodePNG(textured(uint64(i), 112, 112))
		b.Write([]byte{'B', byte(len(data)), byte(len(data) >> 8), byte(len(data) >> 16), 0})
		b.Write(data)
	}
	b.WriteString("e](\x88\x89e\x86.")
	path := filepath.Join(t.TempDir(), "set.bin")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRunWritesPairs(t *testing.T) {
	pairs := filepath.Join(t.TempDir(), "pairs.txt")
	root := folder(t, map[string][]byte{"Ann/1.png": imgcodec.EncodePNG(textured(50, 112, 112))})
	o := ingest.Options{Sources: []string{"folder=" + root, "bin=" + verificationBin(t)}, Out: filepath.Join(t.TempDir(), "faces.ds"),
		KeyPrefixes: []string{"", "set 1/"}, PairsOut: pairs}
	s := mustRun(t, o)
	got, err := os.ReadFile(pairs)
	if err != nil {
		t.Fatal(err)
	}
	if want := "set 1/000000\tset 1/000001\t1\nset 1/000002\tset 1/000003\t0\n"; string(got) != want || s.Pairs != 2 {
		t.Errorf("%d pairs:\n%s", s.Pairs, got)
	}
	stored := crops(t, o.Out)
	for _, key := range strings.Fields(strings.ReplaceAll(string(got), "set 1/", "")) {
		if _, ok := stored["set 1/"+key]; !ok && len(key) == 6 {
			t.Errorf("%s is not in the dataset", key)
		}
	}
	if again := mustRun(t, o); again.Pairs != 2 || again.Skipped != 5 {
		t.Errorf("again: %+v", again)
	}
	o.Sources, o.KeyPrefixes, o.Out = o.Sources[:1], nil, filepath.Join(t.TempDir(), "none.ds")
	if _, err := run(t, o); err == nil || !strings.Contains(err.Error(), "no source holds pairs") {
		t.Errorf("without a source of pairs: %v", err)
	}
	if _, err := os.Stat(o.Out); !errors.Is(err, os.ErrNotExist) {
		t.Error("the dataset was begun")
	}
}

func TestOptionsOfPolicies(t *testing.T) {
	type opts = ingest.Options
	folders := []string{"folder=a", "folder=b"}
	for _, tt := range []struct {
		name string
		o    opts
		want string // "" is valid
	}{
		{"prefix for all", opts{Sources: folders, KeyPrefixes: []string{"p/"}}, ""},
		{"prefix for each", opts{Sources: folders, KeyPrefixes: []string{"", "q/"}}, ""},
		{"too many prefixes", opts{Sources: folders, KeyPrefixes: []string{"", "q/", "r/"}}, "3 key prefixes for 2 sources"},
		{"prefix that is no text", opts{Sources: folders, KeyPrefixes: []string{"", "\xff"}}, "UTF-8"},
		{"records twice", opts{Sources: []string{"recordio=a/train.rec", "recordio=b/train.rec"}}, "key prefix of its own"},
		{"records apart", opts{Sources: []string{"recordio=a/train.rec", "recordio=b/train.rec"}, KeyPrefixes: []string{"a/", "b/"}}, ""},
		{"records under one prefix", opts{Sources: []string{"recordio=a/train.rec", "recordio=b/train.rec"}, KeyPrefixes: []string{"a/"}}, "key prefix of its own"},
		{"the same records twice", opts{Sources: []string{"recordio=a/train.rec", "recordio=./a/train.rec"}}, ""},
		{"sets of pairs", opts{Sources: []string{"bin=lfw.bin", "bin=cfp_fp.bin"}}, "key prefix of its own"},
		{"shards in one folder", opts{Sources: []string{"webdataset=a/x-{0..1}.tar", "recordio=a/train.rec"}}, "a/NUMBER"},
		{"shards in two folders", opts{Sources: []string{"webdataset=a/x-{0..1}.tar", "webdataset=b/x-{0..1}.tar"}}, ""},
		{"folders alike", opts{Sources: folders}, ""},
		{"unknown faces", opts{Sources: folders, Faces: "none"}, "largest or one or all"},
		{"gate", opts{Sources: folders, Gate: ingest.Gate{MaxYaw: -3}}, "max-yaw"},
		{"split", opts{Sources: folders, Split: "train=0.5"}, "add up"},
		{"few images", opts{Sources: folders, MinImages: -1}, "negative"},
		{"crop format", opts{Sources: folders, CropFormat: "webp"}, "png or jpeg"},
		{"low quality", opts{Sources: folders, CropFormat: "jpeg", JPEGQuality: 94}, "95..100"},
		{"high quality", opts{Sources: folders, CropFormat: "jpeg", JPEGQuality: 101}, "95..100"},
		{"quality of PNG", opts{Sources: folders, JPEGQuality: 95}, "needs the crop format jpeg"},
		{"format of raw pixels", opts{Sources: folders, CropFormat: "jpeg", Store: ingest.StoreRaw}, "raw pixels"},
	} {
		tt.o.Out = "out"
		err := tt.o.Validate()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}
