package synthface

import "math"

// vec2 is a point of head space without its depth, or of an image.
type vec2 struct{ x, y float64 }

func (p vec2) plus(q vec2) vec2 { return vec2{p.x + q.x, p.y + q.y} }

// vec3 is a point or a direction of head space.
type vec3 struct{ x, y, z float64 }

func (p vec3) dot(q vec3) float64 { return p.x*q.x + p.y*q.y + p.z*q.z }

func (p vec3) unit() vec3 {
	n := 1 / math.Sqrt(p.dot(p))
	return vec3{p.x * n, p.y * n, p.z * n}
}

// curveSteps is the number of straight pieces between two points of a spline.
const curveSteps = 6

// spline is a smooth open curve through the points (Catmull-Rom).
func spline(points ...vec2) []vec2 {
	n := len(points)
	curve := make([]vec2, 0, curveSteps*(n-1)+1)
	for k := range n - 1 {
		before, after := points[max(k-1, 0)], points[min(k+2, n-1)]
		curve = appendSpan(curve, before, points[k], points[k+1], after)
	}
	return append(curve, points[n-1])
}

// loop is a smooth closed curve through the points.
func loop(points ...vec2) []vec2 {
	n := len(points)
	curve := make([]vec2, 0, curveSteps*n)
	for k := range n {
		curve = appendSpan(curve, points[(k+n-1)%n], points[k], points[(k+1)%n], points[(k+2)%n])
	}
	return curve
}

// appendSpan appends the Catmull-Rom span from p to q, q itself left out.
func appendSpan(curve []vec2, before, p, q, after vec2) []vec2 {
	for step := range curveSteps {
		t := float64(step) / curveSteps
		curve = append(curve, vec2{
			catmullRom(before.x, p.x, q.x, after.x, t),
			catmullRom(before.y, p.y, q.y, after.y, t),
		})
	}
	return curve
}

func catmullRom(a, b, c, d, t float64) float64 {
	return b + 0.5*t*(c-a+t*(2*a-5*b+4*c-d+t*(3*(b-c)+d-a)))
}

// ellipse is an ellipse turned by angle (radians), as a polygon of so many corners.
func ellipse(center vec2, rx, ry, angle float64, corners int) []vec2 {
	sin, cos := math.Sincos(angle)
	curve := make([]vec2, corners)
	for k := range curve {
		v, u := math.Sincos(2 * math.Pi * float64(k) / float64(corners))
		u, v = u*rx, v*ry
		curve[k] = vec2{center.x + u*cos - v*sin, center.y + u*sin + v*cos}
	}
	return curve
}

// stroke is the outline of a pen drawn along an open curve. Its width changes
// smoothly from start over middle to end.
func stroke(spine []vec2, start, middle, end float64) []vec2 {
	n := len(spine)
	outline := make([]vec2, 2*n)
	for k, p := range spine {
		before, after := spine[max(k-1, 0)], spine[min(k+1, n-1)]
		dx, dy := after.x-before.x, after.y-before.y
		t := float64(k) / float64(n-1)
		width := start*(1-t)*(1-2*t) + 4*middle*t*(1-t) + end*t*(2*t-1)
		scale := 0.5 * max(width, 0) / math.Sqrt(dx*dx+dy*dy+1e-12)
		outline[k] = vec2{p.x - dy*scale, p.y + dx*scale}
		outline[2*n-1-k] = vec2{p.x + dy*scale, p.y - dx*scale}
	}
	return outline
}

// mirrored is the curve reflected in the y axis, in reverse order.
func mirrored(curve []vec2) []vec2 {
	out := reversed(curve)
	for k := range out {
		out[k].x = -out[k].x
	}
	return out
}

// symmetric is a smooth closed curve, given by the points of its right half from
// the axis at the top to the axis at the bottom.
func symmetric(right ...vec2) []vec2 {
	return loop(append(right, mirrored(right[1:len(right)-1])...)...)
}

func reversed(curve []vec2) []vec2 {
	out := make([]vec2, len(curve))
	for k, p := range curve {
		out[len(curve)-1-k] = p
	}
	return out
}

// join puts curves together end to end, without touching any of them.
func join(curves ...[]vec2) []vec2 {
	var out []vec2
	for _, c := range curves {
		out = append(out, c...)
	}
	return out
}
