package main

import (
	"context"
	"os"
	"path/filepath"

	"facepipe/bench/measure"
	"facepipe/ingest"
)

// makeData draws aligned crops as JPEG files, makes a dataset of them as they are, one without
// loss and one of raw pixels, and writes the models, unless they are there. Python reads the
// JPEG files.
func makeData(s settings) error {
	for name, model := range map[string]func() []byte{free: freeModel, r50: resNet50, device: deviceModel} {
		if err := os.WriteFile(filepath.Join(s.dir, name+".onnx"), model(), 0o644); err != nil {
			return err
		}
	}
	crops := filepath.Join(s.dir, "crops")
	if err := measure.DrawCrops(crops, s.crops); err != nil {
		return err
	}
	lossless := filepath.Join(s.dir, "crops-png")
	if err := measure.DrawLossless(lossless, crops, s.crops); err != nil {
		return err
	}
	for _, data := range []struct{ name, crops, kept string }{
		{"jpeg", crops, ingest.StoreEncoded}, {"png", lossless, ingest.StoreEncoded}, {"raw", crops, ingest.StoreRaw},
	} {
		_, err := ingest.Run(context.Background(), ingest.Options{
			Sources: []string{"folder=" + data.crops}, Out: filepath.Join(s.dir, data.name+".ds"), Store: data.kept,
		})
		if err != nil {
			return err
		}
	}
	return nil
}
