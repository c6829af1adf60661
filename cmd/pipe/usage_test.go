package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"facepipe/ingest"
	"facepipe/internal/crash"
	"facepipe/store"
	"facepipe/store/merge"
	"facepipe/student"
	"facepipe/teacher"
)

func TestExitCodes(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("verb object: %w", err) }
	for _, tt := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{wrap(fmt.Errorf("anything")), 1},
		{wrap(store.ErrLocked), 1},
		{usagef("--out is missing"), 2},
		{wrap(student.ErrUsage), 2},
		{wrap(teacher.ErrSeveral), 2},
		{wrap(&ingest.RejectRateError{Rejected: 1, Seen: 2, Max: 0.05}), 3},
		{wrap(&teacher.RejectRateError{Invalid: 1, Embeddings: 2, Max: 0.05}), 3},
		{wrap(&merge.ConflictRateError{Rejected: 1, Seen: 2, Max: 0.05}), 3},
		{wrap(store.ErrDamaged), 4},
		{wrap(context.Canceled), 75},
		{fmt.Errorf("%w while closing: %w", context.Canceled, store.ErrDamaged), 75},
	} {
		if got := exitCode(tt.err); got != tt.want {
			t.Errorf("exitCode(%v) = %d, want %d", tt.err, got, tt.want)
		}
	}
}

