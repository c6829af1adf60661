package loss

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"facepipe/internal/strictyaml"
	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"cosine":                          "cosine",
		"  unified+0.5 *l2 + 2*arcface\t": "unified + 0.5*l2 + 2*arcface",
		"1.0*cosine@r50 + cosine":         "cosine@r50 + cosine",
		"1e+1*cosine@a + .5*cosine @ b":   "10*cosine@a + 0.5*cosine@b",
		"0*l2+1e-3*cosine":                "0*l2 + 0.001*cosine",
		"cosine@w600k_r50-v1.2":           "cosine@w600k_r50-v1.2",
	} {
		terms, err := Parse(text)
		if err != nil || Canonical(terms) != want {
			t.Errorf("%q is %q, %v", text, Canonical(terms), err)
			continue
		}
		again, err := Parse(want)
		if err != nil || Canonical(again) != want {
			t.Errorf("%q is %q, %v when it is read again", want, Canonical(again), err)
		}
	}
	for text, says := range map[string]string{
		"":                    "column 1: a loss is missing",
		"cosine +":            "column 9: a loss is missing",
		"cosine + 0.5*cosin":  "column 14: \"cosin\" is no loss: did you mean cosine?",
		"magic":               "column 1: \"magic\" is no loss; there are unified",
		"cosine l2":           "column 8: a + or the end is missing before \"l2\"",
		"x*cosine":            "column 1: \"x\" is no weight",
		"cosine + -1*l2":      "column 10: \"-1\" is no weight",
		"nan*cosine":          "is no weight",
		"0.5 cosine":          "column 1: a * and a loss are missing behind the number",
		"cosine + 2":          "column 10: a * and a loss are missing behind the number",
		"cosine + 2*cosine":   "column 10: cosine comes twice",
		"cosine@a + cosine@a": "column 12: cosine@a comes twice",
		"cosine@ + l2":        "column 9: the name of a teacher is missing",
		"cosine*2":            "is no weight",
		"cosine@a@b":          "column 9: a + or the end is missing",
	} {
		if _, err := Parse(text); !errors.Is(err, ErrExpression) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("unified + 0.5*l2 + cosine@a")
	f.Add("1e+3*cosine@b")
	f.Fuzz(func(t *testing.T, text string) {
		terms, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(Canonical(terms))
		if err != nil || Canonical(again) != Canonical(terms) {
			t.Errorf("%q is %q, which is %q, %v", text, Canonical(terms), Canonical(again), err)
		}
	})
}

