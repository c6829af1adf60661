package align

import "math"

// Pose is which way a head is turned, in degrees, as one sees the photograph.
type Pose struct {
	// Yaw is positive where the face turns to the photograph's right, -90..90.
	Yaw float64
	// Pitch is positive where the face looks up, -180..180.
	Pitch float64
	// Roll is positive where the head leans clockwise, -180..180. It turns with the
	// photograph; the other two do not.
	Roll float64
}

// noseDepth is how far the nose's tip lies before the plane of the eyes and the mouth's
// corners, in distances between the eyes. It is the depth that makes one rigid head of
// the landmarks that SCRFD finds in LFW's photographs (1,358 faces and their mirror
// images): their centred coordinates were factored into views and a shape of three
// dimensions (Tomasi and Kanade, "Shape and motion from image streams under
// orthography", 1992), each view being a rotation with a scale.
const noseDepth = 0.56

// headModel is the template's face, made symmetric, with the depth of its nose: x to the
// right, y down and z away from the camera, in pixels of the crop, the points' centre at
// the origin. A face with the template's landmarks looks into the camera.
func headModel() [3][5]float64 {
	t := arcface112
	eyes, mouth := (t[1].X-t[0].X)/2, (t[4].X-t[3].X)/2
	eyeY, mouthY := (t[0].Y+t[1].Y)/2, (t[3].Y+t[4].Y)/2
	return [3][5]float64{
		{-eyes, eyes, 0, -mouth, mouth},
		centred([5]float64{eyeY, eyeY, t[2].Y, mouthY, mouthY}),
		centred([5]float64{0, 0, -noseDepth * 2 * eyes, 0, 0}),
	}
}

func centred(v [5]float64) [5]float64 {
	mean := 0.0
	for _, e := range v {
		mean += e / 5
	}
	for i := range v {
		v[i] -= mean
	}
	return v
}

// EstimatePose finds how the head is turned whose landmarks these are. It fits an affine
// camera to the points of an average head by least squares, takes the rotation with a
// scale that is nearest to it, and that one apart into roll (outermost), yaw and pitch.
// It is an estimate: a face that is longer or shorter than the average's, or whose mouth
// is open, is taken for one that looks up or down. Landmarks without an extent give NaN.
func EstimatePose(face Landmarks) Pose {
	var x, y [5]float64
	for i, p := range face {
		x[i], y[i] = p.X, p.Y
	}
	right, down := nearestAxes(fitCamera(centred(x)), fitCamera(centred(y)))
	// right and down are the upper two rows of the rotation; the third is their cross
	// product.
	third := [3]float64{
		right[1]*down[2] - right[2]*down[1],
		right[2]*down[0] - right[0]*down[2],
		right[0]*down[1] - right[1]*down[0],
	}
	const degrees = 180 / math.Pi
	return Pose{
		Yaw:   degrees * math.Asin(max(-1, min(1, third[0]))),
		Pitch: degrees * math.Atan2(-third[1], third[2]),
		Roll:  degrees * math.Atan2(down[0], right[0]),
	}
}

// fitCamera is the row of the affine camera that maps the head's points nearest to the
// given coordinates. The normal equations fall apart, since the head is symmetric: x
// stands alone.
func fitCamera(seen [5]float64) [3]float64 {
	h := headModel()
	var rhs [3]float64
	for k := range h {
		rhs[k] = dot(h[k], seen)
	}
	yy, yz, zz := dot(h[1], h[1]), dot(h[1], h[2]), dot(h[2], h[2])
	det := yy*zz - yz*yz
	return [3]float64{
		rhs[0] / dot(h[0], h[0]),
		(zz*rhs[1] - yz*rhs[2]) / det,
		(yy*rhs[2] - yz*rhs[1]) / det,
	}
}

func dot(a, b [5]float64) float64 {
	sum := 0.0
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

// nearestAxes are the two orthogonal unit vectors that, with a common scale, are nearest
// to a and b: the polar decomposition of the matrix M of rows a and b, (MMᵀ)^(-1/2) M,
// where the square root of a positive 2 by 2 matrix A is (A + √det A) / √(tr A + 2 √det A).
func nearestAxes(a, b [3]float64) (u, v [3]float64) {
	aa, ab, bb := dot3(a, a), dot3(a, b), dot3(b, b)
	root := math.Sqrt(aa*bb - ab*ab)
	// The inverse of the root is its adjugate over its determinant, which is root.
	scale := root * math.Sqrt(aa+bb+2*root)
	for k := range a {
		u[k] = ((bb+root)*a[k] - ab*b[k]) / scale
		v[k] = ((aa+root)*b[k] - ab*a[k]) / scale
	}
	return u, v
}

func dot3(a, b [3]float64) float64 { return a[0]*b[0] + a[1]*b[1] + a[2]*b[2] }