func TestWrongUsage(t *testing.T) {
	for _, tt := range []struct {
		name string
		args string
		want string // in the message
	}{
		{"no verb", "", "name a verb"},
		{"unknown verb", "frobnicate", "unknown verb"},
		{"nearly a verb", "chek", "did you mean check"},
		{"unknown flag", "check d --frob", "unknown flag"},
		{"flag without its value", "distill d --out", "needs an argument"},
		{"number that is none", "distill d --out o --epochs many", "invalid argument"},
		{"ingest without a source", "ingest --out d", "no source"},
		{"ingest without out", "ingest --source folder=p", "no dataset"},
		{"ingest from an unknown kind", "ingest --source drawer=p --out d", "drawer"},
		{"ingest with an unknown detector", "ingest --source folder=p --out d --detector eyes", "eyes"},
		{"ingest into an unknown store", "ingest --source folder=p --out d --store heap", "heap"},
		{"ingest with a negative number", "ingest --source folder=p --out d --workers -1", "negative"},
		{"ingest with a rate above one", "ingest --source folder=p --out d --max-reject-rate 2", "0..1"},
		{"ingest with an unknown decoder", "ingest --source folder=p --out d --decoder eyes", "eyes"},
		{"ingest of unknown faces", "ingest --source folder=p --out d --faces none", "none"},
		{"ingest of two sets of numbers", "ingest --source bin=a.bin --source bin=b.bin --out d", "key prefix of its own"},
		{"ingest with prefixes amiss", "ingest --source folder=p --key-prefix a --key-prefix b --out d", "2 key prefixes for 1 sources"},
		{"ingest into bad JPEGs", "ingest --source folder=p --out d --crop-format jpeg --jpeg-quality 80", "95..100"},
		{"ingest with half a split", "ingest --source folder=p --out d --split train=0.5", "add up"},
		{"ingest with a negative limit", "ingest --source folder=p --out d --min-face -1", "min-face"},
		{"ingest of a share of nothing", "ingest --source folder=p --out d --worker 0/2", "--worker needs --plan"},
		{"share of an ingest with a gate", "ingest --plan p --min-face 20", "--min-face is the plan's matter"},
		{"share of an ingest with other shards", "ingest --plan p --shard-rows 8", "--shard-rows is the plan's matter"},
		{"share of an ingest with another size", "ingest --plan p --crop-size 160", "--crop-size is the plan's matter"},
		{"ingest of crops of no size", "ingest --source folder=p --out d --crop-size 7", "32..1024"},
		{"plan of crops of no size", "plan ingest --source folder=p --out d --plan p --crop-size 7000", "32..1024"},
		{"share of an ingest with a detector", "ingest --plan p --detector none", "--detector is the plan's matter"},
		{"share of an ingest into a dataset", "ingest --plan p --out d", "--out is the plan's matter"},
		{"share of an ingest with a rate", "ingest --plan p --max-reject-rate 0.5", "--max-reject-rate is the matter of pipe merge"},
		{"ingest with an argument", "ingest photos --out d", "unexpected argument"},
		{"check without a dataset", "check", "name a dataset"},
		{"check of two", "check a b", "one dataset at a time"},
		{"replay without a model", "check d --replay 5", "--replay needs --model, the ONNX file"},
		{"replay of nothing", "check d --model m.onnx", "--model needs --replay"},
		{"provider of no replay", "check d --provider cpu", "--provider needs --replay"},
		{"replay on an unknown provider", "check d --replay 5 --model m.onnx --provider abacus", "abacus"},
		{"replay in no batches", "check d --replay 5 --model m.onnx --batch 0", "neither auto nor"},
		{"replay with negative threads", "check d --replay 5 --model m.onnx --threads -1", "negative"},
		{"check of a part that is not there", "check d --read-data-subset 4/3", "n from 1 to t"},
		{"check of too much", "check d --read-data-subset 101%", "up to 100"},
		{"check of all and of a part", "check d --read-data --read-data-subset 1/3", "--read-data reads everything"},
		{"merge of one", "merge a --out c", "two datasets or more"},
		{"merge with a prefix for some", "merge a b --out c --key-prefix p/", "1 key prefixes for 2 datasets"},
		{"merge of a plan with prefixes", "merge --plan job --key-prefix p/", "--key-prefix is the plan's matter"},
		{"merge without out", "merge a b", "--out is missing"},
		{"merge with a rate above one", "merge a b --out c --max-reject-rate 2", "0 to 1"},
		{"export without a kind", "export d --out o", "--to is missing"},
		{"export to an unknown kind", "export d --to drawer --out o", "drawer"},
		{"export of embeddings without a teacher", "export d --to npy --out o", "teacher"},
		{"export of a dataset in a student's form", "export d --to folder --out o --opset 13", "--opset needs --checkpoint"},
		{"export of a checkpoint and a dataset", "export d --checkpoint r --out o", "unexpected argument"},
		{"export of a checkpoint as a folder", "export --checkpoint r --to folder --out o", "--to is of a dataset"},
		{"export of a checkpoint to nowhere", "export --checkpoint r", "--out is missing"},
		{"export of a checkpoint in an unknown type", "export --checkpoint r --out o --dtype fp8", "fp8"},
		{"export of a checkpoint with an unknown norm", "export --checkpoint r --out o --embedding-norm beside", "beside"},
		{"export of a checkpoint of an unknown opset", "export --checkpoint r --out o --opset 7", "11 to 21"},
		{"export in shards of nothing", "export d --to webdataset --out o --shard-crops 0", "less than 1"},
		{"info of two", "info a b", "one dataset at a time"},
		{"reuse of nothing", "precompute-teacher d --teacher t.onnx --reuse=", "--reuse is empty"},
		{"teachers of nothing", "teachers", "name a dataset"},
		{"teachers of two", "teachers a b", "one dataset at a time"},
		{"compare of one teacher", "teachers compare d a", "two of its teachers"},
		{"compare of no pairs", "teachers compare d a b --pairs 0", "less than 1"},
		{"centres of no teacher", "teachers centres d", "one of its teachers"},
		{"neighbours of no teacher", "teachers neighbours d", "one of its teachers"},
		{"no neighbours", "teachers neighbours d t --k 0", "1 to 1024"},
		{"neighbours exact up to nothing", "teachers neighbours d t --exact-up-to 0", "at least 1"},
		{"classifier of nothing", "teachers classifier d t", "--from is missing"},
		{"classifier named twice", "teachers classifier d t --from w.npy --identities n --prefix p", "names the rows"},
		{"drop of all", "teachers drop d", "one of its teachers"},
		{"drop of several", "teachers drop d a b", "one of its teachers"},
		{"index without a verb", "index", "name a verb: rebuild"},
		{"index with another verb", "index drop", "drop"},
		{"index rebuild of nothing", "index rebuild", "name a dataset"},
		{"negative replay", "check d --replay -1", "negative"},
		{"precompute without a teacher", "precompute-teacher d", "--teacher is missing"},
		{"precompute of an unknown type", "precompute-teacher d --teacher t.onnx --dtype fp64", "fp64"},
		{"precompute on an unknown provider", "precompute-teacher d --teacher t.onnx --provider abacus", "abacus"},
		{"precompute with an unknown preprocessing", "precompute-teacher d --teacher t.onnx --preprocess magic", "magic"},
		{"precompute with a rate below zero", "precompute-teacher d --teacher t.onnx --max-reject-rate -0.1", "0 to 1"},
		{"precompute with a negative batch", "precompute-teacher d --teacher t.onnx --batch -1", "neither auto nor"},
		{"precompute with an accuracy of no pairs", "precompute-teacher d --teacher t.onnx --min-accuracy 0.9", "--min-accuracy needs --verify-pairs"},
		{"plan with an accuracy of no pairs", "plan precompute-teacher d --teacher t.onnx --plan p --min-accuracy 0.9", "--min-accuracy needs --verify-pairs"},
		{"precompute of a share of nothing", "precompute-teacher d --teacher t.onnx --worker 3/2", "--worker needs --plan"},
		{"share of a plan with its output", "precompute-teacher --plan p --output feature", "--output is the plan's matter"},
		{"share of a plan with its type", "precompute-teacher --plan p --dtype fp16", "--dtype is the plan's matter"},
		{"share of a plan with a rate", "precompute-teacher --plan p --max-reject-rate 0.5", "--max-reject-rate is of a whole cache"},
		{"precompute on a device of no number", "precompute-teacher d --teacher t.onnx --devices 0,x", `"x" is no number of a device`},
		{"precompute on a negative device", "precompute-teacher d --teacher t.onnx --devices -1", `"-1" is no number of a device`},
		{"precompute on a device twice", "precompute-teacher d --teacher t.onnx --devices 0,1 --devices 0", "device 0 is named twice"},
		{"precompute with a dataset of no pairs", "precompute-teacher d --teacher t.onnx --verify-dataset e", "--verify-pairs"},
		{"precompute with a batch beyond memory", "precompute-teacher d --teacher t.onnx --batch 5000", "up to 4096"},
		{"precompute in half precision on the processor", "precompute-teacher d --teacher t.onnx --half", "half precision"},
		{"precompute on a device of the processor", "precompute-teacher d --teacher t.onnx --devices 0,1", "no device 1"},
		{"plan for idle GPUs", "plan precompute-teacher d --teacher t.onnx --plan p --gpus 1", "add --provider"},
		{"plan for fewer than no GPUs", "plan precompute-teacher d --teacher t.onnx --plan p --gpus -1", "negative"},
		{"plan for other devices than are given", "plan precompute-teacher d --teacher t.onnx --plan p --provider cuda --gpus 2 --devices 2", "not among 0 to 1"},
		{"plan for devices that there are not", "plan precompute-teacher d --teacher t.onnx --plan p --provider openvino --gpus 2", "no device 1"},
		{"plan for GPUs of an ingest", "plan ingest --source folder=s --out d --plan p --gpus 1", "unknown flag"},
		{"plan with a reuse of nothing", "plan precompute-teacher d --teacher t.onnx --plan p --reuse=", "--reuse is empty"},
		{"plan for an unknown scheduler", "plan precompute-teacher d --teacher t.onnx --plan p --emit cron", "cron"},
		{"plan for pods without an image", "plan precompute-teacher d --teacher t.onnx --plan p --emit k8s", "image"},
		{"plan for pods that lack the plan", "plan precompute-teacher /data/d --teacher /data/t.onnx --plan /p" + inPods, "/p is not below /data"},
		{"plan for pods that lack the dataset", "plan precompute-teacher /d --teacher /data/t.onnx --plan /data/p" + inPods, "/d is not below /data"},
		{"plan for pods that lack the teacher", "plan precompute-teacher /data/d --teacher /t.onnx --plan /data/p" + inPods, "/t.onnx is not below /data"},
		{"plan for pods that lack what is reused", "plan precompute-teacher /data/d --teacher /data/t.onnx --plan /data/p --reuse /e" + inPods, "/e is not below /data"},
		{"plan for pods that lack photographs", "plan ingest --source folder=/s --out /data/d --plan /data/p" + inPods, "/s is not below /data"},
		{"plan for pods that lack the detector", "plan ingest --source folder=/data/s --detector scrfd=/det.onnx --out /data/d --plan /data/p" + inPods, "/det.onnx is not below /data"},
		{"eval without a model", "eval --dataset d --pairs p", "no model is named"},
		{"eval of a model twice", "eval --dataset d --pairs p --model m.onnx --model m.onnx", "named twice"},
		{"eval without pairs", "eval --dataset d --model m.onnx", "--pairs, --ijb, --all-pairs, --megaface or --bin is missing"},
		{"eval of pairs without a name", "eval --dataset d --model m.onnx --pairs=", "--pairs is empty"},
		{"eval of a list twice", "eval --dataset d --model m.onnx --pairs p --pairs q --pairs p", "p is named twice"},
		{"eval with and without mirror images", "eval --dataset d --model m.onnx --pairs p --flip --no-flip", "--flip and --no-flip contradict each other"},
		{"eval of the cost of no model", "eval --dataset d --teacher t --pairs p --cost", "--cost needs --model"},
		{"eval with the preprocessing of no model", "eval --dataset d --teacher t --pairs p --preprocess raw", "--preprocess needs --model"},
		{"eval of groups without pairs", "eval --dataset d --model m.onnx --all-pairs all --cohort sex", "--cohort needs --pairs or --bin"},
		{"eval with scores of no pairs", "eval --dataset d --model m.onnx --ijb i --scores s.csv", "--scores needs --pairs or --bin"},
		{"eval at a rate that whole sets do not tell", "eval --dataset d --model m.onnx --all-pairs all --far 0.01", "--far 0.01 needs --pairs, --bin or --ijb: of whole sets rates are told up to 0.001"},
		{"eval by a rule without pairs", "eval --dataset d --model m.onnx --megaface g --rule facexzoo", "--rule needs --pairs, --bin or --ijb"},
		{"eval at a false accept rate of none", "eval --dataset d --model m.onnx --pairs p --far 0.1,0", "false accept rate 0 is not between 0 and 1"},
		{"eval at a false accept rate of all", "eval --dataset d --model m.onnx --pairs p --far 1", "false accept rate 1 is not between 0 and 1"},
		{"eval by an unknown rule", "eval --dataset d --model m.onnx --pairs p --rule lfw", "--rule: no rule is called \"lfw\"; there are plain, insightface, facexzoo"},
		{"eval at an unknown pick", "eval --dataset d --model m.onnx --pairs p --far-pick lt", "--far-pick: no way to read TAR at a FAR is called \"lt\"; there are le, nearest, interp"},
		{"eval at a false accept rate in words", "eval --dataset d --model m.onnx --pairs p --far few", "--far"},
		{"eval with an unknown preprocessing", "eval --dataset d --model m.onnx --pairs p --preprocess magic", "magic"},
		{"demo without out", "demo", "--out is missing"},
		{"compare of nothing", "compare --out s", "0 studies are named"},
		{"compare of a study that is not there", "compare no.yaml --out s", "no.yaml"},
		{"compare without out", "compare s.yaml", "--out is missing"},
		{"compare by a worker of no plan", "compare s.yaml --out s --worker 0/2", "--worker needs --plan"},
		{"compare of a plan and a folder", "compare --plan p --out s", "--out is not for a plan"},
		{"compare of a plan and a study", "compare s.yaml --plan p", "unexpected argument"},
		{"plan of a study without out", "plan compare s.yaml --plan p", "--out is missing"},
		{"plan of a study that is not there", "plan compare no.yaml --out s --plan p --emit slurm", "no.yaml"},
		{"distill on no fraction", "distill d --out o --fraction 0", "fraction 0 is not in (0, 1]"},
		{"distill without out", "distill d", "--out is missing"},
		{"distill with an unknown loss", "distill d --out o --loss luck", "luck"},
		{"distill with an unknown student", "distill d --out o --student giant", "giant"},
		{"distill with a missing config", "distill d --out o --config /does/not/exist.yaml", "exist.yaml"},
		{"distill at a negative rate", "distill d --out o --lr -1", "lr -1"},
		{"distill at no rate", "distill d --out o --lr nan", "lr NaN"},
		{"distill with too much momentum", "distill d --out o --momentum 2", "momentum 2"},
		{"distill with an unknown optimizer", "distill d --out o --optimizer lion", "\"lion\" is none of [sgd adamw]"},
		{"distill too wide", "distill d --out o --width 9", "width 9"},
		{"distill on an unknown device", "distill d --out o --device gpu", "none of cpu, cuda"},
		{"nets measured and not", "nets --measure --no-measure", "exclude each other"},
		{"validation dataset without pairs", "distill d --out o --val-dataset v", "--val-pairs"},
		{"version with an argument", "version 2", "unexpected argument"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), strings.Fields(tt.args), &stdout, &stderr)
			if code != exitUsage {
				t.Errorf("exit status %d, want %d", code, exitUsage)
			}
			if !strings.Contains(stderr.String(), tt.want) {
				t.Errorf("stderr %q does not say %q", stderr.String(), tt.want)
			}
			if stdout.Len() > 0 {
				t.Errorf("stdout is %q, want nothing", stdout.String())
			}
		})
	}
}

