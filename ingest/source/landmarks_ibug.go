package source

import "facepipe/ingest/align"

// ibugPoints is the number of landmarks in iBUG's annotation scheme (Sagonas et al.,
// "300 Faces in-the-Wild Challenge", 2013), which dlib, OpenFace and others follow.
const ibugPoints = 68

// Places in iBUG's order, counted from 0. What the scheme calls right is the person's:
// the left of the image.
const (
	ibugNoseTip    = 30
	ibugLeftEye    = 36 // six points around the eye on the image's left
	ibugRightEye   = 42 // six points around the other
	ibugLeftMouth  = 48
	ibugRightMouth = 54
	ibugEyePoints  = 6
)

// fiveOfIBUG reduces 68 landmarks, x and y in turn, to the five of the alignment: an
// eye is the mean of its six points.
func fiveOfIBUG(v [2 * ibugPoints]float64) align.Landmarks {
	point := func(i int) align.Point { return align.Point{X: v[2*i], Y: v[2*i+1]} }
	eye := func(first int) (mean align.Point) {
		for i := first; i < first+ibugEyePoints; i++ {
			mean.X += point(i).X / ibugEyePoints
			mean.Y += point(i).Y / ibugEyePoints
		}
		return mean
	}
	return align.Landmarks{eye(ibugLeftEye), eye(ibugRightEye), point(ibugNoseTip), point(ibugLeftMouth), point(ibugRightMouth)}
}
