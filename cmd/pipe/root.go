package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/internal/metrics"
	"facepipe/internal/plain"
)

// session is one run of the program: its streams, which quote what a terminal would obey, the flags that every verb takes,
// and what the verb has to say in the end.
type session struct {
	stdout, stderr io.Writer
	given          []string // the command line

	json        bool
	quiet       bool
	onnxruntime string
	metrics     string

	server *metrics.Server // nil unless asked for
	result *result
	// startsAnew is whether the same command would not go on with what this one did.
	startsAnew bool
}

// run executes the command line and returns the exit status. A verb that goes on later
// stops when ctx is done.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	out, errs := plain.NewWriter(stdout), plain.NewWriter(stderr)
	if stderr == io.Writer(os.Stderr) {
		log.SetOutput(errs) // where slog.Default writes, too
	}
	s := &session{stdout: out, stderr: errs, given: append([]string{"pipe"}, args...)}
	root := s.rootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	// Flags after one that is wrong are not looked at, but whoever asked for JSON
	// waits for it all the same.
	s.json = s.json || slices.Contains(args, "--json")
	code := s.finish(err)
	if err := errors.Join(out.Flush(), errs.Flush()); err != nil {
		return max(code, exitFailed)
	}
	return code
}

func (s *session) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "pipe",
		Short: "Distill small face-recognition networks from a cached teacher",
		Long: `pipe distills small face-recognition networks. The teacher looks at every face
once; students, losses and settings are then tried at the price of the student.

  photos -> ingest -> precompute-teacher -> distill -> eval -> report`,
		Example: `  pipe ingest --source folder=photos --detector scrfd=det.onnx --out faces.ds
  pipe precompute-teacher faces.ds --teacher teacher.onnx --flip
  pipe distill faces.ds --teacher teacher --epochs 20 --out run
  pipe eval --model run/student.onnx --dataset faces.ds --pairs pairs.txt --out report`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE:          unknownVerb,

		SuggestionsMinimumDistance: 2,
		CompletionOptions:          cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetOut(s.stdout)
	root.SetErr(s.stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usagef("%s: %w", c.Name(), err) })
	root.SetHelpTemplate(root.HelpTemplate() + exitStatus)
	s.addFlags(root.PersistentFlags())
	root.AddCommand(
		s.command(new(ingestOptions)),
		s.command(new(precomputeOptions)),
		s.command(new(distillOptions)),
		s.command(new(launchOptions)),
		s.command(new(evalOptions)),
		s.command(new(embedOptions)),
		s.command(new(compareOptions)),
		s.command(new(reportOptions)),
		s.command(new(checkOptions)),
		s.command(new(infoOptions)),
		s.teachersCommand(),
		s.planCommand(),
		s.command(new(mergeOptions)),
		s.indexCommand(),
		s.command(new(exportOptions)),
		s.command(new(netsOptions)),
		s.command(new(lossesOptions)),
		s.command(new(demoOptions)),
		s.command(new(doctorOptions)),
		s.command(new(versionOptions)),
		s.command(new(peakMemoryOptions)),
	)
	return root
}

func (s *session) addFlags(f *pflag.FlagSet) {
	f.SortFlags = false
	f.BoolVar(&s.json, "json", false, "print exactly one JSON object, the summary, on stdout")
	f.BoolVarP(&s.quiet, "quiet", "q", false, "show no progress on stderr")
	f.StringVar(&s.metrics, "metrics", "", "serve Prometheus metrics on this `address` while the verb runs: PORT, or HOST:PORT for other machines, too; port 0 takes a free one")
	f.StringVar(&s.onnxruntime, "onnxruntime", "", "ONNX Runtime `library` to load (default: $PIPE_ONNXRUNTIME, the pinned one, the system's)")
}

// unknownVerb is what the root command does, as all work is in verbs.
func unknownVerb(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef("name a verb: %s", strings.Join(verbNames(c), ", "))
	}
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		return usagef("unknown verb %q; did you mean %s?", args[0], strings.Join(near, " or "))
	}
	return usagef("unknown verb %q", args[0])
}

func verbNames(c *cobra.Command) []string {
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return names
}

// verb is what a file of this package defines: a struct of options that knows how
// to describe itself, to take its flags, and to run.
type verb interface {
	// describe returns the texts of the command and how it takes arguments.
	describe() *cobra.Command
	// addFlags binds the options to flags.
	addFlags(*pflag.FlagSet)
	// validate reports wrong usage; args are the positional arguments.
	validate(args []string) error
	// run makes the library call. A result may come with an error: a run that was
	// stopped or refused too much still has something to say.
	run(context.Context, *session) (*result, error)
}

// follower is a verb that may run as one of several processes and not be the one that
// speaks for all.
type follower interface{ follows() bool }

// starter is a verb that goes on with what an earlier command did only if it is told to.
type starter interface{ startsAnew() bool }

// headed is a verb whose help shows its flags in groups: headings has the title of each group
// by the group's first flag.
type headed interface{ headings() map[string]string }

// setHeadings has the help of a command show its flags under headings.
func setHeadings(c *cobra.Command, headings map[string]string) {
	const all = "Flags:\n{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}"
	c.InitDefaultHelpFlag()
	var text strings.Builder
	group := pflag.NewFlagSet("", pflag.ContinueOnError)
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if title, ok := headings[f.Name]; ok {
			text.WriteString(group.FlagUsages())
			fmt.Fprintf(&text, "\n%s:\n", title)
			group = pflag.NewFlagSet("", pflag.ContinueOnError)
			group.SortFlags = false
		}
		group.AddFlag(f)
	})
	text.WriteString(group.FlagUsages())
	c.SetUsageTemplate(strings.Replace(c.UsageTemplate(), all, strings.TrimSpace(text.String()), 1))
}

// command turns a verb into a cobra command.
func (s *session) command(v verb) *cobra.Command {
	c := v.describe()
	c.Flags().SortFlags = false
	v.addFlags(c.Flags())
	if h, ok := v.(headed); ok {
		setHeadings(c, h.headings())
	}
	c.RunE = func(c *cobra.Command, args []string) (err error) {
		if err := errors.Join(v.validate(args), bounded(c)); err != nil {
			return usagef("%s: %w", c.Name(), err)
		}
		if f, ok := v.(follower); ok && f.follows() {
			s.metrics = "" // a port is for one process of a machine
		}
		if a, ok := v.(starter); ok {
			s.startsAnew = a.startsAnew()
		}
		if s.metrics != "" {
			if s.server, err = metrics.Serve(s.metrics); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.server.Close()) }()
			fmt.Fprintf(s.stderr, "metrics on http://%s/metrics\n", s.server.Address())
		}
		s.result, err = v.run(c.Context(), s)
		return err
	}
	return c
}

// progress is where a library may show how far it is.
func (s *session) progress() io.Writer {
	w := s.stderr
	if s.quiet {
		w = io.Discard
	}
	if s.server != nil {
		return s.server.Watch(w)
	}
	return w
}
