package synthface

// AlignedSize is the width and height of an aligned crop in pixels.
const AlignedSize = 112

// template holds the five landmarks of an aligned 112×112 crop, x and y in turn:
// the eye on the image's left, the eye on its right, the tip of the nose, the
// corners of the mouth on the left and on the right. It is the common template of
// ArcFace (Deng et al., CVPR 2019) and SphereFace.
var template = [10]float64{
	38.2946, 51.6963,
	73.5318, 51.5014,
	56.0252, 71.7366,
	41.5493, 92.3655,
	70.7299, 92.2041,
}

// similarity maps (x, y) to (a·x - b·y + tx, b·x + a·y + ty): a rotation, one
// scale and a shift.
type similarity struct{ a, b, tx, ty float64 }

func (s similarity) apply(p vec2) vec2 {
	return vec2{s.a*p.x - s.b*p.y + s.tx, s.b*p.x + s.a*p.y + s.ty}
}

// inverse undoes s, whose scale must not be zero.
func (s similarity) inverse() similarity {
	n := s.a*s.a + s.b*s.b
	a, b := s.a/n, -s.b/n
	return similarity{a, b, b*s.ty - a*s.tx, -b*s.tx - a*s.ty}
}

// scaleSquared is the area of the image of a unit square.
func (s similarity) scaleSquared() float64 { return s.a*s.a + s.b*s.b }

// fit returns the similarity that takes src nearest to dst in the least squares
// sense: the closed form of Umeyama (PAMI 1991) in two dimensions, without
// reflections. The points of src must not coincide.
func fit(src, dst [10]float64) similarity {
	var sx, sy, dx, dy float64
	for k := 0; k < len(src); k += 2 {
		sx, sy = sx+src[k]/5, sy+src[k+1]/5
		dx, dy = dx+dst[k]/5, dy+dst[k+1]/5
	}
	var a, b, spread float64
	for k := 0; k < len(src); k += 2 {
		px, py := src[k]-sx, src[k+1]-sy
		qx, qy := dst[k]-dx, dst[k+1]-dy
		a += px*qx + py*qy
		b += px*qy - py*qx
		spread += px*px + py*py
	}
	a, b = a/spread, b/spread
	return similarity{a, b, dx - a*sx + b*sy, dy - b*sx - a*sy}
}
