package ort

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"facepipe/internal/durable"
)

// keepEngines finds a folder for what TensorRT builds of a model, and says which it is.
func keepEngines(model, digest string) (folder, said string) {
	folder, err := engineFolder(model, digest)
	if err != nil {
		return "", fmt.Sprintf("tensorrt builds its engines anew each time, as they can be kept nowhere: %v", err)
	}
	return folder, "tensorrt keeps its engines in " + folder
}

// engineFolder makes the folder in which TensorRT keeps what it builds of a model, as building
// takes minutes. It is beside the model or, if that cannot be written, among the user's
// caches. Each digest has a folder of its own: TensorRT knows an engine by the model's file
// name and the form of its graph only, and would run the old weights of a model that was
// replaced.
func engineFolder(model, digest string) (string, error) {
	short := digest[:min(16, len(digest))]
	beside := filepath.Join(strings.TrimSuffix(model, filepath.Ext(model))+".tensorrt", short)
	err := durable.NoLinks(filepath.Dir(model), filepath.Join(filepath.Base(filepath.Dir(beside)), short))
	if err == nil {
		err = makeWritable(beside)
	}
	if err == nil {
		return beside, nil
	}
	caches, cacheErr := os.UserCacheDir()
	if cacheErr != nil {
		return "", errors.Join(err, cacheErr)
	}
	among := filepath.Join(caches, "pipe", "tensorrt", short)
	if cacheErr = makeWritable(among); cacheErr != nil {
		return "", errors.Join(err, cacheErr)
	}
	return among, nil
}

// makeWritable makes a folder in which files can be made.
func makeWritable(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// building loads a model whose engines are kept in a folder, "" if they are not. A process that
// comes while another builds an engine there says so, waits until ctx ends, and finds it built: to
// build takes minutes, and most of a device. Where the folder cannot be locked, both build.
func building(ctx context.Context, engines string, load func() error) error {
	if engines == "" {
		return load()
	}
	path := filepath.Join(engines, ".lock")
	lock, err := durable.TryLock(path)
	if errors.Is(err, durable.ErrLocked) {
		slog.Warn("another process opens the model, and builds an engine of it if there is none: this one waits for that, which may take minutes", "reason", err)
		lock, err = durable.WaitLock(ctx, path)
	}
	if err != nil && errors.Is(err, ctx.Err()) {
		return err
	}
	if err != nil {
		return load()
	}
	err = load()
	if err != nil {
		_ = os.Remove(path) // before it is let go, so that nobody waits for a file that is gone
		dropEmpty(engines)
	}
	return errors.Join(err, lock.Unlock())
}

// dropEmpty removes a folder for engines that has none, and the one above it.
func dropEmpty(folder string) {
	if folder != "" && os.Remove(folder) == nil { // which a folder with files does not allow
		os.Remove(filepath.Dir(folder))
	}
}
