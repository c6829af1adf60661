package loss

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"facepipe/internal/strictyaml"
	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

func TestConfigRefusesNonsense(t *testing.T) {
	for name, c := range map[string]Config{
		"loss":          {Name: "magic"},
		"no loss":       {},
		"mode":          config(t, "unified", "iled: {mode: hard}"),
		"no mode":       config(t, "unified", `iled: {mode: ""}`),
		"rho":           config(t, "unified", "iled: {rho: 2}"),
		"relation":      config(t, "unified", "rpsd: {relation: other}"),
		"beta":          config(t, "unified", "rpsd: {beta: -1}"),
		"classifier":    config(t, "unified", "classifier: softmax"),
		"no classifier": config(t, "unified", `classifier: ""`),
		"gradient":      config(t, "arcface", "margin: {gradient: none}"),
		"quality":       config(t, "unified", "iled: {quality: high}"),
		"least quality": config(t, "unified", "iled: {quality_least: 0}"),
		"iled schedule": config(t, "unified", "iled: {schedule: {to: -1}}"),
		"rpsd schedule": config(t, "unified", "rpsd: {schedule: {shape: square}}"),
		"pool":          config(t, "unified", "rpsd: {pool: crowd}"),
		"empty pool":    config(t, "unified", "rpsd: {pool: neighbours, negatives: 0}"),
		"positives":     config(t, "unified", "rpsd: {positives_from: labels}"),
		"proxies":       config(t, "unified", "rpsd: {proxies: mean}"),
		"no kappa":      config(t, "unified", "iled: {kappa: .nan}"),
		"no delta":      config(t, "unified", "rpsd: {delta: .nan}"),
		"no scale":      config(t, "arcface", "margin: {scale: .inf}"),
		"no sample":     config(t, "softmax", "sample: 0"),
		"no number":     config(t, "adaface", "sample: .nan"),
		"sample":        config(t, "arcface", "sample: 1.5"),
		"their sample":  config(t, "unified", "sample: -0.1"),
		"t_alpha":       config(t, "adaface", "adaface: {t_alpha: 1.1}"),
		"h":             config(t, "adaface", "adaface: {h: -1}"),
		"lengths":       config(t, "magface", "magface: {l_a: 10, u_a: 10}"),
		"margins":       config(t, "magface", "magface: {l_margin: 0.9}"),
		"no gradient":   config(t, "magface", `magface: {gradient: ""}`),
		"no lambda_g":   config(t, "magface", "magface: {lambda_g: .nan}"),
	} {
		if err := c.Validate(); err == nil {
			t.Errorf("%s: no error", name)
		}
		if _, err := New(c, Env{Device: "cpu", Dim: 8, Classes: 2}); err == nil {
			t.Errorf("%s: a loss was made of it", name)
		}
	}
	for _, name := range []string{"softmax", "arcface", "cosface", "adaface", "magface"} {
		for classes := range 2 {
			if _, err := New(Config{Name: name}, Env{Device: "cpu", Dim: 8, Classes: classes}); err == nil {
				t.Errorf("%s of %d classes: no error", name, classes)
			}
		}
	}
}

// Every entry of the registry says what it is and what its settings are, and no two have a name or, of different
// settings, a key in common.
func TestRegistry(t *testing.T) {
	keys := map[string]reflect.Type{"name": reflect.TypeFor[string]()}
	for i, l := range All() {
		if l.Name == "" || l.About == "" || l.Source == "" || strings.Contains(l.About, "\n") || slices.Index(Names(), l.Name) != i {
			t.Errorf("entry %d is %+v", i, l)
		}
		if lines := strings.Count(l.Formula, "\n") + 1; lines < 2 || lines > 12 {
			t.Errorf("%s: its formula has %d lines", l.Name, lines)
		}
		if err := (Config{Name: l.Name}).Validate(); err != nil {
			t.Error(err)
		}
		for key, f := range fieldsOf(reflect.ValueOf(l.defaults)) {
			if !l.bare {
				break // its keys are in a section of its own
			}
			if was, ok := keys[key]; ok && was != f.Type() {
				t.Errorf("%s: the key %s has another type in another loss", l.Name, key)
			}
			keys[key] = f.Type()
		}
	}
	if got := (TeacherEmbedding | Neighbours).String(); got != "a teacher's embeddings, neighbours" {
		t.Errorf("needs are %q", got)
	}
}

