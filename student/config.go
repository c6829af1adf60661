package student

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"facepipe/internal/durable"
	"facepipe/internal/strictyaml"
	"facepipe/student/net"
)

// ReadFile overlays the settings of a YAML file, such as the distill.yaml of a run. An
// unknown key is an error that names it, its line and the key that was probably meant.
func (o *Options) ReadFile(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%w: config: %w", ErrUsage, err)
	}
	if err := strictyaml.Decode(data, o); err != nil {
		return fmt.Errorf("%w: config %s: %w", ErrUsage, path, err)
	}
	return nil
}

// settled are the options with every default written out, so that they mean the same
// to a later version whose defaults are others.
func (r *run) settled() (Options, error) {
	o := r.o
	o.LR, o.WarmupEpochs = o.peakRate(), o.warmupEpochs()
	o.Loss = o.Loss.Resolved()
	o.Flip = map[bool]string{true: "on", false: "off"}[r.flip]
	n, err := net.New(o.Network, o.Size)
	if err != nil {
		return o, err
	}
	o.Size = n.Config
	return o, nil
}

// writeConfig writes distill.yaml, by which the run can be repeated. What it is for,
// and the data that it was, stand in it as comments.
func (r *run) writeConfig() error {
	o, err := r.settled()
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
	e := yaml.NewEncoder(&text)
	e.SetIndent(2)
	if err := e.Encode(o); err != nil {
		return fmt.Errorf("write the settings: %w", err)
	}
	if err := e.Close(); err != nil {
		return fmt.Errorf("write the settings: %w", err)
	}
	return durable.WriteFile(filepath.Join(r.o.Out, "distill.yaml"), text.Bytes(), 0o644)
}
