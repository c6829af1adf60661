package webdataset_test

import (
	"math/rand/v2"
	"os"
	"testing"

	"facepipe/internal/webdataset"
)

// How far a walk is counts in bytes of the file, packed or not.
func TestPassed(t *testing.T) {
	noise := make([]byte, 200_000)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	plain := pack(t, entry{"0.jpg", string(noise)}, entry{"1.jpg", string(noise)}, entry{"2.jpg", string(noise)})
	for name, data := range map[string][]byte{"tar": plain, "gz": compressed(t, plain)} {
		path := saved(t, data)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		shard, err := webdataset.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := shard.Passed(); n != 0 {
			t.Errorf("%s: %d bytes before the walk", name, n)
		}
		n := int64(0)
		err = shard.Walk(t.Context(), webdataset.Visitor{
			Hold: func(*webdataset.Member) bool { return true },
			Sample: func(webdataset.Sample) error {
				n++
				const slack = 70_000 // of buffers
				if at, want := shard.Passed(), n*info.Size()/3; at < want-slack || at > want+slack {
					t.Errorf("%s: byte %d behind sample %d, want about %d", name, at, n, want)
				}
				return nil
			},
			Damage: func(d webdataset.Damage) error { return d.Err },
		})
		if err != nil || n != 3 || shard.Passed() != info.Size() {
			t.Errorf("%s: %v, %d samples, at the end %d of %d", name, err, n, shard.Passed(), info.Size())
		}
	}
}