// The help of distill shows every flag once, under headings in the order of the settings.
func TestHelpOfDistillIsGrouped(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"distill", "--help"}, &stdout, &stderr); code != exitDone {
		t.Fatalf("exit status %d: %s", code, stderr.String())
	}
	text, o := stdout.String(), new(distillOptions)
	o.addFlags(pflag.NewFlagSet("", pflag.ContinueOnError))
	o.flags.VisitAll(func(f *pflag.Flag) {
		if n := strings.Count(text, "\n      --"+f.Name+" "); n != 1 {
			t.Errorf("--%s is listed %d times", f.Name, n)
		}
	})
	for first, title := range o.headings() {
		if !strings.Contains(text, "\n\n"+title+":\n      --"+first+" ") {
			t.Errorf("%s does not begin with --%s", title, first)
		}
	}
}

// inPods asks for a job for Kubernetes.
const inPods = " --emit k8s --image i --claim c --mount /data"

// TestFailureIsJSON: whoever asks for JSON gets one object, whatever happens.
func TestFailureIsJSON(t *testing.T) {
	for _, tt := range []struct {
		args string
		want int
	}{
		{"check /does/not/exist --json", exitFailed},
		{"check --frob --json", exitUsage},
		{"--json", exitUsage},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), strings.Fields(tt.args), &stdout, &stderr)
		var f failure
		if err := json.Unmarshal(stdout.Bytes(), &f); err != nil {
			t.Errorf("%s: %v in %q", tt.args, err, stdout.String())
			continue
		}
		if code != tt.want || f.ExitCode != tt.want || f.Error == "" {
			t.Errorf("%s: status %d, object %+v, want %d", tt.args, code, f, tt.want)
		}
	}
}

