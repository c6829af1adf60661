package loss

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Run is what the defaults of some settings depend on.
type Run struct {
	// Crops is the number of crops to train on, Flip whether each also comes mirrored.
	Crops int
	Flip  bool
	// Steps of the whole run.
	Steps int
	// Recorded, where set, is the loss that the run to go on with was begun with.
	Recorded *Config
}

// images is the number of embeddings that differ.
func (r Run) images() int {
	if r.Flip {
		return 2 * r.Crops
	}
	return r.Crops
}

// what says for people what there are embeddings of.
func (r Run) what() string {
	if r.Flip {
		return fmt.Sprintf("%d crops and their mirror images", r.Crops)
	}
	return fmt.Sprintf("%d crops", r.Crops)
}

// byRun are the settings whose defaults depend on the run.
type byRun struct {
	ILED struct {
		Warmup int `yaml:"warmup"`
	} `yaml:"iled"`
	RPSD struct {
		Ramp    int    `yaml:"ramp"`
		Bank    int    `yaml:"bank"`
		Repeats string `yaml:"repeats"`
	} `yaml:"rpsd"`
}

// defaults are those of a run: schedules take a ninth of it, as the learning rate's warm-up
// does, and the bank has a place for each image.
func (r Run) defaults() (b byRun) {
	b.ILED.Warmup, b.RPSD.Ramp = r.Steps/9, r.Steps/9
	b.RPSD.Bank, b.RPSD.Repeats = min(mostEntries, r.images()), "replace"
	return b
}

// Earlier is the config with the defaults of before they depended on the run.
func (c Config) Earlier() Config {
	var b byRun
	b.ILED.Warmup, b.RPSD.Ramp, b.RPSD.Bank, b.RPSD.Repeats = 1000, 1000, mostEntries, "keep"
	return c.laidOver(b)
}

// laidOver lays what was said over other defaults.
func (c Config) laidOver(b byRun) Config {
	c.said = slices.Concat([]*yaml.Node{sectionOf(b)}, c.said)
	return c
}

func sectionOf(v any) *yaml.Node {
	n := new(yaml.Node)
	if err := n.Encode(v); err != nil {
		panic(err) // of structs of numbers and words there is no error
	}
	return n
}

// For is the config with everything settled that depends on the run, and notes for people on
// what that comes to. What was said stays, but for a bank with more room than there are images
// to fill it. A run that is gone on with keeps what it recorded.
func (c Config) For(r Run) (Config, []string, error) {
	b := r.defaults()
	if r.Recorded != nil {
		recorded, err := r.Recorded.settled()
		if err != nil {
			return c, nil, err
		}
		for _, t := range recorded {
			if t.Loss == unifiedLoss.Name {
				if err := sectionOf(t.settings).Decode(&b); err != nil {
					return c, nil, err
				}
			}
		}
	}
	c = c.laidOver(b)
	terms, err := c.settled()
	i := slices.IndexFunc(terms, func(t settledTerm) bool { return t.Loss == unifiedLoss.Name })
	if err != nil || i < 0 {
		return c, nil, err
	}
	u := terms[i].settings.(unifiedSettings)
	var notes []string
	if most := r.images(); u.RPSD.banked() && u.RPSD.Repeats == "replace" && u.RPSD.Bank > most {
		notes = append(notes, fmt.Sprintf("note: a bank of %d entries is more than can differ of %s: it has %d", u.RPSD.Bank, r.what(), most))
		u.RPSD.Bank = most
		c.said = append(slices.Clip(c.said), sectionOf(map[string]any{"rpsd": map[string]int{"bank": most}}))
	}
	return c, append(notes, u.notes(r)...), nil
}

// notes say what the settings come to in a run.
func (c unifiedSettings) notes(r Run) []string {
	_, negatives := c.RPSD.ofBank()
	bank := fmt.Sprintf("bank of %d entries for %s", c.RPSD.Bank, r.what())
	if !c.RPSD.banked() {
		bank = "no bank"
	}
	notes := []string{fmt.Sprintf("%s; RPSD's ramp takes %d and ILED's warm-up %d of %d steps", bank, c.RPSD.Ramp, c.ILED.Warmup, r.Steps)}
	if c.RPSD.Bank > 0 && c.RPSD.Bank < negatives {
		what := "it is used with what it has"
		if !c.RPSD.small() {
			what = "with repeats: keep it is not used"
		}
		notes = append(notes, fmt.Sprintf("warning: the bank of %d entries is smaller than the %d negatives that are to be mined of it: %s", c.RPSD.Bank, c.RPSD.Negatives, what))
	}
	for _, s := range []struct {
		key   string
		steps int
	}{{"rpsd.ramp", c.RPSD.Ramp}, {"iled.warmup", c.ILED.Warmup}} {
		if s.steps >= r.Steps {
			notes = append(notes, fmt.Sprintf("warning: loss.%s of %d steps does not end within the run of %d", s.key, s.steps, r.Steps))
		}
	}
	return notes
}
