package strictyaml

import (
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"facepipe/internal/alloctest"
)

type settings struct {
	Epochs int       `yaml:"epochs"`
	Rates  []float64 `yaml:"rates"`
	Inner  struct {
		WeightDecay float64 `yaml:"weight_decay"`
		Deep        *struct {
			Bank int `yaml:"bank"`
		} `yaml:"deep"`
	} `yaml:"inner"`
	Group  `yaml:",inline"`
	Hidden int `yaml:"-"`
}

// Group is part of the settings and has no key.
type Group struct {
	Seed  int `yaml:"seed"`
	Limit struct {
		Batch int `yaml:"batch"`
	} `yaml:"limit"`
}

func TestDecode(t *testing.T) {
	s := settings{Epochs: 3, Hidden: 7}
	if err := Decode([]byte("rates: [1, 2.5]\nseed: 4\nlimit: {batch: 6}\ninner:\n  weight_decay: 0.5\n  deep: {bank: 9}\n"), &s, nil); err != nil {
		t.Fatal(err)
	}
	if s.Epochs != 3 || s.Hidden != 7 || s.Inner.WeightDecay != 0.5 || s.Inner.Deep.Bank != 9 || s.Seed != 4 || s.Limit.Batch != 6 || !reflect.DeepEqual(s.Rates, []float64{1, 2.5}) {
		t.Errorf("read %+v", s)
	}
	for _, empty := range []string{"", "\n", "# nothing\n"} {
		before := s
		if err := Decode([]byte(empty), &s, nil); err != nil || !reflect.DeepEqual(s, before) {
			t.Errorf("%q: %v, %+v", empty, err, s)
		}
	}
}

// known are further names, as flags and other programs have them.
var known = map[string]string{"decay": "inner.weight_decay", "bank_size": "inner.deep.bank", "rate": "rates", "workers": "--workers", "num_workers": "--workers"}

func TestMistakes(t *testing.T) {
	for text, want := range map[string][]string{
		"epochs: 1\nepoch: 2\n":              {"line 2: unknown key epoch; did you mean epochs?"},
		"inner:\n  weight-decay: 1\n":        {"line 2: unknown key inner.weight-decay; did you mean inner.weight_decay?"},
		"bank: 1\n":                          {"line 1: unknown key bank; did you mean inner.deep.bank?"},
		"inner: {deep: {bnak: 1}}\n":         {"unknown key inner.deep.bnak; did you mean inner.deep.bank?"},
		"sede: 1\n":                          {"unknown key sede; did you mean seed?"},
		"limit: {batsch: 1}\n":               {"unknown key limit.batsch; did you mean limit.batch?"},
		"group: {seed: 1}\n":                 {"unknown key group"},
		"zebra: 1\n":                         {"unknown key zebra"},
		"decay: 1\n":                         {"unknown key decay; did you mean inner.weight_decay?"},
		"inner: {rate: 1}\n":                 {"unknown key inner.rate; did you mean rates?"},
		"Num-Workers: 1\n":                   {"unknown key Num-Workers; it is a flag only: --workers"},
		"worker: 1\n":                        {"unknown key worker; it is a flag only: --workers"},
		"epochs_total: 1\n":                  {"unknown key epochs_total; did you mean epochs?"},
		"max_epochs: 1\n":                    {"unknown key max_epochs; did you mean epochs?"},
		"epo: 1\n":                           {"unknown key epo; did you mean epochs?"},
		"size_of_bank: 1\n":                  {"unknown key size_of_bank; did you mean inner.deep.bank?"},
		"inner: {epoch: 1}\n":                {"unknown key inner.epoch; did you mean epochs?"},
		"epoch: 1\nzebra: 2\n":               {"line 1", "line 2"},
		"Hidden: 1\n":                        {"unknown key Hidden"},
		"epochs: x\n":                        {"line 1", "int"},
		"epochs: 1\nepochs: 2\n":             {"line 2", "epochs"},
		"epochs: 1\n---\nepochs: 2\n":        {"document"},
		"epochs: [\n":                        {"line"},
		"- 1\n":                              {"settings"},
		"inner: &a {deep: *a}\n":             {"contains itself"},
		"<<: &a {<<: *a}\n":                  {"contains itself"},
		"inner: &a {bank: 1}\n":              {"inner.bank; did you mean inner.deep.bank?"},
		strings.Repeat("x", 1000) + ": 1\n":  {"unknown key xxx"},
		"inner: {<<: {weight_decoy: 1}}\n":   {"did you mean inner.weight_decay?"},
		"inner: {<<: [{weight_decoy: 1}]}\n": {"did you mean inner.weight_decay?"},
	} {
		s := settings{}
		err := Decode([]byte(text), &s, known)
		if err == nil {
			t.Errorf("%q was read", text)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q: %v, want %q", text, err, w)
			}
		}
		if strings.Contains(text, "zebra: 1\n") && strings.Contains(err.Error(), "did you mean") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// shaped has a key that is no field of its own.
type shaped struct{ bank int }

func (shaped) Shape() reflect.Type {
	return reflect.TypeFor[struct {
		Bank int `yaml:"bank"`
	}]()
}

func (s *shaped) UnmarshalYAML(n *yaml.Node) error {
	var v struct{ Bank int }
	err := n.Decode(&v)
	s.bank = v.Bank
	return err
}

func TestShaped(t *testing.T) {
	var s struct {
		Inner *shaped `yaml:"inner"`
	}
	if err := Decode([]byte("inner: {bank: 3}\n"), &s, nil); err != nil || s.Inner.bank != 3 {
		t.Errorf("read %+v, %v", s.Inner, err)
	}
	if err := Decode([]byte("inner: {bnak: 3}\n"), &s, nil); err == nil || !strings.Contains(err.Error(), "inner.bnak; did you mean inner.bank?") {
		t.Errorf("unknown key: %v", err)
	}
	own := new(shaped)
	if err := Decode([]byte("bank: 4\n"), own, nil); err != nil || own.bank != 4 {
		t.Errorf("read %+v, %v", own, err)
	}
}

func TestFields(t *testing.T) {
	var s settings
	got := Fields(&s)
	for address, want := range map[any]string{&s.Epochs: "epochs", &s.Rates: "rates", &s.Inner.WeightDecay: "inner.weight_decay", &s.Seed: "seed", &s.Limit.Batch: "limit.batch", &s.Hidden: ""} {
		if key := got[reflect.ValueOf(address).Pointer()]; key != want {
			t.Errorf("key %q, want %q", key, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"kitten", "sitting", 3}, {"bank", "bnak", 2}, {"epoch", "epochs", 1}, {"flaw", "lawn", 2}} {
		if got := Distance(c.a, c.b); got != c.want {
			t.Errorf("%s to %s: %d, want %d", c.a, c.b, got, c.want)
		}
		if got := Distance(c.b, c.a); got != c.want {
			t.Errorf("%s to %s: %d, want %d", c.b, c.a, got, c.want)
		}
	}
}

// No document makes it fail otherwise than by an error, and what it reads has no keys
// that nobody knows.
func FuzzDecode(f *testing.F) {
	for _, text := range []string{"epochs: 1\n", "inner: {deep: {bank: 1}}", "a: &a [*a]", "<<: {epochs: 1}", "? [1]\n: 2\n", "--- 1\n--- 2\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		alloctest.AtMost(t, 1<<20+2000*len(data), func() {
			var s settings
			if Decode(data, &s, known) == nil && s.Hidden != 0 {
				t.Errorf("%q set what has no key", data)
			}
		})
	})
}