func TestHelpNamesExitStatus(t *testing.T) {
	s := &session{}
	for _, name := range verbNames(s.rootCommand()) {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), []string{name, "--help"}, &stdout, &stderr); code != exitDone {
			t.Errorf("%s --help ends with %d", name, code)
		}
		for _, want := range []string{"EXIT STATUS", "75  stopped by a signal", fmt.Sprint(crash.Status, " crashed")} {
			if !strings.Contains(stdout.String(), want) {
				t.Errorf("%s --help does not say %q", name, want)
			}
		}
	}
}

// TestFlagsGoBeforeConfig: defaults, then the file, then flags.
func TestFlagsGoBeforeConfig(t *testing.T) {
	config := t.TempDir() + "/distill.yaml"
	writeFile(t, config, "epochs: 7\nbatch: 16\nloss:\n  name: cosine\n")
	o := new(distillOptions)
	c := (&session{}).command(o)
	if err := c.ParseFlags([]string{"--batch", "8", "--out", "run", "--config", config}); err != nil {
		t.Fatal(err)
	}
	if err := o.validate([]string{"d"}); err != nil {
		t.Fatal(err)
	}
	if o.Epochs != 7 || o.Batch != 8 || o.Loss.Name != "cosine" || o.Seed != student.DefaultOptions().Seed {
		t.Errorf("epochs %d, batch %d, loss %s, seed %d; want the file's 7, the flag's 8, the file's cosine, the default",
			o.Epochs, o.Batch, o.Loss.Name, o.Seed)
	}
}

