package align

import (
	"math"
	"math/rand/v2"
	"testing"
)

// turned are the landmarks of the average head under a pose, seen by a camera far away,
// scaled and shifted.
func turned(p Pose, scale, tx, ty float64) Landmarks {
	h := headModel()
	var out Landmarks
	sinYaw, cosYaw := math.Sincos(p.Yaw * math.Pi / 180)
	sinPitch, cosPitch := math.Sincos(p.Pitch * math.Pi / 180)
	sinRoll, cosRoll := math.Sincos(p.Roll * math.Pi / 180)
	for i := range out {
		x, y, z := h[0][i], h[1][i], h[2][i]
		// Looking up, the lower half of the face comes nearer.
		y, z = y*cosPitch+z*sinPitch, z*cosPitch-y*sinPitch
		// To the right, the image's right half goes away.
		x, z = x*cosYaw-z*sinYaw, z*cosYaw+x*sinYaw
		_ = z
		x, y = x*cosRoll-y*sinRoll, x*sinRoll+y*cosRoll
		out[i] = Point{X: scale*x + tx, Y: scale*y + ty}
	}
	return out
}

func closeTo(got, want Pose, tolerance float64) bool {
	return math.Abs(got.Yaw-want.Yaw) <= tolerance && math.Abs(got.Pitch-want.Pitch) <= tolerance &&
		math.Abs(math.Remainder(got.Roll-want.Roll, 360)) <= tolerance
}

// The pose of the average head is found exactly.
func TestEstimatePose(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		want := Pose{Yaw: 170*rng.Float64() - 85, Pitch: 120*rng.Float64() - 60, Roll: 360*rng.Float64() - 180}
		face := turned(want, math.Exp(4*rng.Float64()-2), 500*rng.Float64(), 500*rng.Float64())
		if got := EstimatePose(face); !closeTo(got, want, 1e-6) {
			t.Fatalf("%+v is taken for %+v", want, got)
		}
	}
}

// A face with the template's landmarks looks into the camera, and the signs are those
// that the documentation says.
func TestPoseSigns(t *testing.T) {
	front := EstimatePose(Template(CropSize))
	if !closeTo(front, Pose{}, 0.5) {
		t.Errorf("the template has the pose %+v", front)
	}
	nose := func(dx, dy float64) Pose {
		face := Template(CropSize)
		face[2].X += dx
		face[2].Y += dy
		return EstimatePose(face)
	}
	if p := nose(6, 0); p.Yaw < 10 {
		t.Errorf("nose to the right: %+v", p)
	}
	if p := nose(0, -6); p.Pitch < 10 {
		t.Errorf("nose up: %+v", p)
	}
	leaning := Template(CropSize)
	for i, p := range leaning {
		leaning[i] = Similarity{A: math.Cos(0.3), B: math.Sin(0.3)}.Apply(p)
	}
	if p := EstimatePose(leaning); math.Abs(p.Roll-front.Roll-0.3*180/math.Pi) > 1e-6 || math.Abs(p.Yaw-front.Yaw) > 1e-6 {
		t.Errorf("clockwise by 0.3: %+v", p)
	}
}

// Mirrored landmarks, left and right exchanged, have the opposite yaw and roll.
func TestPoseOfMirrorImage(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		face := turned(Pose{Yaw: 40 * rng.NormFloat64() / 2, Pitch: 10 * rng.NormFloat64(), Roll: 20 * rng.NormFloat64()}, 1, 0, 0)
		for i := range face {
			face[i].X += rng.NormFloat64()
			face[i].Y += rng.NormFloat64()
		}
		var mirror Landmarks
		for i, of := range []int{1, 0, 2, 4, 3} {
			mirror[i] = Point{X: -face[of].X, Y: face[of].Y}
		}
		a, b := EstimatePose(face), EstimatePose(mirror)
		if !closeTo(b, Pose{Yaw: -a.Yaw, Pitch: a.Pitch, Roll: -a.Roll}, 1e-6) {
			t.Fatalf("%+v, its mirror image %+v", a, b)
		}
	}
}

func TestPoseWithoutExtent(t *testing.T) {
	if p := EstimatePose(Landmarks{}); !math.IsNaN(p.Yaw) {
		t.Errorf("of five points in one place: %+v", p)
	}
}
