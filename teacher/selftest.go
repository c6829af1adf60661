package teacher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"

	"facepipe/internal/embed"
	"facepipe/internal/progress"
	"facepipe/internal/vec"
	"facepipe/store"
)

// SelfTest says how well a teacher tells people apart under the usual preprocessings. A wrong
// one shows in nothing else: embeddings come out, only worse.
type SelfTest struct {
	// Crops were embedded. Same pairs of them show one person or, if Mirrored, a crop and its
	// mirror image. Different pairs show two people.
	Crops     int  `json:"crops"`
	Same      int  `json:"same"`
	Different int  `json:"different"`
	Mirrored  bool `json:"mirrored"`
	// Contracts are the chosen one, which is the first, and the usual ones.
	Contracts []ContractScore `json:"contracts"`
	// Best is the place in Contracts of the one to use. It is 0 unless another is better by
	// more than chance and rounding explain.
	Best int `json:"best"`
}

// ContractScore is how well a teacher tells people apart under a contract.
type ContractScore struct {
	Name       string           `json:"name"`
	Preprocess embed.Preprocess `json:"preprocess"`
	// Separation is d′: the distance between the mean cosines of same and of different pairs,
	// in units of their common standard deviation. 0 if an embedding has no use.
	Separation float64 `json:"separation"`
	// AUC is the probability that a same pair's cosine is above a different one's.
	AUC float64 `json:"auc"`

	// scores say how far the cosine of each same pair lies above the mean of the different
	// ones, in units of their standard deviation.
	scores []float64
}

// Sizes of the test. At a hundred crops a second it takes some seconds.
const (
	testPeople = 48
	// minTestPeople is how many people with two crops there must be; with fewer, mirror
	// images stand in.
	minTestPeople = 12
	// Another contract is better if the scores of same pairs are higher by so much, and by
	// so many standard errors of their differences.
	testMargin = 0.01
	testErrors = 3
)

// usual are the contracts that published models want, by name.
func usual(like embed.Preprocess) []ContractScore {
	var list []ContractScore
	for _, order := range []string{"RGB", "BGR"} {
		for _, scaling := range []struct {
			name      string
			mean, std float32
		}{{"/127.5", 127.5, 127.5}, {"/128", 127.5, 128}, {"raw", 0, 1}} {
			p := like
			p.ChannelOrder = order
			for c := range 3 {
				p.Mean[c], p.Std[c] = scaling.mean, scaling.std
			}
			list = append(list, ContractScore{Name: order + " " + scaling.name, Preprocess: p})
		}
	}
	return list
}

// selfTest embeds some crops of a dataset under the usual contracts. out, unless nil, shows
// how far it is.
func selfTest(ctx context.Context, ds *store.Dataset, model *embed.Model, out io.Writer) (*SelfTest, error) {
	faces, err := testFaces(ds)
	if err != nil || len(faces) < 2 {
		return nil, err
	}
	t := &SelfTest{Crops: len(faces), Mirrored: faces[0].person < 0, Contracts: []ContractScore{{Preprocess: model.Preprocess()}}}
	for _, c := range usual(model.Preprocess()) {
		if c.Preprocess == model.Preprocess() {
			t.Contracts[0].Name = c.Name
		} else {
			t.Contracts = append(t.Contracts, c)
		}
	}
	if out != nil {
		fmt.Fprintf(out, "self-test: comparing %d preprocessings on %s\n", len(t.Contracts), t.pairs())
	}
	bar := progress.New(out, "self-test", int64(len(t.Contracts)*len(faces))).Of("crops")
	defer bar.Finish()
	for i := range t.Contracts {
		c := &t.Contracts[i]
		if c.Name == "" {
			c.Name = "chosen"
		}
		if err := t.score(ctx, ds, model.Under(c.Preprocess), faces, c, bar); err != nil {
			return nil, fmt.Errorf("self-test under %s: %w", c.Name, err)
		}
	}
	for i, c := range t.Contracts {
		if c.better(t.Contracts[t.Best]) {
			t.Best = i
		}
	}
	return t, nil
}

// pairs says what is compared.
func (t *SelfTest) pairs() string {
	if t.Mirrored {
		return fmt.Sprintf("%d faces and their mirror images", t.Crops)
	}
	return fmt.Sprintf("%d pairs of faces", t.Crops/2)
}

// better says whether c tells people apart better than other does. It compares the scores pair
// by pair, as they vary far more between people than between contracts.
func (c ContractScore) better(other ContractScore) bool {
	if len(c.scores) == 0 || len(other.scores) == 0 {
		return len(c.scores) > 0
	}
	var gains []float64
	for i, s := range c.scores {
		gains = append(gains, s-other.scores[i])
	}
	level, _ := vec.Moments(other.scores)
	gain, variance := vec.Moments(gains)
	return gain > testMargin*math.Abs(level) && gain > testErrors*math.Sqrt(variance/float64(len(gains)))
}