// Settings are those of the section of the term's key, over those of the loss's name, over
// those right in the section.
func TestSettingsByTerm(t *testing.T) {
	c := config(t, "", `
name: arcface + unified + 3*cosface@b
margin: {scale: 10}
arcface: {margin: {scale: 20}, schedule: {from: 0, end: 0.5}}
cosface: {margin: {margin: 0.1}}
cosface@b: {margin: {margin: 0.2}}
`)
	terms, err := c.settled()
	if err != nil {
		t.Fatal(err)
	}
	arc, unified, cos := terms[0].settings.(marginLoss).Margin, terms[1].settings.(unifiedSettings), terms[2].settings.(marginLoss).Margin
	if arc.Scale != 20 || arc.Margin != 0.5 || unified.Margin.Scale != 10 || cos.Scale != 10 || cos.Margin != 0.2 || terms[2].Weight != 3 {
		t.Errorf("arcface %+v, unified %+v, cosface %+v of weight %g", arc, unified.Margin, cos, terms[2].Weight)
	}
	if s := terms[0].schedule; s.From != 0 || s.To != 1 || s.End != 0.5 || terms[1].schedule != noSchedule {
		t.Errorf("schedules %+v and %+v", s, terms[1].schedule)
	}
	// What is recorded says the same.
	for how, read := range map[string]func() (Config, error){
		"YAML": func() (again Config, err error) {
			text, err := yaml.Marshal(c)
			if err != nil {
				return again, err
			}
			return again, strictyaml.Decode(text, &again, nil)
		},
		"JSON": func() (again Config, err error) {
			text, err := json.Marshal(c)
			if err != nil {
				return again, err
			}
			return again, json.Unmarshal(text, &again)
		},
	} {
		again, err := read()
		if err != nil {
			t.Errorf("%s: %v", how, err)
			continue
		}
		one, err := yaml.Marshal(again)
		two, _ := yaml.Marshal(c)
		if err != nil || string(one) != string(two) || again.Name != "arcface + unified + 3*cosface@b" {
			t.Errorf("%s: %v\n%s\n%s", how, err, one, two)
		}
	}
	for text, says := range map[string]string{
		"arcface: {margn: {}}":               "unknown key arcface.margn; did you mean",
		"arcface@a: {margin: {scal: 1}}":     "unknown key arcface@a.margin.scal",
		"magic: {}":                          "unknown key magic",
		"arcface: {schedule: {shape: step}}": "none of linear, cosine",
		"schedule: {begin: 0.5, end: 0.1}":   "one after the other",
		"schedule: {to: -1}":                 "0 or more",
	} {
		var c Config
		err := strictyaml.Decode([]byte("name: arcface\n"+text), &c, nil)
		if err == nil {
			err = c.Validate()
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestSchedule(t *testing.T) {
	for _, c := range []struct {
		schedule Schedule
		step     int
		want     float64
	}{
		{noSchedule, 50, 1},
		{Schedule{0, 2, 0.1, 0.5, "linear"}, 5, 0},
		{Schedule{0, 2, 0.1, 0.5, "linear"}, 30, 1},
		{Schedule{0, 2, 0.1, 0.5, "linear"}, 50, 2},
		{Schedule{0, 2, 0.1, 0.5, "cosine"}, 20, 1 - math.Cos(math.Pi/4)},
		{Schedule{1, 0, 0.3, 0.3, "linear"}, 29, 1},
		{Schedule{1, 0, 0.3, 0.3, "linear"}, 30, 0},
	} {
		if got := c.schedule.at(c.step, 100); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%+v at %d is %g, want %g", c.schedule, c.step, got, c.want)
		}
	}
}

// A sum is the weighted sum of what its terms come to alone; a term with a teacher of its own
// sees that one.
func TestWeightedSum(t *testing.T) {
	e := torchtest.Open(t)
	s := torchtest.Scope(t, e)
	p, q := newProblem(3, 6, 8), newProblem(4, 6, 8)
	value := func(text string) (float64, Parts) {
		o, err := New(config(t, "", text), Env{Device: "cpu", Dim: 8, OwnDim: 8, Classes: 3, Steps: 100,
			Teachers: map[string]Teacher{"q": {Dim: 8}}})
		if err != nil {
			t.Fatal(err)
		}
		student := torch.FromData(s, "cpu", p.student, p.n, p.d)
		b := p.batch(s, student)
		other := q.batch(s, student)
		b.Targets, b.Step = map[string]Target{"q": {student, other.Teacher, other.Usable}}, 25
		v, parts := o.Step(s, b)
		return s.Scalar(v), parts
	}
	cosine, _ := value("{name: cosine}")
	l2, _ := value("{name: l2}")
	q1, _ := value("{name: cosine@q}")
	if math.Abs(cosine-q1) < 1e-3 {
		t.Fatalf("both teachers come to %g", cosine)
	}
	got, parts := value("{name: cosine + 0.5*l2 + 2*cosine@q, l2: {schedule: {from: 0, end: 0.5}}}")
	if want := cosine + 0.25*l2 + 2*q1; math.Abs(got-want) > 1e-12 {
		t.Errorf("the sum is %g, want %g", got, want)
	}
	figures := Means(s, []Parts{parts})
	if math.Abs(figures["cosine@q"]-q1) > 1e-12 || math.Abs(figures["l2"]-l2) > 1e-12 || figures["cosine.dropped"] != 0 {
		t.Errorf("figures are %v", figures)
	}
	if _, err := New(Config{Name: "cosine@r50"}, Env{Dim: 8, Teachers: map[string]Teacher{"q": {}}}); err == nil || !strings.Contains(err.Error(), "no teacher r50") || !strings.Contains(err.Error(), "it has q") {
		t.Errorf("a teacher that the run has not: %v", err)
	}
}
