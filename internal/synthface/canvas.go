package synthface

// canvas is the picture before light and camera: what colour the scene's surfaces
// have (in linear light, see [Color.linear]) and how much of each pixel belongs
// to the person rather than to the surroundings.
type canvas struct {
	*raster
	albedo []int32  // red, green, blue a pixel
	person []uint16 // 0..opaque a pixel
	tones  []int32  // the camera's working memory
	clips  [][]uint16
	depth  int // clips in force
	clip   box // where the clips let anything through
}

func newCanvas(w, h int) *canvas {
	return &canvas{
		raster: newRaster(w, h),
		albedo: make([]int32, 3*w*h),
		person: make([]uint16, w*h),
		tones:  make([]int32, 3*w*h),
	}
}

// reset makes the canvas as new, its albedo aside, which the background overwrites.
func (c *canvas) reset() {
	clear(c.person)
	c.depth = 0
	c.clip = box{0, 0, c.w, c.h}
}

// ink is how a shape is filled.
type ink struct {
	color Color
	alpha float64 // 0..1
	soft  float64 // spread of a soft edge in pixels
	grain *grain  // modulates the brightness, or nil
	scene bool    // belongs to the surroundings, which the lamp does not reach
}

// paint fills a path.
func (c *canvas) paint(p path, i ink) {
	radius := int(i.soft + 0.5)
	b := c.fill(p, 2*radius).intersect(c.clip)
	if b.empty() {
		return
	}
	if radius > 0 {
		c.soften(b, radius)
	}
	c.blend(b, i)
}

// blend lays the ink over the box by the raster's coverage.
func (c *canvas) blend(b box, i ink) {
	rgb := i.color.linear()
	alpha := int32(min(max(i.alpha, 0), 1)*opaque + 0.5)
	for y := b.y0; y < b.y1; y++ {
		c.maskRow(y, b)
		for x := b.x0; x < b.x1; x++ {
			at := y*c.w + x
			cover := int32(c.cover[at]) * alpha >> opaqueBits
			if cover == 0 {
				continue
			}
			light := int32(opaque)
			if i.grain != nil {
				light += i.grain.at(x, y)
			}
			pixel := c.albedo[3*at : 3*at+3 : 3*at+3]
			for k, v := range rgb {
				pixel[k] += (v*light>>opaqueBits - pixel[k]) * cover >> opaqueBits
			}
			if !i.scene {
				c.person[at] += uint16((opaque - int32(c.person[at])) * cover >> opaqueBits)
			}
		}
	}
}

// maskRow multiplies a row of coverage by the innermost clip.
func (c *canvas) maskRow(y int, b box) {
	if c.depth == 0 {
		return
	}
	cover, clip := c.cover[y*c.w+b.x0:y*c.w+b.x1], c.clips[c.depth-1][y*c.w+b.x0:]
	for x, v := range cover {
		cover[x] = uint16(uint32(v) * uint32(clip[x]) / opaque)
	}
}

// clipTo confines what follows to the inside of p, until the matching unclip, and
// returns a function that undoes it. Clips nest.
func (c *canvas) clipTo(p path) (unclip func()) {
	outer := c.clip
	b := c.fill(p, 0).intersect(outer)
	if c.depth == len(c.clips) {
		c.clips = append(c.clips, make([]uint16, c.w*c.h))
	}
	for y := b.y0; y < b.y1; y++ {
		c.maskRow(y, b)
		copy(c.clips[c.depth][y*c.w+b.x0:y*c.w+b.x1], c.cover[y*c.w+b.x0:])
	}
	c.depth++
	c.clip = b
	return func() {
		c.depth--
		c.clip = outer
	}
}

// grain is a two-dimensional value noise laid over a shape: strands of hair,
// mottled skin, cloth, plaster.
type grain struct {
	seed uint64
	// Texture coordinates of pixel (x, y) in 1/grainCell of the noise's lattice:
	// u = u0 + ux·x + uy·y, all times grainCell.
	u0, ux, uy, v0, vx, vy int32
	strength               int32 // the largest change of brightness, 1/opaque
}

const grainCell = 256

// newGrain makes a grain whose lattice has cells of width cu by cv (pixels of the
// picture before the inverse similarity s is applied to it).
func newGrain(seed uint64, s similarity, cu, cv, strength float64) *grain {
	fix := func(v float64) int32 { return int32(min(max(v*grainCell, -1<<24), 1<<24)) }
	return &grain{
		seed: seed,
		u0:   fix(s.tx / cu), ux: fix(s.a / cu), uy: fix(-s.b / cu),
		v0: fix(s.ty / cv), vx: fix(s.b / cv), vy: fix(s.a / cv),
		strength: int32(strength * opaque),
	}
}

// at is the change of brightness at a pixel, -strength..strength.
func (g *grain) at(x, y int) int32 {
	u := g.u0 + g.ux*int32(x) + g.uy*int32(y)
	v := g.v0 + g.vx*int32(x) + g.vy*int32(y)
	iu, iv, fu, fv := u>>8, v>>8, u&255, v&255
	top := g.node(iu, iv)*(grainCell-fu) + g.node(iu+1, iv)*fu
	low := g.node(iu, iv+1)*(grainCell-fu) + g.node(iu+1, iv+1)*fu
	return (top>>8*(grainCell-fv) + low>>8*fv) >> 8 * g.strength >> 7
}

// node is the noise at a lattice point, -128..127.
func (g *grain) node(u, v int32) int32 {
	h := (uint64(uint32(u))<<32 | uint64(uint32(v))) ^ g.seed
	h *= 0x9e3779b97f4a7c15
	h ^= h >> 29
	h *= 0xbf58476d1ce4e5b9
	return int32(h>>56) - 128
}
