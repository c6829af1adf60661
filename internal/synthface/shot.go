package synthface

import "math"

// shot is everything that changes from one picture of a person to the next.
type shot struct {
	pose       pose
	expression expression
	lamp       lamp
	camera     camera
	occlusion  occlusion
	place      surroundings
	frame      frame
}

// pose turns the head before the camera.
type pose struct {
	yaw, pitch float64 // radians; positive yaw turns to the image's right, positive pitch looks down
	distance   float64 // of the camera from the origin, in head space's unit
}

// expression moves the features.
type expression struct {
	open  float64 // mouth, 0..1
	smile float64 // -1..1
	brow  float64 // raise of the brows, -1..1
	blink float64 // 0 open .. 1 closed
	gaze  vec2    // shift of the irises in px
}

// lamp is one directed light over an ambient one.
type lamp struct {
	toward  vec3    // from the face to the lamp, camera's axes, unit length
	key     float64 // strength of the lamp
	ambient float64
	color   [3]float64 // of the lamp; the ambient light is white
	shine   float64    // gloss of the skin
}

// camera is lens, sensor and file.
type camera struct {
	gain       [3]float64 // exposure times white balance
	contrast   float64
	saturation float64
	blurX      float64 // standard deviation in px of the template's scale
	blurY      float64
	noise      float64 // standard deviation in steps of a byte
	noiseSeed  uint64
	quality    int // of the JPEG file, 1..100
}

// occlusion is what covers parts of the face.
type occlusion struct {
	glasses glasses
	cap     bool
	capY    float64 // of the cap's rim
	object  object
	color   Color
	spot    vec2    // where a bar or a hand is, in head space
	size    float64 // its half width in px
	angle   float64
}

// glasses says what is worn before the eyes.
type glasses uint8

const (
	noGlasses glasses = iota
	clearGlasses
	sunGlasses
)

// object says what is held before the face.
type object uint8

const (
	noObject object = iota
	bar
	hand
)

// surroundings are clothes and background.
type surroundings struct {
	cloth     Color
	light     float64 // on the surroundings
	near, far Color   // ends of the background's gradient
	slope     float64
	texture   float64 // strength, 0..1
	cell      float64 // size of the texture in px
	clutter   []patch
	seed      uint64
}

// patch is a blurred shape in the background; places and sizes are fractions of the
// picture's width.
type patch struct {
	center vec2
	rx, ry float64
	angle  float64
	color  Color
}

// frame places the face in a photo.
type frame struct {
	scale  float64 // of head space, in a photo of referenceSize
	roll   float64 // radians
	offset vec2    // of head space's origin from the photo's middle, as a fraction of its width
}

// shot returns the circumstances of picture j of person i. Zero difficulty is an
// even portrait; everything that differs then is clothes and background.
func (g *Generator) shot(i, j int, hard float64) shot {
	s := func(purpose string) *stream { return newStream(g.seed, purpose, i, j) }
	return shot{
		pose:       drawPose(s("pose"), hard),
		expression: drawExpression(s("expression"), hard),
		lamp:       drawLamp(s("lamp"), hard),
		camera:     drawCamera(s("camera"), hard),
		occlusion:  drawOcclusion(s("occlusion"), hard),
		place:      drawSurroundings(s("surroundings"), hard),
		frame:      drawFrame(s("frame"), hard),
	}
}

func drawPose(r *stream, hard float64) pose {
	return pose{
		yaw:      clampAbs(r.bell(0.44)*hard, 0.65),
		pitch:    clampAbs(r.bell(0.27)*hard, 0.40),
		distance: 900 - min(hard, 1)*r.between(0, 560),
	}
}

func drawExpression(r *stream, hard float64) expression {
	e := expression{
		open:  min(max(r.between(-0.8, 1)*hard, 0), 1),
		smile: clampAbs(r.between(-0.5, 1)*hard, 1),
		brow:  clampAbs(r.bell(1)*hard, 1),
		gaze:  vec2{r.bell(2.4) * min(hard, 1), r.bell(1) * min(hard, 1)},
	}
	e.blink = min(r.between(0, 0.4)*hard, 1)
	if r.chance(0.05 * hard) {
		e.blink = 1
	}
	return e
}

