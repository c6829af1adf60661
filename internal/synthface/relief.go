package synthface

import "math"

// relief is the depth z of the face over head space's x and y, as a grid of
// nodes reliefStep apart. Beyond the ellipsoid of the head it is 0.
type relief struct{ z field }

// field is a value at every node of the relief's grid.
type field [reliefRows * reliefCols]float32

// cell is a place on the grid: the node above and left of it, and how far it is
// towards the next column and row.
type cell struct {
	k    int
	u, v float64
}

// locate finds the cell of a point of head space; points beyond the grid are
// moved to its border.
func locate(p vec2) cell {
	u := min(max((p.x-reliefLeft)*(1./reliefStep), 0), reliefCols-1.001)
	v := min(max((p.y-reliefTop)*(1./reliefStep), 0), reliefRows-1.001)
	j, i := int(u), int(v)
	return cell{i*reliefCols + j, u - float64(j), v - float64(i)}
}

// at is the value interpolated between nodes.
func (f *field) at(c cell) float64 {
	a, b := f[c.k:c.k+2:c.k+2], f[c.k+reliefCols:c.k+reliefCols+2:c.k+reliefCols+2]
	top := float64(a[0]) + float64(a[1]-a[0])*c.u
	low := float64(b[0]) + float64(b[1]-b[0])*c.u
	return top + (low-top)*c.v
}

const (
	reliefStep = 2
	reliefLeft = -52
	reliefTop  = -88
	reliefCols = 53
	reliefRows = 76
	// skullCenter is the y of the ellipsoid's centre, skullDepth its half axis
	// along z.
	skullCenter = -12
	skullDepth  = 47
)

// bump raises the relief by height·(1-r²)² within an ellipse.
type bump struct {
	center         vec2
	rx, ry, height float64
}

func newRelief(id *Identity, f *features, e expression) *relief {
	r := &relief{}
	r.skull(id)
	for _, b := range bumps(id, f, e) {
		r.raise(b)
	}
	return r
}

// skull sets the grid to the front of the head's ellipsoid.
func (r *relief) skull(id *Identity) {
	rx := id.Head.HalfWidth * 1.06
	ry := (id.Head.Crown + id.Head.ChinDrop) / 2 * 1.04
	for k := range r.z {
		p := node(k)
		u, v := p.x/rx, (p.y-skullCenter)/ry
		if d := 1 - u*u - v*v; d > 0 {
			r.z[k] = float32(skullDepth * math.Sqrt(d))
		}
	}
}

func node(k int) vec2 {
	return vec2{
		reliefLeft + reliefStep*float64(k%reliefCols),
		reliefTop + reliefStep*float64(k/reliefCols),
	}
}

func (r *relief) raise(b bump) {
	col := func(x float64) int { return min(max(int((x-reliefLeft)/reliefStep), 0), reliefCols-1) }
	row := func(y float64) int { return min(max(int((y-reliefTop)/reliefStep), 0), reliefRows-1) }
	for i := row(b.center.y - b.ry); i <= row(b.center.y+b.ry); i++ {
		for j := col(b.center.x - b.rx); j <= col(b.center.x+b.rx); j++ {
			p := node(i*reliefCols + j)
			u, v := (p.x-b.center.x)/b.rx, (p.y-b.center.y)/b.ry
			if d := 1 - u*u - v*v; d > 0 {
				r.z[i*reliefCols+j] += float32(b.height * d * d)
			}
		}
	}
}

// bumps are the features that have a relief of their own.
func bumps(id *Identity, f *features, e expression) []bump {
	h, n := id.Head.Relief, &id.Nose
	tip := f.noseTip
	eyeY := (f.eye[0].y + f.eye[1].y) / 2
	mouthY := (f.mouth[0].y + f.mouth[1].y) / 2
	all := []bump{
		{vec2{0, eyeY - 9}, 30, 9, 3.5 * h},                                            // brow ridge
		{vec2{tip.x / 2, (eyeY + tip.y) / 2}, n.Bridge, n.Drop * 0.8, n.Height * 0.55}, // bridge
		{tip, n.Tip * 1.9, n.Tip * 1.7, n.Height * 0.62},                               // tip
		{vec2{0, mouthY}, id.Mouth.Width * 0.75, 16, 6},                                // muzzle
		{vec2{0, mouthY - f.lipUpper}, id.Mouth.Width * 0.42, 4, f.lipUpper * 0.6},
		{vec2{0, mouthY + f.gap + f.lipLower/2}, id.Mouth.Width * 0.4, 5, f.lipLower * 0.6},
		{vec2{0, f.chinY - 7}, 15, 10, 6 * h}, // chin
	}
	for side, sign := range [2]float64{-1, 1} {
		eye := f.eye[side]
		all = append(all,
			bump{eye, 12, 8.5, -5},
			bump{eye, id.Eyes.HalfWide, id.Eyes.HalfWide * 0.7, 2.5},
			bump{vec2{sign * 25, eye.y + 17}, 14, 13, (3 + 2*max(e.smile, 0)) * h}, // cheek
			bump{vec2{tip.x + sign*n.Width*0.38, tip.y + 1.5}, n.Width * 0.27, n.Tip, n.Height * 0.25},
		)
	}
	return all
}

// at is the depth at a point of head space.
func (r *relief) at(p vec2) float64 { return r.z.at(locate(p)) }

// normal is the relief's outward direction at a node.
func (r *relief) normal(k int) vec3 {
	i, j := k/reliefCols, k%reliefCols
	left, right := max(j-1, 0), min(j+1, reliefCols-1)
	above, below := max(i-1, 0), min(i+1, reliefRows-1)
	dx := float64(r.z[i*reliefCols+right]-r.z[i*reliefCols+left]) / float64((right-left)*reliefStep)
	dy := float64(r.z[below*reliefCols+j]-r.z[above*reliefCols+j]) / float64((below-above)*reliefStep)
	return vec3{-dx, -dy, 1}.unit()
}
