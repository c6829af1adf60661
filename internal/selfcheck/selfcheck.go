package selfcheck

import (
	"context"
	"fmt"
	"io"

	"facepipe/internal/embed"
	"facepipe/internal/progress"
	"facepipe/internal/vec"
)

// Sizes of a test. At a hundred crops a second it takes some seconds.
const (
	// People are as many as are looked at.
	People = 48
	// MinPeople is how many people with two crops there must be; with fewer, mirror images
	// stand in.
	MinPeople = 12
)

// Faces are the crops of a test.
type Faces struct {
	// Count crops there are. Crops 2k and 2k+1 show one person, who is in no other; if
	// Mirrored, each is compared with its own mirror image instead.
	Count    int
	Mirrored bool
	// Load decodes crop i. It may be called by several goroutines at once.
	Load func(i int, rgb []byte) error
}

// String says what is compared.
func (f Faces) String() string {
	if f.Mirrored {
		return fmt.Sprintf("%d faces and their mirror images", f.Count)
	}
	return fmt.Sprintf("%d pairs of faces", f.Count/2)
}

// Result says how well a model tells people apart under some preprocessings.
type Result struct {
	// Crops were embedded. Same pairs of them show one person or, if Mirrored, a crop and its
	// mirror image. Different pairs show two people.
	Crops     int  `json:"crops"`
	Same      int  `json:"same"`
	Different int  `json:"different"`
	Mirrored  bool `json:"mirrored"`
	// Contracts are the model's own, which is the first, and the usual ones.
	Contracts []Score `json:"contracts"`
	// Best is the place in Contracts of the best one. It is 0 unless another is better by
	// more than chance and rounding explain.
	Best int `json:"best"`
}

// Score is how well a model tells people apart under a contract.
type Score struct {
	Name       string           `json:"name"`
	Preprocess embed.Preprocess `json:"preprocess"`
	// Separation is d′: the distance between the mean cosines of same and of different pairs,
	// in units of their common standard deviation. 0 if an embedding has no use.
	Separation float64 `json:"separation"`
	// AUC is the probability that a same pair's cosine is above a different one's, with its
	// 95 % interval over people.
	AUC     float64 `json:"auc"`
	AUCLow  float64 `json:"auc_low"`
	AUCHigh float64 `json:"auc_high"`

	// scores, while a test runs, say how far the cosine of each same pair lies above the mean of the different
	// ones, in units of their standard deviation.
	scores []float64
}

// scalings are those that published models want, by name.
func scalings() []Score {
	return []Score{
		{Name: "/127.5", Preprocess: embed.ArcFace()},
		{Name: "raw", Preprocess: embed.Raw()},
		{Name: "/255", Preprocess: embed.Unit()},
		{Name: "-127.5", Preprocess: embed.Centred()},
	}
}

// contracts are the model's own and, of the other usual ones with its order of channels, those
// that its input can hold.
func contracts(model *embed.Model) []Score {
	own := model.Preprocess()
	list := []Score{{Name: own.ChannelOrder + " chosen", Preprocess: own}}
	for _, s := range scalings() {
		p := own
		p.Mean, p.Std = s.Preprocess.Mean, s.Preprocess.Std
		name := own.ChannelOrder + " " + s.Name
		if p == own {
			list[0].Name = name
		} else if model.Takes(p) == nil {
			list = append(list, Score{Name: name, Preprocess: p})
		}
	}
	return list
}

// reordered is the same contract with the other order of channels.
func (s Score) reordered() Score {
	p := s.Preprocess
	p.ChannelOrder = "BGR"
	if s.Preprocess.ChannelOrder == "BGR" {
		p.ChannelOrder = "RGB"
	}
	p.Mean[0], p.Mean[2] = p.Mean[2], p.Mean[0]
	p.Std[0], p.Std[2] = p.Std[2], p.Std[0]
	return Score{Name: p.ChannelOrder + s.Name[len(p.ChannelOrder):], Preprocess: p}
}

// Run embeds faces under the model's own contract, under the usual scalings and, with the best
// of these, under the other order of channels. Mirror images, which have the same colours, say
// nothing of that order. out, unless nil, shows how far it is. Without two faces to compare the
// result is nil.
func Run(ctx context.Context, model *embed.Model, faces Faces, out io.Writer) (*Result, error) {
	if faces.Count < 2 {
		return nil, nil
	}
	r := &Result{Crops: faces.Count, Mirrored: faces.Mirrored, Contracts: contracts(model)}
	all := len(r.Contracts)
	if !faces.Mirrored {
		all++
	}
	if out != nil {
		fmt.Fprintf(out, "self-test: comparing %s on %v\n", preprocessings(all), faces)
	}
	bar := progress.New(out, "self-test", int64(all*faces.Count)).Of("crops")
	defer bar.Finish()
	for i := range all {
		if i == len(r.Contracts) {
			r.Contracts = append(r.Contracts, r.Contracts[r.Best].reordered())
		}
		c := &r.Contracts[i]
		if err := r.score(ctx, model.Under(c.Preprocess), faces, c, bar); err != nil {
			return nil, fmt.Errorf("self-test under %s: %w", c.Name, err)
		}
		if c.better(r.Contracts[r.Best]) {
			r.Best = i
		}
	}
	for i := range r.Contracts {
		r.Contracts[i].scores = nil
	}
	return r, nil
}

// preprocessings is a number of them in words.
func preprocessings(n int) string {
	if n == 1 {
		return "1 preprocessing"
	}
	return fmt.Sprintf("%d preprocessings", n)
}

// score fills in how well the model does under its contract.
func (r *Result) score(ctx context.Context, model *embed.Model, faces Faces, c *Score, bar *progress.Bar) error {
	flips := []bool{false}
	if faces.Mirrored {
		flips = []bool{false, true}
	}
	units, usable := [][]float32{}, true
	_, err := model.Stream(ctx, faces.Count, faces.Load, func(_ int, embeddings [][]float32) error {
		bar.Add(1)
		for _, e := range embeddings {
			u, ok := vec.Unit(e)
			usable = usable && ok
			units = append(units, u)
		}
		return nil
	}, embed.StreamOptions{Flips: flips})
	if err != nil {
		return err
	}
	same, different := pairs(units, faces.Mirrored)
	r.Same, r.Different = len(same), len(different)
	if usable {
		c.judge(same, different)
	}
	return nil
}
