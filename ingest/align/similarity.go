package align

import (
	"errors"
	"fmt"
	"math"
)

// ErrDegenerate marks landmarks from which no pose can be computed.
var ErrDegenerate = errors.New("degenerate landmarks")

// Point is a position in an image, in pixels.
type Point struct{ X, Y float64 }

// Landmarks are the five points of a face: image-left eye, image-right eye, nose
// tip, image-left and image-right mouth corner.
type Landmarks [5]Point

// Similarity is the map x' = A·x − B·y + Tx, y' = B·x + A·y + Ty: a rotation by
// atan2(B, A), a uniform scale of √(A²+B²) and a shift.
type Similarity struct{ A, B, Tx, Ty float64 }

// Apply maps p.
func (s Similarity) Apply(p Point) Point {
	// The conversions, here and below, forbid fused multiply-add, so that every
	// processor computes the same crop.
	return Point{
		X: float64(s.A*p.X) - float64(s.B*p.Y) + s.Tx,
		Y: float64(s.B*p.X) + float64(s.A*p.Y) + s.Ty,
	}
}

// Scale is the length that a unit vector is mapped to.
func (s Similarity) Scale() float64 { return math.Hypot(s.A, s.B) }

// Inverse is the map that undoes s, whose scale must not be zero.
func (s Similarity) Inverse() Similarity {
	n := float64(s.A*s.A) + float64(s.B*s.B)
	inv := Similarity{A: s.A / n, B: -s.B / n}
	inv.Tx = -(float64(inv.A*s.Tx) - float64(inv.B*s.Ty))
	inv.Ty = -(float64(inv.B*s.Tx) + float64(inv.A*s.Ty))
	return inv
}

// minSpread is the smallest root-mean-square distance, in pixels, of landmarks
// from their centre: below it a face would be no larger than a pixel or two.
const minSpread = 1

// minFit is the smallest correlation of landmarks and targets: 1 for the same shape
// and 0 where the best map shrinks everything to a point. Detected faces stay above
// 0.65 even in profile; a face whose left and right are swapped, which a rotation
// cannot mend, reaches 0.23 on the template. [CheckOrder] finds what lies between.
const minFit = 0.6

// moments are sums over two sets of points around their centres.
type moments struct {
	srcMean, dstMean Point
	srcVar, dstVar   float64
	dot, cross       float64
}

func momentsOf(src, dst Landmarks) moments {
	m := moments{srcMean: src.Centre(), dstMean: dst.Centre()}
	for i := range src {
		px, py := src[i].X-m.srcMean.X, src[i].Y-m.srcMean.Y
		qx, qy := dst[i].X-m.dstMean.X, dst[i].Y-m.dstMean.Y
		m.srcVar += float64(px*px) + float64(py*py)
		m.dstVar += float64(qx*qx) + float64(qy*qy)
		m.dot += float64(px*qx) + float64(py*qy)
		m.cross += float64(px*qy) - float64(py*qx)
	}
	return m
}

// spread is the root-mean-square distance of the source from its centre.
func (m moments) spread() float64 { return math.Sqrt(m.srcVar / float64(len(Landmarks{}))) }

// fit is the correlation under the best rotation.
func (m moments) fit() float64 { return math.Hypot(m.dot, m.cross) / math.Sqrt(m.srcVar*m.dstVar) }

// Estimate finds the similarity that minimises the sum of squared distances
// between the mapped src and dst: the two-dimensional case of Umeyama, "Least-
// squares estimation of transformation parameters between two point patterns",
// 1991, which needs no singular value decomposition because every (A, B) is a
// proper rotation with a scale. Points that are not finite, that nearly coincide,
// or that bear no resemblance to dst in any rotation give ErrDegenerate.
func Estimate(src, dst Landmarks) (Similarity, error) {
	m := momentsOf(src, dst)
	if math.IsNaN(m.srcVar) || math.IsInf(m.srcVar, 0) {
		return Similarity{}, fmt.Errorf("%w: a coordinate is not finite", ErrDegenerate)
	}
	if spread := m.spread(); spread < minSpread {
		return Similarity{}, fmt.Errorf("%w: all points lie within %.2g pixels", ErrDegenerate, spread)
	}
	if fit := m.fit(); fit < minFit {
		return Similarity{}, fmt.Errorf("%w: the points do not have the shape of a face (fit %.2g)", ErrDegenerate, fit)
	}
	s := Similarity{A: m.dot / m.srcVar, B: m.cross / m.srcVar}
	s.Tx = m.dstMean.X - (float64(s.A*m.srcMean.X) - float64(s.B*m.srcMean.Y))
	s.Ty = m.dstMean.Y - (float64(s.B*m.srcMean.X) + float64(s.A*m.srcMean.Y))
	return s, nil
}

// Centre is the mean of the points.
func (l Landmarks) Centre() Point {
	var m Point
	for _, p := range l {
		m.X += p.X / float64(len(l))
		m.Y += p.Y / float64(len(l))
	}
	return m
}
