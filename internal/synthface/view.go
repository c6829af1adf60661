package synthface

import "math"

// view projects head space to an image: the head turns about its pivot, a camera
// at some distance looks at it, and a similarity places the result.
type view struct {
	sinYaw, cosYaw     float64
	sinPitch, cosPitch float64
	distance           float64
	toImage            similarity
}

// pivot is the depth of the axes about which the head turns.
const pivot = -15

func newView(p pose, toImage similarity) view {
	v := view{distance: p.distance, toImage: toImage}
	v.sinYaw, v.cosYaw = math.Sincos(p.yaw)
	v.sinPitch, v.cosPitch = math.Sincos(p.pitch)
	return v
}

// turn rotates a direction of the head to the camera's axes.
func (v *view) turn(p vec3) vec3 {
	x := p.x*v.cosYaw + p.z*v.sinYaw
	z := p.z*v.cosYaw - p.x*v.sinYaw
	return vec3{x, p.y*v.cosPitch + z*v.sinPitch, z*v.cosPitch - p.y*v.sinPitch}
}

// unturn is the inverse of turn.
func (v *view) unturn(p vec3) vec3 {
	y := p.y*v.cosPitch - p.z*v.sinPitch
	z := p.z*v.cosPitch + p.y*v.sinPitch
	return vec3{p.x*v.cosYaw - z*v.sinYaw, y, z*v.cosYaw + p.x*v.sinYaw}
}

// project is where a point of head space is seen before the similarity.
func (v *view) project(p vec3) vec2 {
	p.z -= pivot
	q := v.turn(p)
	scale := v.distance / (v.distance - q.z - pivot)
	return vec2{q.x * scale, q.y * scale}
}

// seen is where a point of head space is in the image.
func (v *view) seen(p vec3) vec2 { return v.toImage.apply(v.project(p)) }
