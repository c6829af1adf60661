package student

import (
	"errors"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"facepipe/internal/worker"
)

// numericFields are the paths and values of the numbers in a struct and those in it.
func numericFields(v reflect.Value, path string, visit func(path string, f reflect.Value)) {
	for i := range v.NumField() {
		f, name := v.Field(i), path+v.Type().Field(i).Name
		switch {
		case !f.CanSet():
		case f.Kind() == reflect.Struct:
			numericFields(f, name+".", visit)
		case f.CanInt() || f.CanUint() || f.CanFloat():
			visit(name, f)
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Float64:
			for i := range f.Len() {
				visit(name, f.Index(i))
			}
		}
	}
}

// No number of a run's settings is taken however large, and who gives such a one is told which it
// is. Losses have a test of their own.
func TestEveryOptionIsBounded(t *testing.T) {
	free := []string{"SamplingOptions.Seed", "MachineOptions.World.Worker.Index", "MachineOptions.World.Local", "MachineOptions.World.Port"}
	called := map[string]string{"LR": "lr", "WarmupEpochs": "warmup", "EMA": "ema", "World.Worker.Count": "ranks"}
	o := DefaultOptions()
	o.World = worker.Rank{Worker: worker.Worker{Index: 0, Count: 2}, Host: "localhost", Port: 1}
	if err := o.validate(); err != nil {
		t.Fatal(err)
	}
	seen := 0
	numericFields(reflect.ValueOf(&o).Elem(), "", func(path string, f reflect.Value) {
		if slices.Contains(free, path) {
			return
		}
		seen++
		usual := reflect.New(f.Type()).Elem()
		usual.Set(f)
		defer f.Set(usual)
		switch {
		case f.CanInt():
			f.SetInt(math.MaxInt64)
		case f.CanUint():
			f.SetUint(math.MaxUint64)
		default:
			f.SetFloat(1e30)
		}
		_, short, _ := strings.Cut(path, ".")
		name, ok := called[short]
		if !ok {
			name = short[strings.LastIndex(short, ".")+1:]
		}
		plain := strings.NewReplacer("-", "", "_", "").Replace
		if err := o.validate(); !errors.Is(err, ErrUsage) || !strings.Contains(plain(strings.ToLower(err.Error())), strings.ToLower(name)) {
			t.Errorf("%s: %v", path, err)
		}
	})
	if seen < 25 {
		t.Errorf("only %d numbers are seen", seen)
	}
}

// Settings may be too large together where none is by itself.
func TestOptionsAreBoundedTogether(t *testing.T) {
	for name, set := range map[string]func(o *Options){
		"batch":               func(o *Options) { o.Batch, o.Workers = mostBatch, mostThreads },
		"width":               func(o *Options) { o.Network, o.Size.Width, o.Size.Dim = "ir100", 8, 4096 },
		"rendezvous-timeout":  func(o *Options) { o.World.Count, o.RendezvousTimeout = 2, math.MaxInt64*time.Nanosecond },
		"epochs 1000000 of 2": func(o *Options) { o.Epochs = mostEpochs },
	} {
		o := DefaultOptions()
		set(&o)
		err := o.validate()
		if err == nil {
			_, err = o.schedule(2000)
		}
		if !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := within("epochs", 0, 1, 2); err == nil {
		t.Error("0 is taken")
	}
}

// Without a number of workers there is one a core, but on a GPU no more than have 2 GiB of crops
// ready: they wait in its memory.
func TestUsualWorkers(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(96))
	for _, c := range []struct {
		device             string
		batch, ranks, want int
	}{{"cpu", 1024, 1, 96}, {"cuda", 128, 1, 96}, {"cuda", 1024, 1, 55}, {"cuda:1", 1024, 8, 96}, {"cuda", 65536, 1, 2}} {
		o := DefaultOptions()
		o.Device, o.Batch, o.World.Count = c.device, c.batch, c.ranks
		if got := o.usualWorkers(); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}
