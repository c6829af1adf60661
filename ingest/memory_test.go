package ingest

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"facepipe/ingest/align"
	"facepipe/internal/imgcodec"
)

func TestControlGroupMemory(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"job/memory.max": "2147483648\n", "job/step/memory.max": "max\n", "memory.max": "max\n",
		"memory/docker/abc/memory.limit_in_bytes": "1073741824\n", "memory/memory.limit_in_bytes": "9223372036854771712\n",
		"two": "0::/job/step\n", "one": "4:memory:/docker/abc\n3:cpu:/x\n", "both": "4:memory:/docker/abc\n0::/job\n",
		"free": "0::/\n", "odd": "\nnonsense\n0:::\n",
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]int64{"two": 2 << 30, "one": 1 << 30, "both": 1 << 30, "free": math.MaxInt64, "odd": math.MaxInt64, "none": math.MaxInt64} {
		if got := controlGroupMemory(filepath.Join(dir, name), dir); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
	if d := DefaultMemory(); d < MinMemory || d > maxDefaultMemory {
		t.Errorf("%d bytes by default", d)
	}
}

// What the reason says is enough is enough, and no less is.
func TestRemedyIsEnough(t *testing.T) {
	for _, need := range []int64{50 << 20, 1_111_111_111, 3 << 30} {
		enough := memoryFor(need)
		if newBudget(enough).fits(need) != nil || newBudget(enough-16).fits(need) == nil {
			t.Errorf("%d bytes: a memory of %d is said to be enough, and %d leaves %d", need, enough, enough, decodingPart(enough))
		}
	}
}

// A claim that grows waits with nothing in hand, so two that want all of a share both get it.
func TestClaimsDoNotWaitForEachOther(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	s := newShare(100)
	done := make(chan error)
	for range 8 {
		go func() {
			var c claim
			var err error
			for i := 0; i < 200 && err == nil; i++ {
				err = c.hold(ctx, &s, int64(1+i%100))
			}
			c.release()
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if !s.free.TryAcquire(100) {
		t.Error("not everything was given back")
	}
}

func TestAdmission(t *testing.T) {
	b := newBudget(MinMemory)
	png := imgcodec.EncodePNG(imgcodec.NewImage(9, 9))
	wide := append([]byte(nil), png...)
	copy(wide[16:], "\x00\x00\x20\x00\x00\x00\x20\x00") // 8192 by 8192
	for _, tt := range []struct {
		name, head, reason string
		size               int64
	}{
		{"small", string(png), "", 1000},
		{"larger than its share", string(png), "--memory of 67108864 leaves 16777216", 20 << 20},
		{"too many pixels to decode", string(wide), "decoding takes", 1000},
		{"no image", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "not an image", 1 << 30},
		{"all of a small file is looked at later", "nothing", "", 7},
		{"unknown beginning", "", "", 1000},
	} {
		var c claim
		err := b.admit(t.Context(), &c)(tt.size, []byte(tt.head))
		switch {
		case tt.reason == "" && (err != nil || c.bytes != tt.size):
			t.Errorf("%s: %v, %d bytes held", tt.name, err, c.bytes)
		case tt.reason != "" && (err == nil || !isRefusal(err) || !strings.Contains(err.Error(), tt.reason) || c.bytes != 0):
			t.Errorf("%s: %v, want %q", tt.name, err, tt.reason)
		}
		c.release()
	}
}

// The crops of many faces are part of what their photograph claims; those of a few are not worth to
// decode it again.
func TestCropsAreClaimed(t *testing.T) {
	const size = 112
	for _, faces := range []int{1, 200} {
		c := newCropper(parsed{side: size, memory: MinMemory}, Gate{})
		opened, err := imgcodec.OpenPhoto(imgcodec.EncodePNG(imgcodec.NewImage(300, 300)), imgcodec.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		photo := c.budget.open(t.Context(), opened)
		if _, err := photo.at(t.Context(), 1); err != nil { // as a detector has looked at it
			t.Fatal(err)
		}
		before := photo.decoding.bytes
		same := face{landmarks: align.Template(size)}
		crops, err := c.alignFaces(t.Context(), photo, slices.Repeat([]face{same}, faces))
		if err != nil || len(crops) != faces || crops[0].refused != nil {
			t.Fatalf("%d crops, %v", len(crops), err)
		}
		if claimed := photo.decoding.bytes - before; (claimed >= int64(faces*3*size*size)) != (faces > 1) {
			t.Errorf("%d bytes are claimed for %d crops", claimed, faces)
		}
		photo.close()
		if !c.budget.decoding.free.TryAcquire(c.budget.decoding.size) {
			t.Error("not everything was given back")
		}
	}
}
