package main

import (
	"context"
	"os"
	"path/filepath"

	"facepipe/bench/measure"
	"facepipe/ingest"
)

// makeData draws aligned crops as JPEG files, makes a dataset of them as they are and one
// of raw pixels, and writes the models, unless they are there. Python reads the files.
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