func drawLamp(r *stream, hard float64) lamp {
	from := clampAbs(r.around(0, 1.3)*hard, math.Pi/2)
	rise := 0.3 + clampAbs(r.around(0.1, 0.8)*hard, 1.1)
	sin, cos := math.Sincos(from)
	up, flat := math.Sincos(rise)
	key := 0.45 + 0.45*r.between(-0.6, 1)*min(hard, 1.6)
	return lamp{
		toward:  vec3{sin * flat, -up, cos * flat}.unit(),
		key:     max(key, 0.1),
		ambient: max(0.52-0.26*r.unit()*hard, 0.08),
		color: [3]float64{
			1 + clampAbs(r.bell(0.3)*hard, 0.5),
			1,
			1 + clampAbs(r.bell(0.3)*hard, 0.5),
		},
		shine: r.unit() * min(hard, 1.5),
	}
}

func drawCamera(r *stream, hard float64) camera {
	exposure := math.Exp2(clampAbs(r.bell(0.9)*hard, 1.4))
	c := camera{
		gain: [3]float64{
			exposure * (1 + clampAbs(r.bell(0.2)*hard, 0.4)),
			exposure * (1 + clampAbs(r.bell(0.08)*hard, 0.2)),
			exposure * (1 + clampAbs(r.bell(0.2)*hard, 0.4)),
		},
		contrast:   1 + clampAbs(r.bell(0.4)*hard, 0.5),
		saturation: max(1+r.bell(0.4)*hard, 0),
		noise:      r.unit() * r.unit() * 6 * hard,
		noiseSeed:  r.next(),
		quality:    95 - int(min(r.unit()*60*hard, 75)),
	}
	if r.chance(0.04 * hard) {
		c.saturation = 0
	}
	c.blurX = 0.3 + r.unit()*r.unit()*0.9*hard
	c.blurY = c.blurX
	if r.chance(0.10 * hard) {
		c.blurX += r.between(0, 1.6)
	}
	return c
}

func drawOcclusion(r *stream, hard float64) occlusion {
	o := occlusion{
		color: Color{uint8(r.pick(230)), uint8(r.pick(230)), uint8(r.pick(230))},
		spot:  vec2{r.around(0, 40), r.between(-50, 50)},
		size:  r.between(7, 15),
		angle: r.between(0, math.Pi),
		cap:   r.chance(0.08 * hard),
		capY:  r.between(-44, -30),
	}
	switch p := r.unit(); {
	case p < 0.10*hard:
		o.glasses = clearGlasses
	case p < 0.13*hard:
		o.glasses = sunGlasses
	}
	switch p := r.unit(); {
	case p < 0.035*hard:
		o.object = bar
	case p < 0.07*hard:
		o.object = hand
		o.color = ramp(skinTones, r.unit())
	}
	return o
}

func drawSurroundings(r *stream, hard float64) surroundings {
	color := func() Color {
		vivid := Color{uint8(r.pick(256)), uint8(r.pick(256)), uint8(r.pick(256))}
		grey := uint8(r.pick(256))
		return vivid.lerp(Color{grey, grey, grey}, r.unit())
	}
	s := surroundings{
		cloth:   color(),
		near:    color(),
		far:     color(),
		slope:   r.between(0, 2*math.Pi),
		texture: r.unit() * 0.5,
		cell:    r.between(3, 40),
		clutter: make([]patch, r.pick(5)),
		seed:    r.next(),
		light:   max(0.8+r.between(-0.5, 0.8)*hard, 0.1),
	}
	for k := range s.clutter {
		s.clutter[k] = patch{
			center: vec2{r.unit(), r.unit()},
			rx:     r.between(0.05, 0.35),
			ry:     r.between(0.05, 0.35),
			angle:  r.between(0, math.Pi),
			color:  color(),
		}
	}
	return s
}

func drawFrame(r *stream, hard float64) frame {
	spread := min(hard, 1.5)
	return frame{
		scale:  0.85 + spread*r.around(0, 0.12),
		roll:   clampAbs(r.bell(0.5)*hard, 0.7),
		offset: vec2{spread * r.around(0, 0.05), 0.03 + spread*r.around(0, 0.05)},
	}
}

func clampAbs(v, limit float64) float64 { return min(max(v, -limit), limit) }
