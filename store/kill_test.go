package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/check"
	"facepipe/store/storetest"
)

// killEnv names the folder of the dataset that a copy of the test binary is to make.
const killEnv = "STORE_TEST_KILL_DIR"

// TestMain lets the test binary play the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(killEnv); dir != "" {
		if err := victim(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// victim ingests two sources, one session each, and embeds all crops. It has no memory
// of earlier attempts: it is the command that a user runs again.
func victim(dir string) error {
	for session, s := range killSources {
		w, err := store.OpenWriter(dir, storetest.Contract, store.WriterOptions{ShardRows: 16, Logger: storetest.Quiet})
		if err != nil {
			return err
		}
		if err := appendAll(w, s, 60*session, 60*session+100); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
	}
	d, err := store.Open(dir, store.WithLogger(storetest.Quiet))
	if err != nil {
		return err
	}
	w, err := cache.Create(d, storetest.Info(cache.FP16, true))
	if err != nil {
		return err
	}
	for _, shard := range w.MissingShards() {
		if err := storetest.TryShard(d, w, w.Info(), shard, nil); err != nil {
			return err
		}
	}
	return w.Close()
}

var killSources = []store.SourceInfo{
	{Kind: "folder", Path: "a", Detector: "none"},
	{Kind: "folder", Path: "b", Detector: "none"},
}

func appendAll(w *store.Writer, s store.SourceInfo, lo, hi int) error {
	src := w.AddSource(s)
	for i := lo; i < hi; i++ {
		if i%9 == 4 {
			if err := w.Reject(store.Reject{Source: src, Key: fmt.Sprintf("broken/%d", i), Stage: "decode", Reason: "truncated"}); err != nil {
				return err
			}
		}
		for _, c := range []store.Crop{storetest.Crop(src, i), storetest.Crop(src, i-i%20)} {
			if c.Key != storetest.Crop(src, i).Key {
				c.Key = fmt.Sprintf("twin/%d", i)
			}
			if w.Seen(src, c.Key) {
				continue
			}
			if _, err := w.Append(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// A run that is killed at random moments and started again until it succeeds makes,
// byte for byte, what an uninterrupted run makes.
func TestKilledAtRandomMoments(t *testing.T) {
	binary, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	want := filepath.Join(storetest.MemoryDir(t), "whole")
	began := time.Now()
	if err := runVictim(t.Context(), binary, want); err != nil {
		t.Fatal(err)
	}
	whole := time.Since(began)
	storetest.CleanCheck(t, want)

	rounds, kills := 8, 0
	if testing.Short() {
		rounds = 2
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, an uninterrupted run takes %v", seed, whole)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range rounds {
		dir := filepath.Join(storetest.MemoryDir(t), "killed")
		for attempt := 0; ; attempt++ {
			// Later attempts get more time, so that the loop ends on any machine.
			limit := time.Duration(rng.Int64N(int64(whole) << (attempt / 4)))
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			err := runVictim(ctx, binary, dir)
			cancel()
			if err == nil {
				break
			}
			if ctx.Err() == nil {
				t.Fatalf("attempt %d: %v", attempt, err)
			}
			kills++
			readable(t, dir)
		}
		storetest.SameContents(t, dir, want)
		storetest.CleanCheck(t, dir)
	}
	t.Logf("killed %d times", kills)
}

// readable fails if a killed run left anything that a reader takes for damage.
func readable(t *testing.T, dir string) {
	t.Helper()
	d, err := store.Open(dir, store.WithLogger(storetest.Quiet))
	if err != nil {
		return // no dataset yet, which TestOpenErrors is about
	}
	defer storetest.Close(t, d)
	if r, err := check.Run(t.Context(), dir, check.Options{}); err != nil || !r.OK {
		t.Fatalf("after a kill: %+v, %v", r, err)
	}
}

func runVictim(ctx context.Context, binary, dir string) error {
	cmd := exec.CommandContext(ctx, binary)
	cmd.Env = append(os.Environ(), killEnv+"="+dir)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGKILL) }
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
