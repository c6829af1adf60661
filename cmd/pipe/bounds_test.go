package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// No flag of any verb takes a number however large, and who gives such a one is told which flag
// it is, before anything else is looked at.
func TestEveryFlagIsBounded(t *testing.T) {
	arguments := map[string]string{"distill": "d --out o"}
	seen := 0
	eachCommand((&session{}).rootCommand(), func(c *cobra.Command) {
		path := strings.Fields(c.CommandPath())[1:]
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			for _, huge := range []string{"9223372036854775807", "1e300", "2592001s", "-9223372036854775808", "NaN"} {
				if strings.HasSuffix(f.Name, "seed") || !isNumber(f) || f.Value.Set(huge) != nil {
					continue
				}
				if c.Name() == "distill" && strings.HasPrefix(huge, "-") {
					continue // where it stands for a default
				}
				seen++
				args := slices.Concat(path, []string{"--" + f.Name + "=" + huge}, strings.Fields(arguments[c.Name()]))
				if f.Name == "rendezvous-timeout" {
					t.Setenv("RANK", "0")
					t.Setenv("WORLD_SIZE", "2")
					t.Setenv("MASTER_ADDR", "127.0.0.1")
				}
				var stdout, stderr bytes.Buffer
				code := run(t.Context(), args, &stdout, &stderr)
				if code != exitUsage || !strings.Contains(stderr.String(), f.Name) {
					t.Errorf("pipe %s ends with %d: %s", strings.Join(args, " "), code, stderr.String())
				}
			}
		})
	})
	if seen < 80 {
		t.Errorf("only %d flags are seen", seen)
	}
}

// isNumber is whether a flag has a number, or several.
func isNumber(f *pflag.Flag) bool {
	return !slices.Contains([]string{"string", "bool", "stringArray", "stringSlice", "name", "file"}, f.Value.Type())
}

func eachCommand(c *cobra.Command, visit func(*cobra.Command)) {
	if c.HasParent() && c.Runnable() && !c.HasSubCommands() {
		visit(c)
	}
	for _, sub := range c.Commands() {
		eachCommand(sub, visit)
	}
}