// TestListsGoBeforeConfig: files of a flag replace those of the config, whatever their names.
func TestListsGoBeforeConfig(t *testing.T) {
	config := t.TempDir() + "/distill.yaml"
	writeFile(t, config, "exclude: [old.csv]\nteacher: a,b\n")
	for _, flags := range [][]string{nil, {"--exclude", "new, or so.csv", "--exclude", "2.txt", "--teacher", "c", "--teacher", "d"}} {
		o := new(distillOptions)
		c := (&session{}).command(o)
		if err := c.ParseFlags(append(flags, "--out", "run", "--config", config)); err != nil {
			t.Fatal(err)
		}
		if err := o.validate([]string{"d"}); err != nil {
			t.Fatal(err)
		}
		want, teachers := []string{"old.csv"}, "a,b"
		if flags != nil {
			want, teachers = []string{"new, or so.csv", "2.txt"}, "c,d"
		}
		if !slices.Equal(o.Exclude, want) || string(o.Teacher) != teachers {
			t.Errorf("%q: excludes %q with teachers %s", flags, o.Exclude, o.Teacher)
		}
	}
}

// TestConfigAdvice: whoever writes a flag's name, or what a setting is called elsewhere,
// into a config is told the key, or the flag.
func TestConfigAdvice(t *testing.T) {
	for text, want := range map[string]string{
		"learning_rate: 1":                       "did you mean lr?",
		"batch_size: 1":                          "did you mean batch?",
		"student_dim: 1":                         "did you mean size.dim?",
		"dim: 1":                                 "did you mean size.dim?",
		"warmup: 1":                              "did you mean warmup_epochs?",
		"weight-decay: 1":                        "did you mean optimizer.weight_decay?",
		"shuffle-window: 1":                      "did you mean shuffle_window?",
		"momentum: 1":                            "did you mean optimizer.momentum?",
		"num_epochs: 1":                          "did you mean epochs?",
		"bank: 1":                                "did you mean loss.rpsd.bank?",
		"loss: {warmup: 1}":                      "did you mean loss.iled.warmup?",
		"optimizer: {learning_rate: 1}":          "did you mean lr?",
		"gradient_accumulation_steps: 1":         "did you mean accumulate?",
		"device: cuda":                           "it is a flag only: --device",
		"workers: 1":                             "it is a flag only: --workers",
		"keep_best: auc":                         "it is a flag only: --keep-best",
		"out: run":                               "it is a flag only: --out",
		"output_dir: run":                        "it is a flag only: --out",
		"val_pairs: p":                           "it is a flag only: --val-pairs",
		"checkpoint-evry: 1":                     "it is a flag only: --checkpoint-every",
		"epochs: 1\nresume: true\nlr: 1\nlrr: 1": "it is a flag only: --resume\n      line 4: unknown key lrr; did you mean lr?",
	} {
		config := filepath.Join(t.TempDir(), "distill.yaml")
		writeFile(t, config, text+"\n")
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), []string{"distill", "d", "--out", "o", "--config", config}, &stdout, &stderr); code != exitUsage || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: status %d, %s", text, code, stderr.String())
		}
	}
}

// TestFlagsHaveKeys: every flag that decides the result sets a key of the config.
func TestFlagsHaveKeys(t *testing.T) {
	o := new(distillOptions)
	_ = (&session{}).command(o)
	keys := o.keysOfFlags()
	training := pflag.NewFlagSet("", pflag.ContinueOnError)
	new(distillOptions).addTrainingFlags(training)
	training.VisitAll(func(f *pflag.Flag) {
		if key := keys[strings.ReplaceAll(f.Name, "-", "_")]; key == "" || strings.HasPrefix(key, "--") {
			t.Errorf("--%s sets the key %q", f.Name, key)
		}
	})
}