// fieldsOf are the fields of a struct with keys, by these.
func fieldsOf(v reflect.Value) map[string]reflect.Value {
	fields := map[string]reflect.Value{}
	for i := range v.NumField() {
		switch key := v.Type().Field(i).Tag.Get("yaml"); key {
		case "":
		case ",inline":
			maps.Copy(fields, fieldsOf(v.Field(i)))
		default:
			fields[key] = v.Field(i)
		}
	}
	return fields
}

// numbersOf are the numeric settings among the fields of a struct and the structs in it,
// by their keys with the path to each.
func numbersOf(v reflect.Value, path string) map[string]reflect.Value {
	numbers := map[string]reflect.Value{}
	for key, f := range fieldsOf(v) {
		switch {
		case f.Kind() == reflect.Struct:
			for key, f := range numbersOf(f, path+key+".") {
				numbers[key] = f
			}
		case f.CanInt() || f.CanUint() || f.CanFloat():
			numbers[path+key] = f
		}
	}
	return numbers
}

// nested is a setting as a section has it.
func nested(key, value string) string {
	keys := strings.Split(key, ".")
	for _, k := range slices.Backward(keys) {
		value = fmt.Sprintf("{%s: %s}", k, value)
	}
	return value
}

// trace is what a loss comes to in a run of some steps, early and late ones. Not all
// samples have labels.
func trace(t *testing.T, e *torch.Engine, o *Objective, err error) []float64 {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	s := torchtest.Scope(t, e)
	materialise(t, s, o)
	var values []float64
	for step := range 10 {
		p := newProblem(uint64(step), 16, 8)
		p.step = 300 * step
		for i := range p.samples {
			p.samples[i] += int64(16 * step)
			p.labels[i] -= int32(i % 2)
		}
		student := torch.FromData(s, "cpu", p.student, p.n, p.d)
		value, parts := o.Step(s, p.batch(s, student))
		values = append(values, s.Scalar(value))
		figures := Means(s, []Parts{parts})
		for _, name := range slices.Sorted(maps.Keys(figures)) {
			values = append(values, figures[name])
		}
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	return values
}

// A setting that is 0 in a config is 0 or an error: for every number of every loss, and
// beside every setting on which defaults depend, the loss is the one whose setting was
// made 0 without any reading. One that is 0 by default aside, that is another loss.
func TestZeroIsZero(t *testing.T) {
	e := torchtest.Open(t)
	env := testEnv(8)
	env.Steps = 2000
	refused := []string{
		"iled.rho", "iled.temperature", "iled.min_ratio", "rpsd.beta", "margin.scale",
		"relations", "identities", "crops_per_identity", "valid_steps", "bank_crops",
		"bin_width", "histogram_gamma", "alpha", "max_margin", "thresholds",
		"temperature", "momentum", "hardness_temperature", "kernel_gamma", "kernel_order",
		"log_epsilon", "score_alpha", "score_beta", "ranked",
		"sample", "l_a", "u_a", "u_margin",
		"scale", "max", "size", "step", "mass", "iled.quality_least", "iled.quality_most",
	}
	// What these tune is asked for by another setting.
	unified := slices.Clip([]string{"iled.schedule.from", "rpsd.schedule.from"}) // with the default end of 0
	const quality = "iled: {quality: norm}"
	idle := map[string][]string{"unified {}": append(unified, "margin.margin", "iled.quality_gain"),
		"unified " + quality:          append(unified, "margin.margin"),
		"unified classifier: arcface": append(unified, "iled.quality_gain"),
		"unified classifier: cosface": append(unified, "iled.quality_gain"), "kd classifier: none": {"margin.margin"},
		"snn classifier: none": {"margin.margin"}, "gkd {}": {"binary"}} // all identities are in its group
	for _, l := range All() {
		contexts := []string{"{}"}
		if l.Name == "unified" {
			contexts = append(contexts, "classifier: arcface", "classifier: cosface", quality)
		}
		contexts = append(contexts, classContexts[l.Name]...)
		for _, context := range contexts {
			c := config(t, l.Name, context)
			settled, err := settledOf(c)
			if err != nil {
				t.Fatal(err)
			}
			usual, err := New(c, env)
			want := trace(t, e, usual, err)
			for key := range numbersOf(reflect.ValueOf(settled), "") {
				zero := c
				if err := yaml.Unmarshal([]byte(nested(key, "0")), &zero); err != nil {
					t.Fatal(err)
				}
				read, err := settledOf(zero)
				if slices.Contains(refused, key) {
					if last := key[strings.LastIndex(key, ".")+1:]; err == nil || !strings.Contains(err.Error(), last) {
						t.Errorf("%s, %s, %s: %v", l.Name, context, key, err)
					}
					continue
				}
				byHand := reflect.New(reflect.TypeOf(settled)).Elem()
				byHand.Set(reflect.ValueOf(settled))
				number := numbersOf(byHand, "")[key]
				already := number.IsZero()
				number.SetZero()
				if err != nil || !reflect.DeepEqual(read, byHand.Interface()) {
					t.Errorf("%s, %s, %s: %v, read %+v", l.Name, context, key, err, read)
					continue
				}
				o, err := New(zero, env)
				if got := trace(t, e, o, err); slices.Equal(got, want) != (already || slices.Contains(idle[l.Name+" "+context], key)) {
					t.Errorf("%s, %s, %s: with 0 it comes to %v, by default to %v", l.Name, context, key, got, want)
				}
				where := key
				if !l.bare {
					where = l.Name + "." + key
				}
				if recorded := section(t, zero, where); recorded != "0" {
					t.Errorf("%s, %s, %s: recorded as %s", l.Name, context, key, recorded)
				}
			}
		}
	}
}

// section is what a config records of a setting, as JSON; "" for nothing.
func section(t *testing.T, c Config, key string) string {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range strings.Split(key, ".") {
		var m map[string]json.RawMessage
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatal(err)
		}
		if text = m[k]; text == nil {
			return ""
		}
	}
	return string(text)
}

