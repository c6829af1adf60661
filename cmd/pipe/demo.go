package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/eval"
	"facepipe/eval/protocol"
	"facepipe/eval/report"
	"facepipe/ingest"
	"facepipe/internal/durable"
	"facepipe/internal/ort"
	"facepipe/internal/synthface"
	"facepipe/store/cache"
	"facepipe/student"
	"facepipe/teacher"
	"facepipe/testdata"
)

// The demo's people are of a seed that the bundled teacher has not seen, and those it
// measures on come after those it trains on.
const (
	demoSeed       = 20260101
	demoTrainShots = 10 // pictures of each person
	demoTestShots  = 8
	demoTeacher    = "teacher" // the name of its cache
)

type demoOptions struct {
	out        string
	people     int
	testPeople int
	epochs     int
	width      float64
}

// demoSummary holds the summaries of the verbs, in the order they ran.
type demoSummary struct {
	Train             ingest.Summary  `json:"ingest_train"`
	Test              ingest.Summary  `json:"ingest_test"`
	PrecomputeTeacher teacher.Summary `json:"precompute_teacher"`
	Distill           student.Summary `json:"distill"`
	Eval              report.Report   `json:"eval"`
	Seconds           float64         `json:"seconds"`
}

func (o *demoOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "demo --out DIR",
		Short: "Go the whole way once, from ingest to eval, on generated faces",
		Long: `Demo draws people, ingests their photographs, caches the embeddings of a small
bundled teacher, trains a student on them and measures both on people that the
training has not seen. It leaves in DIR what each verb leaves:

  train/, test/        generated photographs, landmarks, pairs
  train.ds, test.ds    datasets; train.ds holds the teacher's cache
  run/                 the run of the student, with run/student.onnx
  report/              the evaluation

Interrupted, the same command goes on.`,
		Example: `  pipe demo --out demo.out`,
	}
}

func (o *demoOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.out, "out", "", "`folder` for everything that is made (required)")
	f.IntVar(&o.people, "people", 160, "number of people to train on")
	f.IntVar(&o.testPeople, "test-people", 60, "number of people to measure on")
	f.IntVar(&o.epochs, "epochs", 6, "epochs of the student's training")
	f.Float64Var(&o.width, "width", 0.5, "`factor` on the channels of the student's layers")
}

func (o *demoOptions) validate(args []string) error {
	return errors.Join(
		noArguments(args), required("--out", o.out),
		positive("--people", o.people), positive("--test-people", o.testPeople), positive("--epochs", o.epochs),
	)
}

func (o *demoOptions) run(ctx context.Context, s *session) (*result, error) {
	begun := time.Now()
	d := &demo{demoOptions: *o, session: s}
	for _, step := range []func(context.Context) error{d.ingest, d.precompute, d.distill, d.eval} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("demo: %w", err)
		}
	}
	d.summary.Seconds = time.Since(begun).Seconds()
	return &result{d.summary, d.print}, nil
}

// demo runs the verbs one after the other, as a user would.
type demo struct {
	demoOptions
	session *session
	summary demoSummary
	pairs   string
}

func (d *demo) path(name string) string { return filepath.Join(d.out, name) }

// say announces a step on stderr, in the words of the command line.
func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.session.progress(), "== "+format+"\n", args...)
}

func (d *demo) ingest(ctx context.Context) (err error) {
	d.summary.Train, _, err = d.ingestPeople(ctx, "train", synthface.FolderOptions{
		Identities: d.people, PerIdentity: demoTrainShots, Seed: demoSeed, Hard: synthface.DefaultHard,
	})
	if err != nil {
		return err
	}
	d.summary.Test, d.pairs, err = d.ingestPeople(ctx, "test", synthface.FolderOptions{
		FirstIdentity: d.people, Identities: d.testPeople, PerIdentity: demoTestShots, Seed: demoSeed, Hard: synthface.DefaultHard,
	})
	return err
}

// ingestPeople draws people and makes a dataset of them.
func (d *demo) ingestPeople(ctx context.Context, name string, o synthface.FolderOptions) (s ingest.Summary, pairs string, err error) {
	d.say("draw %d photographs of %d people", o.Identities*o.PerIdentity, o.Identities)
	faces, err := synthface.WriteFolder(ctx, d.path(name), o)
	if err != nil {
		return s, "", err
	}
	d.say("pipe ingest --source folder=%s --landmarks %s --out %s", faces.ImageDir, faces.LandmarksFile, d.path(name+".ds"))
	s, err = ingest.Run(ctx, ingest.Options{
		Sources: []string{"folder=" + faces.ImageDir}, Landmarks: faces.LandmarksFile, Out: d.path(name + ".ds"),
		Progress: d.session.progress(),
	})
	return s, faces.PairsFile, err
}

func (d *demo) precompute(ctx context.Context) (err error) {
	model := d.path("teacher.onnx")
	if err := durable.WriteFile(model, testdata.Teacher, 0o644); err != nil {
		return err
	}
	d.say("pipe precompute-teacher %s --teacher %s --name %s --flip", d.path("train.ds"), model, demoTeacher)
	d.summary.PrecomputeTeacher, err = teacher.Precompute(ctx, teacher.Options{
		Dataset: d.path("train.ds"), Model: model, Name: demoTeacher, Preprocess: "auto", Flip: true, DType: cache.FP16,
		Runtime: ort.Options{Library: d.session.onnxruntime}, Version: version, Progress: d.session.progress(),
	})
	return err
}

func (d *demo) distill(ctx context.Context) (err error) {
	o := student.DefaultOptions()
	o.Dataset, o.Teacher, o.Out, o.Resume = d.path("train.ds"), demoTeacher, d.path("run"), true
	o.Epochs, o.Size.Width, o.Progress = d.epochs, d.width, d.session.progress()
	d.say("pipe distill %s --teacher %s --width %g --epochs %d --out %s --resume", o.Dataset, o.Teacher, o.Size.Width, o.Epochs, o.Out)
	d.summary.Distill, err = student.Distill(ctx, o)
	return err
}

func (d *demo) eval(ctx context.Context) (err error) {
	o := eval.DefaultOptions()
	o.Dataset, o.Tests, o.Out = d.path("test.ds"), []eval.Test{{Protocol: protocol.Pairs, List: d.pairs}}, d.path("report")
	o.Models = []string{d.path("teacher.onnx"), d.summary.Distill.ONNX}
	o.Runtime.Library, o.Progress = d.session.onnxruntime, d.session.progress()
	d.say("pipe eval --model %s --model %s --dataset %s --pairs %s --out %s", o.Models[0], o.Models[1], o.Dataset, d.pairs, o.Out)
	d.summary.Eval, err = eval.Run(ctx, o)
	return err
}

func (d *demo) print(w io.Writer) {
	printEvaluated(w, d.summary.Eval, d.path("report"))
	for _, made := range []struct{ what, where string }{
		{"photographs", d.path("train") + ", " + d.path("test")},
		{"datasets", d.path("train.ds") + ", " + d.path("test.ds")},
		{"student", d.summary.Distill.ONNX},
	} {
		fmt.Fprintf(w, "%-12s %s\n", made.what, made.where)
	}
	fmt.Fprintf(w, "done in %.0f s\n", d.summary.Seconds)
}
