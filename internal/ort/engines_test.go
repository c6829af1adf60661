package ort

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"facepipe/internal/durable"
)

func TestEngineFolder(t *testing.T) {
	models, caches := t.TempDir(), t.TempDir()
	t.Setenv("XDG_CACHE_HOME", caches)
	model := filepath.Join(models, "r50.onnx")
	const digest, other = "0123456789abcdef0123456789abcdef", "fedcba98765432100123456789abcdef"
	expect := func(digest, want string) {
		t.Helper()
		got, err := engineFolder(model, digest)
		if err != nil || got != want {
			t.Errorf("engines of %.4s… are in %q, %v, want %q", digest, got, err, want)
		}
		if files, err := os.ReadDir(got); err != nil || len(files) > 0 {
			t.Errorf("the folder holds %v, %v", files, err)
		}
	}
	expect(digest, filepath.Join(models, "r50.tensorrt", "0123456789abcdef"))
	expect(digest, filepath.Join(models, "r50.tensorrt", "0123456789abcdef"))
	expect(other, filepath.Join(models, "r50.tensorrt", "fedcba9876543210")) // the file was replaced

	// A file in the way stands for a folder that cannot be written: that would not stop root.
	model = filepath.Join(models, "locked.onnx")
	if err := os.WriteFile(filepath.Join(models, "locked.tensorrt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	expect(digest, filepath.Join(caches, "pipe", "tensorrt", "0123456789abcdef"))

	t.Setenv("XDG_CACHE_HOME", filepath.Join(models, "locked.tensorrt"))
	if folder, said := keepEngines(model, digest); folder != "" || !strings.Contains(said, "anew") || !strings.Contains(said, "locked.tensorrt") {
		t.Errorf("nowhere is %q: %s", folder, said)
	}
	t.Setenv("XDG_CACHE_HOME", caches)
	if folder, said := keepEngines(model, digest); folder == "" || !strings.Contains(said, "tensorrt keeps its engines in "+folder) {
		t.Errorf("somewhere is %q: %s", folder, said)
	}
}

// A runtime without TensorRT leaves no folder for its engines.
func TestNoEngineFolderWithoutTensorRT(t *testing.T) {
	path := doubler(t, nil)
	if s, err := Open(t.Context(), path, Options{Provider: "tensorrt", Digest: "0123"}); err == nil {
		s.Close()
		t.Skip("this runtime has TensorRT")
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("beside the model are %v, %v", files, err)
	}
}

// Of processes that open the same model one builds, and the others wait for it, and say so.
func TestBuildingOneAtATime(t *testing.T) {
	var said bytes.Buffer // written under the logger's lock
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(slog.NewTextHandler(&said, nil)))
	folder := filepath.Join(t.TempDir(), "r50.tensorrt", "0123")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	var busy, most atomic.Int32
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			err := building(t.Context(), folder, func() error {
				most.Store(max(most.Load(), busy.Add(1)))
				time.Sleep(5 * time.Millisecond)
				busy.Add(-1)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	if all.Wait(); most.Load() != 1 || !strings.Contains(said.String(), "this one waits") || !strings.Contains(said.String(), folder) {
		t.Errorf("%d built at once; they say %q", most.Load(), &said)
	}
	failed := errors.New("no device")
	if err := building(t.Context(), folder, func() error { return failed }); !errors.Is(err, failed) {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Dir(folder)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what failed left a folder: %v", err)
	}
	if err := building(t.Context(), "", func() error { return failed }); !errors.Is(err, failed) {
		t.Error(err)
	}
}

// A wait for who builds ends with the context, and does not build as well.
func TestBuildingCanBeStopped(t *testing.T) {
	folder := t.TempDir()
	lock, err := durable.TryLock(filepath.Join(folder, ".lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err = building(ctx, folder, func() error { t.Error("it builds"); return nil })
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, durable.ErrLocked) {
		t.Error(err)
	}
}