// Some defaults depend on the classifier, wherever it is said, and none outlasts another
// name.
func TestDefaultsDependOnTheClassifier(t *testing.T) {
	for name, tt := range map[string]struct {
		config         Config
		weight, margin string
	}{
		"alone":         {config(t, "unified", "{}"), "1", "0.5"},
		"arcface":       {config(t, "unified", "classifier: arcface"), "64", "0.5"},
		"cosface":       {config(t, "unified", "{margin: {scale: 8}, classifier: cosface}"), "64", "0.35"},
		"said":          {config(t, "unified", "{iled: {weight: 2}, margin: {margin: 0.1}, classifier: cosface}"), "2", "0.1"},
		"alone arcface": {config(t, "arcface", "{iled: {weight: 2}}"), "", "0.5"},
		"alone cosface": {config(t, "cosface", "{}"), "", "0.35"},
	} {
		if weight, margin := section(t, tt.config, "iled.weight"), section(t, tt.config, "margin.margin"); weight != tt.weight || margin != tt.margin {
			t.Errorf("%s: weight %s and margin %s, want %s and %s", name, weight, margin, tt.weight, tt.margin)
		}
	}
	c := config(t, "cosface", "margin: {scale: 8}")
	c.Name = "arcface"
	if got := section(t, c, "margin.margin"); got != "0.5" {
		t.Errorf("another name keeps the margin %s", got)
	}
}

