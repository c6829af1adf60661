package student

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strconv"

	"go.yaml.in/yaml/v3"

	"facepipe/internal/durable"
	"facepipe/internal/regular"
	"facepipe/internal/seal"
	"facepipe/internal/strictyaml"
	"facepipe/student/net"
)

// maxConfig is the longest file of settings, in bytes.
const maxConfig = 4 << 20

// ReadFile overlays the settings of a YAML file, such as the distill.yaml of a run. An
// unknown key is an error that names it, its line and the key that was probably meant.
// flags has, by their names with underscores, the keys that the program's flags set, or
// what a flag that sets none is called on the command line; it may be nil.
func (o *Options) ReadFile(path string, flags map[string]string) error {
	data, err := regular.Read(path, maxConfig)
	if err != nil {
		return fmt.Errorf("%w: config: %w", ErrUsage, err)
	}
	if err := o.Overlay(data, flags); err != nil {
		return fmt.Errorf("%w: config %s: %w", ErrUsage, path, err)
	}
	return nil
}

// Overlay is [Options.ReadFile] of a file's content.
func (o *Options) Overlay(data []byte, flags map[string]string) error {
	names := usualNames()
	maps.Copy(names, flags)
	return strictyaml.Decode(data, o, names)
}

// usualNames are what settings are called elsewhere, where that is nothing like their
// keys.
func usualNames() map[string]string {
	names := map[string]string{}
	for key, others := range map[string][]string{
		"lr":                     {"learning_rate", "base_lr", "max_lr"},
		"size.dim":               {"student_dim", "embedding_size", "emb_size", "num_features"},
		"student":                {"model", "network", "net", "backbone", "arch", "architecture"},
		"init":                   {"pretrained", "weights"},
		"accumulate":             {"gradient_accumulation_steps", "accumulation_steps", "grad_accum"},
		"schedule":               {"lr_scheduler", "lr_schedule"},
		"optimizer.name":         {"optim"},
		"optimizer.weight_decay": {"wd"},
		"size.drop_path":         {"drop_path_rate", "stochastic_depth"},
		"optimizer.clip":         {"max_grad_norm", "gradient_clip_val"},
		"precision":              {"amp", "dtype"},
		"loss.rpsd.bank":         {"queue", "memory_bank"},
		"--device":               {"gpu", "gpus"},
		"--workers":              {"num_workers"},
		"--out":                  {"output", "output_dir"},
	} {
		for _, other := range others {
			names[other] = key
		}
	}
	return names
}

// settled are the options with every default written out, so that they mean the same
// to a later version whose defaults are others. flip is what they come to for the
// teacher at hand. What is settled stays as it is.
func (o Options) settled(flip bool) (Options, error) {
	o.LR, o.WarmupEpochs, o.Optimizer = o.peakRate(), o.warmupEpochs(), o.optimizer()
	o.Flip = map[bool]string{true: "on", false: "off"}[flip]
	n, err := net.New(o.Network, o.Size)
	if err != nil {
		return o, err
	}
	o.Size = n.Config
	if o.Device == "cpu" {
		o.CUDA = CUDAOptions{}
	}
	return o, nil
}

// Rate is a learning rate. The zero value leaves it to the loss; no setting does, since at
// a rate of 0 nothing is learned.
type Rate float64

// Set reads a rate from a flag.
func (r *Rate) Set(text string) error {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || v == 0 {
		return errors.New("a rate is a number other than 0; leave it out for the loss's own")
	}
	*r = Rate(v)
	return nil
}

// UnmarshalYAML reads a rate from a config.
func (r *Rate) UnmarshalYAML(n *yaml.Node) error {
	if err := r.Set(n.Value); err != nil {
		return fmt.Errorf("line %d: %q: %w", n.Line, n.Value, err)
	}
	return nil
}

func (r Rate) String() string { return strconv.FormatFloat(float64(r), 'g', -1, 64) }

// Type is what a flag's help calls a rate.
func (Rate) Type() string { return "rate" }

// circumstances are what results depend on besides the settings: by more than the last
// bits only on the number of ranks, where each normalises its own crops.
func (r *run) circumstances() string {
	text := fmt.Sprintf("Trained on %s, libtorch %s", r.o.Device, r.engine.TorchVersion())
	ranks := r.world.ranks()
	if ranks == 1 {
		return text + ", by 1 rank."
	}
	text += fmt.Sprintf(", by %d ranks", ranks)
	if r.o.SyncBatchNorm {
		return text + "."
	}
	return text + ": without sync_batch_norm another number gives another result."
}

// writeConfig writes distill.yaml, by which the run can be repeated. What it is for,
// and the data that it was, stand in it as comments, and last the seal.
func (r *run) writeConfig() error {
	o, err := r.o.settled(r.flip)
	if err == nil {
		_, err = r.runFile()
	}
	if err != nil {
		return err
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "# Repeats this run: pipe distill DATASET --config distill.yaml --out OTHER\n# DATASET has digest %s, %d crops to train on.\n",
		r.manifest.Dataset, r.manifest.Crops)
	if f := r.manifest.TeacherFingerprint; f != "" {
		fmt.Fprintf(&text, "# The teacher has fingerprint %s.\n", f)
	}
	if d := r.manifest.Init; d != "" {
		fmt.Fprintf(&text, "# The file of init has SHA-256 %s.\n", d)
	}
	if e := r.manifest.Exclude; e != nil {
		fmt.Fprintf(&text, "# The lists of exclude took out %d crops, with digest %s.\n", e.Crops, e.Digest)
	}
	fmt.Fprintf(&text, "# %s\n", r.circumstances())
	e := yaml.NewEncoder(&text)
	e.SetIndent(2)
	if err := e.Encode(o); err != nil {
		return fmt.Errorf("write the settings: %w", err)
	}
	if err := e.Close(); err != nil {
		return fmt.Errorf("write the settings: %w", err)
	}
	return durable.WriteFile(filepath.Join(r.o.Out, "distill.yaml"), seal.CloseText(text.Bytes(), r.id), 0o644)
}
