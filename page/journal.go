package page

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"strings"

	"facepipe/eval/plot"
	"facepipe/internal/journal"
)

// maxPoints are the points of a curve, maxCurves the curves of a journal, and maxLine the
// bytes of one of its lines: a file cannot make the page larger than that.
const (
	maxPoints = 300
	maxCurves = 60
	maxLine   = 1 << 20
)

// curve is a figure over the steps, thinned: when there are too many points, each two
// neighbours become one, with the range of what they stand for.
type curve struct {
	each   int // samples in a full point
	inLast int
	points []plot.Sample
	last   float64
	count  int
}

func (c *curve) add(x, y float64) {
	c.last = y
	c.count++
	if c.each == 0 {
		c.each = 1
	}
	if n := len(c.points); n > 0 && c.inLast < c.each {
		c.points[n-1] = joined(c.points[n-1], plot.Sample{X: x, Y: y, Low: y, High: y}, c.inLast, 1)
		c.inLast++
		return
	}
	if len(c.points) == maxPoints {
		c.halve()
	}
	c.points = append(c.points, plot.Sample{X: x, Y: y, Low: y, High: y})
	c.inLast = 1
}

// constant is the value that a curve has everywhere; ok is false if it has several.
func (c *curve) constant() (value float64, ok bool) {
	for _, p := range c.points {
		if p.Low != c.points[0].Low || p.High != c.points[0].Low {
			return 0, false
		}
	}
	return c.last, len(c.points) > 0
}

// halve joins neighbours; all points are full.
func (c *curve) halve() {
	half := c.points[:0]
	for i := 0; i+1 < len(c.points); i += 2 {
		half = append(half, joined(c.points[i], c.points[i+1], 1, 1))
	}
	c.points, c.each = half, 2*c.each
}

// joined is one point for two, that stand for m and n samples.
func joined(a, b plot.Sample, m, n int) plot.Sample {
	return plot.Sample{
		X: b.X, Y: (a.Y*float64(m) + b.Y*float64(n)) / float64(m+n),
		Low: min(a.Low, b.Low), High: max(a.High, b.High),
	}
}

// history is what a run's metrics.jsonl tells.
type history struct {
	// train and val are the figures of training steps and of validations, by their names.
	train, val map[string]*curve
	// rate is images a second, waits the share of the time that steps waited for crops.
	rate, waits curve
	step        int
	epoch, loss float64
	lines       int
	// bad lines could not be read, or are not what was written, a torn last one not counted; lost
	// says that there are more figures than are shown.
	bad  int
	lost bool
	// seconds of all steps, without the pauses of the run.
	seconds float64

	before logged
}

// logged is what a line has of every run.
type logged struct{ step, seconds, wait float64 }

// readJournal reads a run's journal in bounded memory; a run that has not begun has none.
func readJournal(run string, imagesPerStep float64) (*history, error) {
	j := &history{train: map[string]*curve{}, val: map[string]*curve{}}
	f, err := asDamage(journal.Open(run))
	if errors.Is(err, os.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines, chain := bufio.NewReaderSize(f, 64<<10), journal.Of("")
	for {
		line, whole, err := nextLine(lines)
		if whole {
			object, _ := chain.Read(line) // nil of one that is not what was written
			j.read(object, imagesPerStep)
		}
		if errors.Is(err, io.EOF) {
			return j, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// nextLine is the next line, nil if it is too long; whole is whether it has an end. What
// has none is being written, or was when its process was killed.
func nextLine(r *bufio.Reader) (line []byte, whole bool, err error) {
	for {
		piece, err := r.ReadSlice('\n')
		if len(line)+len(piece) <= maxLine {
			line = append(line, piece...)
		} else {
			line = nil
		}
		if err == nil {
			return line, true, nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, false, err
		}
	}
}

func (j *history) read(line []byte, imagesPerStep float64) {
	var values map[string]any
	if json.Unmarshal(line, &values) != nil {
		j.bad++
		return
	}
	step, ok := values["step"].(float64)
	if !ok {
		j.bad++
		return
	}
	j.lines++
	into := j.val
	if _, training := values["loss"]; training {
		into = j.train
		j.pace(values, step, imagesPerStep)
	}
	for name, value := range values {
		v, ok := value.(float64)
		switch name {
		case "step", "epoch", "seconds", "wait_seconds":
			continue
		}
		if ok {
			j.note(into, strings.TrimPrefix(name, "val_"), step, v)
		}
	}
	j.step = max(j.step, int(step))
	if epoch, ok := values["epoch"].(float64); ok {
		j.epoch = max(j.epoch, epoch)
	}
}

// note adds a value to a curve.
func (j *history) note(into map[string]*curve, name string, step, v float64) {
	c, ok := into[name]
	if !ok {
		if len(j.train)+len(j.val) >= maxCurves {
			j.lost = true
			return
		}
		c = new(curve)
		into[name] = c
	}
	c.add(step, v)
	if name == "loss" {
		j.loss = v
	}
}

// pace adds how fast the steps since the last line were. The seconds of a run that was
// resumed begin anew.
func (j *history) pace(values map[string]any, step, imagesPerStep float64) {
	number := func(name string) float64 {
		v, ok := values[name].(float64)
		if !ok {
			return math.NaN()
		}
		return v
	}
	now := logged{step, number("seconds"), number("wait_seconds")}
	steps, seconds := now.step-j.before.step, now.seconds-j.before.seconds
	if steps > 0 && seconds > 0 {
		j.seconds += seconds
		if imagesPerStep > 0 {
			j.rate.add(step, steps*imagesPerStep/seconds)
		}
		if wait := now.wait - j.before.wait; wait >= 0 {
			j.waits.add(step, wait/seconds)
		}
	}
	j.before = now
}
