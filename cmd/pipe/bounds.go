package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// most is how large the number of a flag may be, by the flag's name or, where it means something
// else there, by the name of the command, or of the one above it, and its own. What is larger is a
// slip of the hand, and would ask for memory, threads or time that no machine has. Those of distill
// are a config's, too: student has their bounds. Seeds may be any number.
var most = map[string]float64{
	"threads": 4096, "workers": 4096, "batch": 4096, "distill batch": 1 << 16,
	"plan workers": 1e6, "plan max-running": 1e6, "cpus": 4096, "plan memory": 1 << 20, "gpu-memory": 1 << 50, "gpus": maxDevices, "task-items": 1e9,
	"nproc": 1024, "nnodes": 65536, "node-rank": 65535, "master-port": 65535,
	"replay": 1e9, "min-cosine": 1, "seconds-per-step": 1e6, "auto-pairs": 1e8, "pairs": 1e8, "far": 1,
	"shard-crops": 1e9, "opset": 21, "shard-rows": math.MaxInt32, "max-reject-rate": 1, "min-accuracy": 1,
	"det-size": 8192, "min-score": 1, "min-images": 1e9, "crop-size": 1024, "jpeg-quality": 100,
	"min-face": 1e6, "min-sharpness": 1e9, "max-yaw": 180, "max-pitch": 180, "max-roll": 180,
	"k": 1024, "exact-up-to": math.MaxInt32, "dim": 4096, "width": 8,
	"people": 100_000, "test-people": 100_000, "epochs": 1e6,
}

// bounded refuses flags of the command line whose number is larger than it may be, or is none.
func bounded(c *cobra.Command) (err error) {
	c.Flags().Visit(func(f *pflag.Flag) {
		limit, ok := limitOf(c, f.Name)
		if !ok || err != nil || strings.HasPrefix(f.Value.Type(), "string") { // a file may be called 1e99
			return
		}
		for _, text := range valuesOf(f.Value) {
			if v, notNumber := strconv.ParseFloat(text, 64); notNumber == nil && !(math.Abs(v) <= limit) {
				err = fmt.Errorf("--%s %s is not a number of at most %.10g", f.Name, text, limit)
			}
		}
	})
	return err
}

// limitOf is how large the number of a command's flag may be, if that is for this table to say.
func limitOf(c *cobra.Command, flag string) (limit float64, ok bool) {
	for _, name := range []string{c.Name() + " " + flag, c.Parent().Name() + " " + flag, flag} {
		if limit, ok = most[name]; ok {
			break
		}
	}
	return limit, ok
}

// valuesOf are the values of a flag, which may have several.
func valuesOf(v pflag.Value) []string {
	if list, ok := v.(pflag.SliceValue); ok {
		return list.GetSlice()
	}
	return []string{v.String()}
}
