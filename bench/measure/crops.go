package measure

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"facepipe/internal/imgcodec"
	"facepipe/internal/synthface"
)

const (
	quality     = 95
	perPerson   = 20
	seed        = 1
	manyWriters = 8
)

// DrawLossless draws the crops of [DrawCrops] as PNG files of the kind that ingest writes. The
// JPEG files must be there.
func DrawLossless(dir, jpegs string, n int) error {
	var group errgroup.Group
	group.SetLimit(manyWriters)
	for i := range n {
		group.Go(func() error {
			name := filepath.Join(fmt.Sprintf("%06d", i/perPerson), fmt.Sprintf("%02d", i%perPerson))
			data, err := os.ReadFile(filepath.Join(jpegs, name+".jpg"))
			if err != nil {
				return err
			}
			img, _, err := imgcodec.Decode(data, imgcodec.Limits{})
			if err != nil {
				return err
			}
			path := filepath.Join(dir, name+".png")
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return err
			}
			return os.WriteFile(path, imgcodec.EncodeCrop(img), 0o644)
		})
	}
	return group.Wait()
}

// DrawCrops draws aligned crops as JPEG files, of 20 a person in a folder, unless they are
// there.
func DrawCrops(dir string, n int) error {
	g := synthface.New(seed)
	var group errgroup.Group
	group.SetLimit(manyWriters)
	for i := range n {
		group.Go(func() error {
			path := filepath.Join(dir, fmt.Sprintf("%06d", i/perPerson), fmt.Sprintf("%02d.jpg", i%perPerson))
			if _, err := os.Stat(path); err == nil {
				return nil
			}
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return err
			}
			img, _ := g.Aligned(i/perPerson, i%perPerson, synthface.DefaultHard)
			return os.WriteFile(path, imgcodec.EncodeJPEG(img, quality), 0o644)
		})
	}
	return group.Wait()
}