// What older files have says what it said: -1 nothing, and in a run.json 0 the default.
func TestOldSettings(t *testing.T) {
	const text = `{"name": "unified", "iled": {"mode": "", "weight": 0, "kappa": 0, "lambda": 3, "warmup": -1},
		"rpsd": {"ramp": -1, "bank": -1, "delta": -1, "positives": 0, "negatives": 9}, "margin": {"scale": 0}, "classifier": ""}`
	var old Config
	if err := json.Unmarshal([]byte(text), &old); err != nil {
		t.Fatal(err)
	}
	old.ForgetZeros()
	got, err := json.Marshal(old)
	if err != nil {
		t.Fatal(err)
	}
	want, err := json.Marshal(config(t, "unified", "{iled: {lambda: 3, warmup: 0}, rpsd: {ramp: 0, bank: 0, delta: 0, negatives: 9}}"))
	if err != nil || string(got) != string(want) {
		t.Errorf("read as %s, %v, want %s", got, err, want)
	}
	if err := json.Unmarshal([]byte(`{"name": "cosine", "magic": 1}`), &old); err == nil || !strings.Contains(err.Error(), "magic") {
		t.Errorf("an unknown key: %v", err)
	}
}

// What is written is read as the same, and has the keys of the loss and no others.
func TestConfigIsWrittenAndRead(t *testing.T) {
	for name, c := range allLosses(t) {
		text, err := yaml.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var again Config
		if err := strictyaml.Decode(text, &again, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var keys map[string]yaml.Node
		if err := yaml.Unmarshal(text, &keys); err != nil {
			t.Fatal(err)
		}
		if l, _ := find(c.Name); !l.bare { // its settings are in a section of their own
			section := keys[c.Name]
			keys = map[string]yaml.Node{"name": keys["name"]}
			if err := section.Decode(&keys); err != nil {
				t.Fatal(err)
			}
		}
		a, _ := settledOf(c)
		b, err := settledOf(again)
		if l, _ := find(c.Name); err != nil || fmt.Sprintf("%#v", a) != fmt.Sprintf("%#v", b) || len(keys) != 1+len(fieldsOf(reflect.ValueOf(l.defaults))) {
			t.Errorf("%s: %v: written as\n%s", name, err, text)
		}
	}
	for text, want := range map[string]string{
		"cosine":              "line 1: the settings of a loss are a mapping",
		"iled: {lambda: x}":   "line 1: cannot unmarshal",
		"iled: {lamda: 1}":    "line 1: unknown key iled.lamda; did you mean iled.lambda?",
		"margin: {margn: 1}":  "did you mean margin.margin?",
		"clasifier: arcface":  "did you mean classifier?",
		"rpsd: {bank: 0, b: ": "line 1",
	} {
		var c Config
		if err := strictyaml.Decode([]byte(text), &c, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Sections may be written with aliases and merges, and later ones are laid over earlier
// ones.
func TestSectionsAddUp(t *testing.T) {
	var o struct {
		Loss Config `yaml:"loss"`
	}
	for _, text := range []string{
		"loss: {name: cosine, iled: {lambda: 2, cap: 2}, rpsd: {bank: 7}}",
		"loss: {<<: {name: unified}, iled: &a {lambda: 0, cap: 4}}",
		"loss: {rpsd: {weight: 3}}",
	} {
		if err := strictyaml.Decode([]byte(text), &o, nil); err != nil {
			t.Fatal(err)
		}
	}
	for key, want := range map[string]string{"name": `"unified"`, "iled.lambda": "0", "iled.cap": "4", "rpsd.bank": "7", "rpsd.weight": "3"} {
		if got := section(t, o.Loss, key); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
	if math.IsNaN(o.Loss.Rate()) || o.Loss.Needs("") != TeacherEmbedding {
		t.Errorf("the loss needs %v", o.Loss.Needs(""))
	}
}

// settledOf are the settings of a config's only term.
func settledOf(c Config) (settings, error) {
	terms, err := c.settled()
	if err != nil {
		return nil, err
	}
	return terms[0].settings, nil
}
