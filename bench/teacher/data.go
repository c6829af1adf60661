package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"facepipe/ingest"
	"facepipe/internal/imgcodec"
	"facepipe/internal/synthface"
)

const (
	quality    = 95
	perPerson  = 20
	seed       = 1
	manyWriter = 8
)

// makeData draws aligned crops as JPEG files, makes a dataset of them as they are and one
// of raw pixels, and writes the models, unless they are there. Python reads the files.
func makeData(s settings) error {
	for name, model := range map[string]func() []byte{free: freeModel, r50: resNet50} {
		if err := os.WriteFile(filepath.Join(s.dir, name+".onnx"), model(), 0o644); err != nil {
			return err
		}
	}
	crops := filepath.Join(s.dir, "crops")
	if err := drawCrops(crops, s.crops); err != nil {
		return err
	}
	for name, kept := range map[string]string{"jpeg": ingest.StoreEncoded, "raw": ingest.StoreRaw} {
		_, err := ingest.Run(context.Background(), ingest.Options{
			Sources: []string{"folder=" + crops}, Out: filepath.Join(s.dir, name+".ds"), Store: kept,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func drawCrops(dir string, n int) error {
	g := synthface.New(seed)
	var group errgroup.Group
	group.SetLimit(manyWriter)
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
