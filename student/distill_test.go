package student

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"facepipe/internal/embed"
	"facepipe/internal/onnx"
	"facepipe/internal/safetensors"
	"facepipe/internal/tensorboard"
	"facepipe/store"
	"facepipe/student/checkpoint"
	"facepipe/student/data"
	"facepipe/student/export"
	"facepipe/student/loss"
	"facepipe/student/optim"
)

// curve reads the losses of a run by step, and the validation's figures.
func curve(t *testing.T, o Options) []float64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(o.Out, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var losses []float64
	for line := range strings.Lines(string(text)) {
		var l struct {
			Step int
			Loss *float64
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("metrics line %q: %v", line, err)
		}
		if l.Loss == nil {
			continue
		}
		if l.Step != len(losses)+1 {
			t.Fatalf("step %d follows step %d", l.Step, len(losses))
		}
		losses = append(losses, *l.Loss)
	}
	return losses
}

func TestDistillLearnsWithEveryLoss(t *testing.T) {
	dataset := fixture(t)
	for _, name := range loss.Names() {
		o := options(t, dataset)
		o.Loss.Name, o.Epochs = name, 12 // after 6 some seeds are still far from there
		if o.Loss.Needs("")&(loss.TeacherEmbedding|loss.IdentityVectors) == 0 {
			o.Teacher = ""
			tune(&o.Loss, "margin: {scale: 8}")
		}
		if name == "ekd" { // as published a new student's similarities are too far from the thresholds for a gradient
			o.Sampler, o.PerIdentity, o.LR = data.ClassBalanced, 2, 0.5
			tune(&o.Loss, "ekd: {start: first, temperature: 0.1}")
		}
		if section, ok := classSections()[name]; ok {
			tune(&o.Loss, section)
		}
		if rate := map[string]Rate{ // whose gradients are small here
			"l2":       1, // spread over the elements of a raw embedding
			"pkt":      10,
			"darkrank": 0.5,
			"icd":      0.2,
		}[name]; rate != 0 {
			o.LR = rate
		}
		s, err := Distill(t.Context(), o)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		losses := curve(t, o)
		steps := 5 * o.Epochs
		if len(losses) != steps || s.Steps != steps {
			t.Fatalf("%s: %d lines, %d steps, want %d", name, len(losses), s.Steps, steps)
		}
		from, to := mean(losses[:5]), mean(losses[steps-5:])
		if name == "unified" { // its relation term is still ramping up in the first steps
			from = mean(losses[4:9])
		}
		if !(to < 0.8*from) {
			t.Errorf("%s: loss went from %g to %g", name, from, to)
		}
	}
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// What ONNX Runtime computes from the export is what the engine computes.
func TestExportAgreesWithEngine(t *testing.T) {
	dataset := fixture(t)
	for _, precision := range []string{"fp32", "bf16"} {
		for _, norm := range []string{"outside", "inside"} {
			o := options(t, dataset)
			o.InputNorm, o.Precision = norm, precision
			var engine [][]float32
			ds, err := store.Open(dataset)
			if err != nil {
				t.Fatal(err)
			}
			defer ds.Close()
			pixels := make([]byte, 0, fixtureCrops*112*112*3)
			v := &Validation{Dataset: ds, Score: func(e [][]float32) (map[string]float64, error) {
				engine = nil
				for _, row := range e {
					engine = append(engine, append([]float32(nil), row...))
				}
				return map[string]float64{"rows": float64(len(e))}, nil
			}}
			for i := range fixtureCrops {
				v.Crops = append(v.Crops, ds.Locate(i))
				pixels = append(pixels, wave(i)...)
			}
			o.Validation = v
			s, err := Distill(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			m, err := embed.Open(t.Context(), s.ONNX, embed.Options{Batch: 7})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			got := make([]float32, fixtureCrops*m.Dim())
			if err := m.Embed(fixtureCrops, pixels, false, got); err != nil {
				t.Fatal(err)
			}
			// bf16 rounds activations to 8 bits, which the export in fp32 does not.
			limit := map[string]float64{"fp32": 0.9999, "bf16": 0.99}[precision]
			for i, want := range engine {
				if c := cosine(got[i*m.Dim():(i+1)*m.Dim()], want); c < limit {
					t.Errorf("%s, norm %s: row %d has cosine %g", precision, norm, i, c)
				}
			}
			if s.Validation["rows"] != fixtureCrops {
				t.Errorf("validation figures %v", s.Validation)
			}
			model, err := onnx.ReadFile(s.ONNX)
			if err != nil {
				t.Fatal(err)
			}
			if model.Property(export.TeacherKey) != "f" || !strings.Contains(model.Property(export.TrainingKey), `"steps":15`) {
				t.Errorf("metadata %v", model.Metadata)
			}
		}
	}
}

func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	return ab / math.Sqrt(aa*bb)
}

// A run that stops at any step and goes on takes the same steps, bit for bit, also
// with another number of workers.
func TestResumeIsExact(t *testing.T) {
	dataset := fixture(t)
	for name, change := range map[string]func(*Options){
		"unified":         func(*Options) {},
		"two threads":     func(o *Options) { o.Threads = 2 },
		"bf16":            func(o *Options) { o.Precision = "bf16" },
		"student bank":    func(o *Options) { tune(&o.Loss, "rpsd: {relation: student}") },
		"with classifier": func(o *Options) { tune(&o.Loss, "{classifier: arcface, margin: {scale: 8}}"); o.Size.Dim = 24 },
		"sampled":         func(o *Options) { tune(&o.Loss, "{name: adaface, sample: 0.9}") },
		"average":         func(o *Options) { o.EMA = 0.9 },
		"accumulated":     func(o *Options) { o.Batch, o.Accumulate = 4, 2 },
		"scaled":          func(o *Options) { o.scaleLoss = true },
		"class-balanced":  func(o *Options) { o.Sampler = data.ClassBalanced },
		"running thresholds": func(o *Options) {
			o.Sampler, o.PerIdentity, o.Loss.Name = data.ClassBalanced, 2, "ekd"
			tune(&o.Loss, "ekd: {start: unbiased, temperature: 0.1}")
		},
		"drawn triplets": func(o *Options) {
			o.Sampler, o.PerIdentity, o.Loss.Name = data.ClassBalanced, 2, "triplet"
			tune(&o.Loss, "triplet: {alpha: 2}")
		},
		"adamw":     func(o *Options) { o.Optimizer.Name = optim.AdamWName },
		"drop path": dropPath,
		"all at once": func(o *Options) {
			o.Sampler, o.PerIdentity = data.Mixed, 2
			o.EMA, o.Batch, o.Accumulate, o.scaleLoss, o.Precision = 0.5, 4, 2, true, "bf16"
			tune(&o.Loss, "{classifier: arcface, margin: {scale: 8}, sample: 0.5, rpsd: {relation: student}}")
		},
	} {
		t.Run(name, func(t *testing.T) { resumeExactly(t, dataset, change) })
	}
}

// dropPath trains a MetaFormer, with AdamW, of which half of the crops skip the last block.
func dropPath(o *Options) { o.Network, o.Size.DropPath, o.LR = "metaformer-0", 0.5, 1e-3 }

func resumeExactly(t *testing.T, dataset string, change func(*Options)) {
	whole := options(t, dataset)
	whole.Epochs = 2
	change(&whole)
	want, err := Distill(t.Context(), whole)
	if err != nil {
		t.Fatal(err)
	}
	parts := options(t, dataset)
	parts.Epochs = 2
	change(&parts)
	parts.Resume, parts.CheckpointEvery = true, 3
	for stops := 0; ; stops++ {
		ctx, cancel := context.WithCancel(t.Context())
		steps := 0
		stopAfter(&parts, cancel, &steps, 2+2*stops)
		parts.Workers = 1 + stops
		got, err := Distill(ctx, parts)
		cancel()
		if err == nil {
			if stops < 2 {
				t.Error("the run was not stopped")
			}
			if got.FinalLoss != want.FinalLoss {
				t.Errorf("final loss %g, want %g", got.FinalLoss, want.FinalLoss)
			}
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if stops%2 == 1 {
			killInstead(t, parts)
		}
	}
	a, b := curve(t, whole), curve(t, parts)
	for i := range a {
		if len(b) != len(a) || a[i] != b[i] {
			t.Fatalf("step %d of the resumed run differs (%d and %d steps)", i+1, len(b), len(a))
		}
	}
	rounded := make([]float64, len(a)) // as TensorBoard keeps them
	for i, v := range a {
		rounded[i] = float64(float32(v))
	}
	if x, y := series(t, whole), series(t, parts); !slices.Equal(x, rounded) || !slices.Equal(x, y) {
		t.Errorf("the event files have losses %v and %v, the journal %v", x, y, a)
	}
	if x, y := newest(t, whole), newest(t, parts); !reflect.DeepEqual(x, y) {
		t.Error("the final checkpoints differ")
	}
	if x, y := read(t, whole, "student.onnx"), read(t, parts, "student.onnx"); x != y {
		t.Error("the exported students differ")
	}
}

// killInstead makes of a run that was stopped one that was killed: what it wrote as it
// stopped is gone, and the last line is torn.
func killInstead(t *testing.T, o Options) {
	t.Helper()
	files, err := checkpoint.List(o.Out)
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	path := filepath.Join(o.Out, "metrics.jsonl")
	text := read(t, o, "metrics.jsonl")
	if err := errors.Join(os.Remove(files[0]), os.WriteFile(path, []byte(text[:len(text)-5]), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// series is the loss of a run, step by step, in its event files.
func series(t *testing.T, o Options) []float64 {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(o.Out, "tensorboard", "events.out.tfevents.*"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	var losses []float64
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := tensorboard.Read(f, func(e tensorboard.Event, _ int64) bool {
			for _, s := range e.Scalars {
				if s.Tag != "train/loss" {
					continue
				}
				if losses = append(losses, s.Value); e.Step != int64(len(losses)) {
					t.Errorf("%s: step %d is the loss number %d", name, e.Step, len(losses))
				}
			}
			return true
		}); err != nil {
			t.Fatal(err)
		}
	}
	return losses
}

// newest is the content of a run's last checkpoint.
func newest(t *testing.T, o Options) map[string]safetensors.Tensor {
	t.Helper()
	files, err := checkpoint.List(o.Out)
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	tensors, _, err := checkpoint.Read(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return tensors
}

// stopAfter cancels a run after n steps.
func stopAfter(o *Options, cancel func(), steps *int, n int) {
	*steps = 0
	o.afterStep = func() {
		*steps++
		if *steps == n {
			cancel()
		}
	}
}

func read(t *testing.T, o Options, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(o.Out, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestRefusals(t *testing.T) {
	dataset := fixture(t)
	for name, c := range map[string]struct {
		change func(*Options)
		want   error
		say    string
	}{
		"no teacher of that name": {func(o *Options) { o.Teacher = "x" }, store.ErrNotFound, "it has t"},
		"no dataset":              {func(o *Options) { o.Dataset = "/no/such" }, store.ErrNotFound, "/no/such"},
		"teacher needed":          {func(o *Options) { o.Teacher = "" }, ErrUsage, "--teacher"},
		"unknown loss":            {func(o *Options) { o.Loss.Name = "magic" }, ErrUsage, "magic"},
		"unknown student":         {func(o *Options) { o.Network = "magic" }, ErrUsage, "magic"},
		"no epochs":               {func(o *Options) { o.Epochs = 0 }, ErrUsage, "epochs"},
		"batch too large":         {func(o *Options) { o.Batch = 41 }, ErrUsage, "a step takes 41 crops"},
		"window below zero":       {func(o *Options) { o.ShuffleWindow = -1 }, ErrUsage, "shuffle-window"},
		"warm-up too long":        {func(o *Options) { o.WarmupEpochs = 9 }, ErrUsage, "warm-up"},
		"no such device":          {func(o *Options) { o.Device = "cuda:99" }, nil, "cuda:99"},
		"device of no kind":       {func(o *Options) { o.Device = "gpu" }, ErrUsage, `device "gpu" is none of cpu, cuda, cuda:N`},
		"unequal classes":         {func(o *Options) { o.Sampler, o.PerIdentity = data.ClassBalanced, 3 }, ErrUsage, "no whole number of identities"},
		"a width of nine":         {func(o *Options) { o.Size.Width = 9 }, ErrUsage, "width 9 is not 0.1 to 8"},
		"rate below zero":         {func(o *Options) { o.LR = -1 }, ErrUsage, "lr -1 is not a number from 0 on"},
		"rate of no number":       {func(o *Options) { o.LR = Rate(math.NaN()) }, ErrUsage, "lr NaN"},
		"endless rate":            {func(o *Options) { o.LR = Rate(math.Inf(1)) }, ErrUsage, "lr +Inf"},
		"momentum":                {func(o *Options) { o.Optimizer.Momentum = 1 }, ErrUsage, "momentum 1 is not in [0, 1)"},
		"decay":                   {func(o *Options) { o.Optimizer.WeightDecay = 1.5 }, ErrUsage, "weight-decay 1.5"},
		"clip":                    {func(o *Options) { o.Optimizer.Clip = -5 }, ErrUsage, "clip -5"},
		"warm-up":                 {func(o *Options) { o.WarmupEpochs = math.NaN() }, ErrUsage, "warmup NaN"},
		"power":                   {func(o *Options) { o.Power = 0 }, ErrUsage, "power 0"},
		"factor":                  {func(o *Options) { o.Factor = 1.5 }, ErrUsage, "factor 1.5"},
		"milestones":              {func(o *Options) { o.Milestones = []float64{0.5, 2} }, ErrUsage, "milestones 2"},
		"average":                 {func(o *Options) { o.EMA = 1 }, ErrUsage, "ema 1"},
		"threads":                 {func(o *Options) { o.Threads = -1 }, ErrUsage, "threads -1"},
		"workers":                 {func(o *Options) { o.Workers = -1 }, ErrUsage, "workers -1"},
		"temperature":             {func(o *Options) { tune(&o.Loss, "iled: {temperature: -1}") }, ErrUsage, "temperature"},
	} {
		o := options(t, dataset)
		c.change(&o)
		_, err := Distill(t.Context(), o)
		if err == nil || (c.want != nil && !errors.Is(err, c.want)) || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A run folder is not overwritten, not resumed under other settings, and a damaged
// checkpoint is not used.
func TestRunFolderIsProtected(t *testing.T) {
	o := options(t, fixture(t))
	o.Epochs, o.KeepCheckpoints = 2, 2
	if _, err := Distill(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if _, err := Distill(t.Context(), o); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "--resume") {
		t.Errorf("second run without --resume: %v", err)
	}
	o.Resume = true
	done, err := Distill(t.Context(), o)
	if err != nil || done.Steps != 10 || done.ResumedAt != 10 {
		t.Errorf("resumed a finished run: %+v, %v", done, err)
	}
	other := o
	other.LR = 0.01
	if _, err := Distill(t.Context(), other); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "options.lr") {
		t.Errorf("resume with another rate: %v", err)
	}
	other = o
	other.ShuffleWindow = 7
	if _, err := Distill(t.Context(), other); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "options.shuffle_window") {
		t.Errorf("resume in another order: %v", err)
	}
	other.ShuffleWindow = 1 << 30 // which holds all crops, as the window of the run does
	if _, err := Distill(t.Context(), other); err != nil {
		t.Errorf("resume in the same order: %v", err)
	}
	files, err := checkpoint.List(o.Out)
	if err != nil || len(files) != 2 {
		t.Fatalf("checkpoints %v, %v", files, err)
	}
	good, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	before := filepath.Base(files[1])
	for name, c := range map[string]struct {
		bytes []byte
		say   string
	}{
		"truncated": {good[:len(good)-1], before},
		"bit flip":  {flipped(good), before},
		"empty":     {nil, before},
		"foreign": {reseal(t, good, func(tensors map[string]safetensors.Tensor, _ *checkpoint.Position) {
			delete(tensors, "model.stem.conv.weight")
		}), "another network"},
		"another network": {reseal(t, good, func(_ map[string]safetensors.Tensor, at *checkpoint.Position) { at.Size.Dim = 77 }), "Dim:77"},
		"another loss":    {reseal(t, good, func(_ map[string]safetensors.Tensor, at *checkpoint.Position) { at.Objective = "l2" }), "loss l2"},
		"newer version":   {reseal(t, good, func(_ map[string]safetensors.Tensor, at *checkpoint.Position) { at.Version = 9 }), "written by a newer pipe"},
		"grown dataset": {reseal(t, good, func(_ map[string]safetensors.Tensor, at *checkpoint.Position) {
			at.Dataset, at.CropsDigest, at.Crops = "0ld", "0ld", 39
		}), "the dataset grew since: it was 0ld with 39 crops"},
	} {
		if err := os.Remove(files[0]); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(files[0], c.bytes, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Distill(t.Context(), o)
		if !errors.Is(err, checkpoint.ErrUnusable) || !strings.Contains(err.Error(), files[0]) || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s checkpoint: %v", name, err)
		}
	}
	// Without it the run goes on from the one before.
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	if s, err := Distill(t.Context(), o); err != nil || s.ResumedAt != 5 {
		t.Errorf("resumed at %d, %v", s.ResumedAt, err)
	}
}

func flipped(good []byte) []byte {
	bad := bytes.Clone(good)
	bad[len(bad)-100] ^= 1
	return bad
}

// reseal changes a checkpoint, and seals it as a sound one.
func reseal(t *testing.T, good []byte, change func(map[string]safetensors.Tensor, *checkpoint.Position)) []byte {
	t.Helper()
	f, err := safetensors.Unmarshal(good)
	if err != nil {
		t.Fatal(err)
	}
	var at checkpoint.Position
	if err := json.Unmarshal([]byte(f.Metadata["pipe.position"]), &at); err != nil {
		t.Fatal(err)
	}
	change(f.Tensors, &at)
	path := filepath.Join(t.TempDir(), "checkpoint")
	if err := checkpoint.Write(path, safetensors.Sources(f.Tensors), at); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Who says nothing of the warm-up gets one that fits the run.
func TestWarmup(t *testing.T) {
	o := DefaultOptions()
	for _, tt := range []struct {
		epochs int
		warmup float64
		want   int
	}{{18, -1, 200}, {1, -1, 11}, {18, 0, 0}, {18, 1.5, 150}} {
		o.Epochs, o.WarmupEpochs = tt.epochs, tt.warmup
		if s, err := o.schedule(100); err != nil || s.Warmup != tt.want {
			t.Errorf("%d epochs, warm-up %g: %d steps, %v; want %d", tt.epochs, tt.warmup, s.Warmup, err, tt.want)
		}
	}
}

// numbersOf are the numeric settings of a section, as it is written, with the path to each.
func numbersOf(t *testing.T, c any, path string) map[string]float64 {
	t.Helper()
	text, err := yaml.Marshal(c)
	var section map[string]any
	if err := errors.Join(err, yaml.Unmarshal(text, &section)); err != nil {
		t.Fatal(err)
	}
	numbers := map[string]float64{}
	for key, value := range section {
		switch v := value.(type) {
		case map[string]any:
			maps.Copy(numbers, numbersOf(t, v, path+key+"."))
		case int:
			numbers[path+key] = float64(v)
		case float64:
			numbers[path+key] = v
		}
	}
	return numbers
}

// A 0 in a config is 0 in what a run records, for every number of every loss, or it is refused by
// its key.
func TestZeroIsRecorded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zero.yaml")
	for _, name := range loss.Names() {
		for key := range numbersOf(t, loss.Config{Name: name}, "") {
			o := DefaultOptions()
			o.Loss.Name = name
			section := "0"
			for _, k := range slices.Backward(strings.Split("loss."+key, ".")) {
				section = fmt.Sprintf("{%s: %s}", k, section)
			}
			if err := os.WriteFile(path, []byte(section), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := o.ReadFile(path, nil); err != nil {
				t.Fatal(err)
			}
			if err := o.Loss.Validate(); err != nil {
				if last := key[strings.LastIndex(key, ".")+1:]; !strings.Contains(err.Error(), last) {
					t.Errorf("%s, %s: %v", name, key, err)
				}
				continue
			}
			if v, ok := numbersOf(t, o.Loss, "")[key]; v != 0 || !ok {
				t.Errorf("%s: %s is recorded as %g", name, key, v)
			}
		}
	}
}

func TestConfigFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "distill.yaml")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("epochs: 7\nsize: {dim: 64, width: 0.5}\nloss: {name: unified, rpsd: {bank: 100}}\noptimizer: {momentum: 0.8}\n")
	o := DefaultOptions()
	if err := o.ReadFile(path, nil); err != nil {
		t.Fatal(err)
	}
	chosen, err := json.Marshal(o.Loss)
	if err != nil || o.Epochs != 7 || o.Size.Dim != 64 || !strings.Contains(string(chosen), `"bank":100`) || o.Optimizer.Momentum != 0.8 || o.Batch != 32 {
		t.Errorf("read %+v with loss %s, %v", o, chosen, err)
	}
	for text, want := range map[string]string{
		"lr: 0\n":             "line 1: \"0\": a rate is a number other than 0",
		"epochs: 1\nlr: x\n":  "line 2: \"x\": a rate is a number",
		"loss: {name: [a]}\n": "line 1: cannot unmarshal",
	} {
		write(text)
		if err := o.ReadFile(path, nil); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"size: {dim: 0}\n", "size: {width: 0}\n"} {
		write(text)
		zero := DefaultOptions()
		if err := zero.ReadFile(path, nil); err != nil {
			t.Fatal(err)
		}
		if err := zero.validate(); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "no student has dim") {
			t.Errorf("%q: %v", text, err)
		}
	}
	write("epochs: 7\nepoch: 8\n")
	if err := o.ReadFile(path, nil); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "line 2: unknown key epoch; did you mean epochs?") {
		t.Errorf("unknown key: %v", err)
	}
	if err := o.ReadFile("/no/such.yaml", nil); !errors.Is(err, ErrUsage) {
		t.Errorf("missing file: %v", err)
	}
}

// The settings are grouped in the program alone: the files have one key after the other.
func TestKeysOfSettings(t *testing.T) {
	o := DefaultOptions()
	o.Exclude = FileList{"hits.csv"}
	o.Split, o.SyncBatchNorm, o.EMA = "train", true, 0.5 // or run.json has no such key
	inYAML, err := yaml.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	inJSON, err := json.MarshalIndent(o, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	keys := func(text []byte, at string) string {
		var all []string
		for _, m := range regexp.MustCompile(`(?m)^`+at+`(\w+)"?:`).FindAllSubmatch(text, -1) {
			all = append(all, string(m[1]))
		}
		return strings.Join(all, " ")
	}
	const data, first, loss, then = "teacher split ", "student size ", "loss epochs ", "batch accumulate lr schedule warmup_epochs power milestones factor optimizer seed shuffle_window sampler per_identity flip precision cuda sync_batch_norm ema "
	if got, want := keys(inYAML, ""), data+"exclude fraction "+first+"init "+loss+"steps "+then+"guard input_norm threads"; got != want {
		t.Errorf("distill.yaml has\n%s, want\n%s", got, want)
	}
	if got, want := keys(inJSON, ` "`), data+"fraction "+first+loss+then+"input_norm"; got != want {
		t.Errorf("run.json has\n%s, want\n%s", got, want)
	}
}
