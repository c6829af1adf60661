package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/internal/launch"
)

type launchOptions struct {
	launch.Options
	args []string // of each rank: its verb and what follows
}

func (o *launchOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "launch --nproc N -- distill DATASET ...",
		Short: "Start the ranks of a distill on this machine",
		Long: `Launch starts N processes of the distill that follows "--", each a rank with its share
of every batch, and tells them by torchrun's environment how to meet: RANK, WORLD_SIZE,
LOCAL_RANK, MASTER_ADDR, MASTER_PORT. The cores are divided among them, and of several
GPUs each takes its own (--device cuda).

For several machines run it on each of them with the same --nnodes, --master-addr and
--master-port. Under srun or torchrun there is nothing to launch: distill finds their
environment by itself.

Lines that a rank prints begin with its number in brackets. When one fails the others are
ended, and its exit status is launch's; one that crashed makes launch end with 134, too.`,
		Example: `  pipe launch --nproc 2 -- distill faces.ds --teacher w600k --batch 128 --out run
  pipe launch --nproc 8 --nnodes 2 --node-rank 1 --master-addr 10.0.0.7 --master-port 29500 -- \
      distill faces.ds --teacher w600k --device cuda --batch 2048 --out /shared/run`,
	}
}

func (o *launchOptions) addFlags(f *pflag.FlagSet) {
	f.SetInterspersed(false) // what follows the verb is the verb's
	f.IntVar(&o.Processes, "nproc", 0, "ranks on this machine (required)")
	f.IntVar(&o.Nodes, "nnodes", 1, "machines")
	f.IntVar(&o.Node, "node-rank", 0, "`number` of this machine, from 0")
	f.StringVar(&o.Host, "master-addr", "", "`address` of machine 0 (default: this machine)")
	f.IntVar(&o.Port, "master-port", 0, "`port` there (default: 29500; of one machine, a free one)")
}

func (o *launchOptions) validate(args []string) error {
	o.args = args
	switch {
	case len(args) == 0 || args[0] != "distill":
		return errors.New("name what each rank runs: launch --nproc N -- distill DATASET")
	case o.Nodes > 1 && o.Host == "":
		return errors.New("--nnodes needs --master-addr")
	case o.Node < 0 || o.Node >= o.Nodes:
		return fmt.Errorf("--node-rank %d is not one of 0 to %d", o.Node, o.Nodes-1)
	case o.Port < 0 || o.Port > 65535:
		return fmt.Errorf("--master-port %d is no port", o.Port)
	}
	return errors.Join(positive("--nproc", o.Processes), positive("--nnodes", o.Nodes))
}

// startsAnew reads the flag that is distill's.
func (o *launchOptions) startsAnew() bool {
	resume := false
	for _, arg := range o.args {
		if value, ok := strings.CutPrefix(arg, "--resume="); ok {
			resume, _ = strconv.ParseBool(value) // distill refuses another
		} else if arg == "--resume" {
			resume = true
		}
	}
	return !resume
}

func (o *launchOptions) run(ctx context.Context, s *session) (*result, error) {
	var err error
	if o.Program, err = os.Executable(); err != nil {
		return nil, err
	}
	o.Args, o.Cores = o.args, runtime.GOMAXPROCS(0)
	o.Stdout, o.Stderr = s.stdout, s.stderr
	if s.json || slices.Contains(o.args, "--json") {
		return o.runJSON(ctx, s)
	}
	return nil, launch.Run(ctx, o.Options)
}

// runJSON passes on what rank 0 prints: one JSON object, whatever the other ranks have
// to say.
func (o *launchOptions) runJSON(ctx context.Context, s *session) (*result, error) {
	if !slices.Contains(o.Args, "--json") {
		o.Args = append(slices.Clone(o.Args), "--json")
	}
	summary := new(bytes.Buffer)
	o.Stdout, o.Summary, s.json = io.Discard, summary, true
	err := launch.Run(ctx, o.Options)
	if !json.Valid(summary.Bytes()) {
		return nil, err
	}
	return &result{value: json.RawMessage(summary.Bytes())}, err
}
