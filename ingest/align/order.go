package align

import (
	"fmt"
	"math"
)

// Order is an order in which files write the ten numbers of five landmarks. The zero Order is
// the one of [Landmarks], x before y.
type Order struct {
	name string
	// label is the number of columns before the coordinates.
	label int
	// points are the places of the five points among those of the file, nil for their own.
	points *[5]int
	// apart says that all x come before all y; yx that y comes before x.
	apart, yx bool
	// contradicts marks an order that no file means: left is the image's for the eyes and the
	// person's for the mouth.
	contradicts bool
}

// orders are those that [Recognise] knows, the most usual first.
var orders = func() []Order {
	const xy, apart = "x1 y1 ... x5 y5", "x1 ... x5 y1 ... y5"
	person, eyes, mouth := &[5]int{1, 0, 2, 4, 3}, &[5]int{1, 0, 2, 3, 4}, &[5]int{0, 1, 2, 4, 3}
	plain := []Order{
		{},
		{name: apart, apart: true},
		{name: "y1 x1 ... y5 x5", yx: true},
		{name: xy + " from the person's left", points: person},
		{name: apart + " from the person's left", points: person, apart: true},
		{name: "left and right eye swapped", points: eyes, contradicts: true},
		{name: "left and right mouth corner swapped", points: mouth, contradicts: true},
	}
	all := plain
	for _, o := range plain {
		if o.name == "" {
			o.name = xy
		}
		o.name, o.label = "a label before "+o.name, 1
		all = append(all, o)
	}
	return all
}()

// String names the order.
func (o Order) String() string { return o.name }

// Usual says whether the order is that of [Landmarks].
func (o Order) Usual() bool { return o == Order{} }

// Numbers is how many numbers the order needs.
func (o Order) Numbers() int { return o.label + 2*len(Landmarks{}) }

// Face takes the landmarks out of a file's numbers, at least [Order.Numbers].
func (o Order) Face(v []float64) (l Landmarks) {
	v = v[o.label:]
	for i := range l {
		from := i
		if o.points != nil {
			from = o.points[i]
		}
		x, y := v[2*from], v[2*from+1]
		if o.apart {
			x, y = v[from], v[len(l)+from]
		}
		if o.yx {
			x, y = y, x
		}
		l[i] = Point{x, y}
	}
	return l
}

// wanted says in errors what the usual order is.
const wanted = "x1 y1 ... x5 y5 of the eyes, the nose and the mouth's corners, each from the image's left"

// Numbers are x and y of the points in turn.
func (l Landmarks) Numbers() []float64 {
	v := make([]float64, 0, 2*len(l))
	for _, p := range l {
		v = append(v, p.X, p.Y)
	}
	return v
}

// How well landmarks fit [Template], see [Estimate], in 5,125 detections of two detectors: LFW
// fits 0.889 and better, with eyes or mouth swapped 0.76 at most. In the profiles of CFP the
// median is 0.90 and the least 0.66, while another order never fits a face better than 0.83
// that fits less than 0.8 as it is.
const (
	// usualFit is what speaks for landmarks as they are.
	usualFit = 0.8
	// clearFit is what another order has to reach.
	clearFit = 0.88
	// leaning is the largest angle of a head, in radians, that speaks for another order. With x
	// and y exchanged a face reads as one that lies on its side.
	leaning = math.Pi / 4
)

// bestOrder is the order in which numbers fit a face best. ok is false if they fit none.
func bestOrder(v []float64) (best Order, ok bool) {
	fit := usualFit
	for _, o := range orders {
		if len(v) < o.Numbers() {
			continue
		}
		m := momentsOf(o.Face(v), arcface112)
		if !(m.spread() >= minSpread && m.fit() > fit) {
			continue
		}
		if !o.Usual() && (m.fit() < clearFit || math.Abs(math.Atan2(m.cross, m.dot)) > leaning) {
			continue
		}
		best, ok, fit = o, true, m.fit()
	}
	return best, ok
}

// CheckOrder refuses a face of which another order makes a clearly better one, with
// ErrDegenerate.
func CheckOrder(l Landmarks) error {
	if o, ok := bestOrder(l.Numbers()); ok && !o.Usual() {
		return fmt.Errorf("%w: the numbers fit a face as %s; want %s", ErrDegenerate, o, wanted)
	}
	return nil
}

// Recognise finds the order in which rows of numbers, of ten or eleven each, are written: the
// usual one, unless a quarter of the rows speak for another. What fits neither is left to
// [CheckOrder], as it may be a few profiles. It is an error if none of several rows fits, if
// rows disagree, or if they contradict themselves.
func Recognise(rows [][]float64) (Order, error) {
	const (
		few = 4
		// enough is the share of rows, as one of how many, that makes an order believed: half
		// of the profiles tell none.
		enough = 4
	)
	votes, telling := map[string]int{}, 0
	winner := Order{}
	for _, row := range rows {
		o, ok := bestOrder(row)
		if !ok {
			continue
		}
		telling++
		votes[o.name]++
		if votes[o.name] > votes[winner.name] {
			winner = o
		}
	}
	switch {
	case telling == 0 && len(rows) >= few:
		return Order{}, fmt.Errorf("%w: the numbers of the first %d fit a face in no known order; want %s", ErrDegenerate, len(rows), wanted)
	case winner.Usual() || enough*votes[winner.name] < len(rows):
		return Order{}, nil
	case winner.contradicts:
		return Order{}, fmt.Errorf("%w: %d of the first %d fit a face with %s; want %s", ErrDegenerate, votes[winner.name], len(rows), winner, wanted)
	case 10*votes[winner.name] < 9*telling:
		return Order{}, fmt.Errorf("%w: only %d of the first %d fit a face as %s, the others do not; want %s", ErrDegenerate, votes[winner.name], len(rows), winner, wanted)
	}
	return winner, nil
}