// warning is what a user should know; "" if nothing.
func (t *SelfTest) warning() string {
	if t.Best == 0 {
		return ""
	}
	chosen, best := t.Contracts[0], t.Contracts[t.Best]
	return fmt.Sprintf("under %s the teacher tells people apart better than under %s (separation %.2f against %.2f, AUC %.4f against %.4f): is --preprocess right?",
		best.Name, chosen.Name, best.Separation, chosen.Separation, best.AUC, chosen.AUC)
}

// face is a crop of the test.
type face struct {
	at     store.Location
	person int32 // -1: compared with its mirror image
}

// testFaces draws people with two crops each from a few shards. If these are too few it draws
// crops of anybody. The same dataset gives the same faces.
func testFaces(ds *store.Dataset) ([]face, error) {
	var faces, anybody []face
	first := map[int32]*store.Location{}
	for _, shard := range sample(ds.Shards(), 4, 1) {
		s, err := ds.CropShard(shard)
		if err != nil {
			return nil, err
		}
		pairs, others, err := pairsOf(s, shard, first)
		if err := errors.Join(err, s.Close()); err != nil {
			return nil, err
		}
		faces, anybody = append(faces, pairs...), append(anybody, others...)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	if len(faces) >= 2*minTestPeople {
		keep := sample(len(faces)/2, testPeople, 1)
		var some []face
		for _, k := range keep {
			some = append(some, faces[2*k], faces[2*k+1])
		}
		return some, nil
	}
	rng.Shuffle(len(anybody), func(i, j int) { anybody[i], anybody[j] = anybody[j], anybody[i] })
	return anybody[:min(len(anybody), testPeople)], nil
}

// pairsOf are the faces of a shard. pairs are the first two crops of each person whose second
// is in the shard, one after the other. anybody are the first crop of each person and all
// nameless ones, for comparison with their mirror images. first knows where each person's
// first crop is, in this or another shard; nil once there is a second.
func pairsOf(s *store.CropShard, shard int, first map[int32]*store.Location) (pairs, anybody []face, err error) {
	for row := range s.Rows() {
		c, err := s.Head(row)
		if err != nil {
			return nil, nil, err
		}
		at := store.Location{Shard: uint32(shard), Row: uint32(row)}
		if c.Label == store.NoLabel {
			anybody = append(anybody, face{at, -1})
			continue
		}
		before, met := first[c.Label]
		switch {
		case !met:
			first[c.Label] = &at
			anybody = append(anybody, face{at, -1})
		case before != nil:
			pairs = append(pairs, face{*before, c.Label}, face{at, c.Label})
			first[c.Label] = nil
		}
	}
	return pairs, anybody, nil
}

// score fills in how well the model does under its contract.
func (t *SelfTest) score(ctx context.Context, ds *store.Dataset, model *embed.Model, faces []face, c *ContractScore, bar *progress.Bar) error {
	crops := ds.CropReader()
	defer crops.Close()
	mirrorings := flips(t.Mirrored)
	units, usable := [][]float32{}, true
	_, err := model.Stream(ctx, len(faces), func(i int, rgb []byte) error {
		return crops.DecodeRGB(faces[i].at, rgb)
	}, func(_ int, embeddings [][]float32) error {
		bar.Add(1)
		for _, e := range embeddings {
			u, ok := vec.Unit(e)
			usable = usable && ok
			units = append(units, u)
		}
		return nil
	}, embed.StreamOptions{Flips: mirrorings})
	if err != nil {
		return err
	}
	same, different := t.cosines(units)
	t.Same, t.Different = len(same), len(different)
	if usable {
		c.Separation, c.AUC = separation(same, different), vec.AUC(same, different)
		c.scores = scores(same, different)
	}
	return nil
}

// cosines are those of same and of different pairs. Units 2k and 2k+1 always show one person.
func (t *SelfTest) cosines(units [][]float32) (same, different []float64) {
	for i := range units {
		for j := range i {
			if j == i-1 && i%2 == 1 {
				same = append(same, vec.Dot(units[i], units[j]))
			} else if !t.Mirrored || i%2 == 0 && j%2 == 0 {
				different = append(different, vec.Dot(units[i], units[j]))
			}
		}
	}
	return same, different
}

// separation is d′ of signal detection theory.
func separation(same, different []float64) float64 {
	meanS, varS := vec.Moments(same)
	meanD, varD := vec.Moments(different)
	spread := math.Sqrt((varS + varD) / 2)
	if spread == 0 {
		return 0
	}
	return (meanS - meanD) / spread
}

// scores are same in units of the standard deviation of different, above its mean; none if
// that has no spread.
func scores(same, different []float64) []float64 {
	mean, variance := vec.Moments(different)
	if variance == 0 {
		return nil
	}
	var list []float64
	for _, s := range same {
		list = append(list, (s-mean)/math.Sqrt(variance))
	}
	return list
}
