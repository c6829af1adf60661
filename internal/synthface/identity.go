package synthface

// Identity is what stays the same in all pictures of a person. Lengths are in
// pixels of the 112×112 template, where eyes are about 35 apart; other numbers
// without a unit run from -1 to 1 or from 0 to 1 as said.
type Identity struct {
	Head  Head
	Eyes  Eyes
	Brows Brows
	Nose  Nose
	Mouth Mouth
	Skin  Skin
	Hair  Hair
	Beard Beard
	Marks []Mark
	// Skew is the face's asymmetry (-1..1): one eye and one corner of the mouth
	// are a little higher.
	Skew float64
}

// Head is the outline of skull and jaw.
type Head struct {
	HalfWidth float64 // at the temples
	Crown     float64 // height of the skull above the origin
	Cheek     float64 // half width at the cheekbones, as a fraction of HalfWidth
	Jaw       float64 // half width at the angle of the jaw, as a fraction of HalfWidth
	Chin      float64 // half width of the chin, as a fraction of HalfWidth
	ChinDrop  float64 // from the origin down to the chin
	Ears      float64 // size of the ears, 1 is average
	Relief    float64 // height of cheekbones, brow ridge and chin, 1 is average
}

// Eyes holds the shape of the eyes and the colour of the iris.
type Eyes struct {
	Spacing  float64 // between the centres
	Height   float64 // of the centres above the origin
	HalfWide float64 // from the centre to a corner
	Opening  float64 // from the lower to the upper lid
	Tilt     float64 // radians; positive raises the outer corners
	Crease   float64 // distance of the lid's crease from its edge
	Radius   float64 // of the iris
	Iris     Color
	Lashes   float64 // thickness of the upper lash line
}

// Brows holds the shape of the eyebrows.
type Brows struct {
	Gap       float64 // above the centre of the eye
	Length    float64
	Thickness float64
	Arch      float64 // rise of the middle
	Tilt      float64 // radians; positive raises the outer ends
	Inset     float64 // shift of both towards the nose
	Density   float64 // 0..1
}

// Nose holds the shape of the nose.
type Nose struct {
	Drop   float64 // of the tip below the eyes
	Width  float64 // across the nostrils
	Bridge float64 // width of the bridge
	Height float64 // of the tip above the face
	Tip    float64 // radius of the tip
}

// Mouth holds the shape and the colour of the lips.
type Mouth struct {
	Drop  float64 // of the corners below the origin
	Width float64
	Upper float64 // thickness of the upper lip
	Lower float64 // thickness of the lower lip
	Bow   float64 // depth of the notch of the upper lip, 0..1
	Color Color
}

// Skin holds the colour of the skin and how even it is.
type Skin struct {
	Color    Color
	Blush    float64 // redness of cheeks and nose, 0..1
	Mottle   float64 // unevenness, 0..1
	Lines    float64 // folds beside the mouth, on the forehead, below the eyes, 0..1
	Freckles int     // number of freckles
	Pattern  uint64  // where freckles and mottles are
}

// Hair holds colour and cut of the hair.
type Hair struct {
	Color   Color
	Style   HairStyle
	Line    float64 // height of the hairline above the origin
	Temple  float64 // how far the hairline recedes at the temples
	Parting float64 // place of the parting, -1..1
	Sweep   float64 // slant of the hairline
	Volume  float64 // how far the hair stands off the skull
	Length  float64 // of the side hair, below the origin
	Curl    float64 // 0 straight .. 1 curly
}

// HairStyle says which hair is drawn at all.
type HairStyle uint8

// The styles of hair.
const (
	Bald  HairStyle = iota
	Short           // ends above the ears
	Long            // falls beside the face
)

// Beard holds the density of facial hair, 0 (none) to 1.
type Beard struct {
	Moustache float64
	Chin      float64
	Cheeks    float64
}

// Mark is a mole or a spot on the face.
type Mark struct {
	X, Y   float64 // place in head space, on the face as seen from the front
	Radius float64
	Color  Color
}

// skinTones runs from light to dark.
var skinTones = []Color{
	{246, 214, 190}, {232, 188, 156}, {208, 156, 118}, {172, 116, 80}, {126, 80, 54}, {84, 54, 40},
}

var hairColors = []Color{
	{22, 18, 18}, {38, 28, 22}, {70, 44, 28}, {104, 66, 38}, {140, 72, 36}, {176, 136, 82}, {206, 180, 132}, {150, 146, 142}, {208, 206, 202},
}

var irisColors = []Color{
	{48, 28, 16}, {84, 52, 26}, {118, 82, 40}, {104, 112, 58}, {92, 124, 110}, {96, 130, 164}, {120, 132, 144},
}

// Identity returns person i: the same one in every picture and on every machine.
func (g *Generator) Identity(i int) Identity {
	id := Identity{
		Head:  drawHead(newStream(g.seed, "head", i)),
		Eyes:  drawEyes(newStream(g.seed, "eyes", i)),
		Brows: drawBrows(newStream(g.seed, "brows", i)),
		Nose:  drawNose(newStream(g.seed, "nose", i)),
		Mouth: drawMouth(newStream(g.seed, "mouth", i)),
		Skin:  drawSkin(newStream(g.seed, "skin", i)),
		Hair:  drawHair(newStream(g.seed, "hair", i)),
		Beard: drawBeard(newStream(g.seed, "beard", i)),
		Skew:  newStream(g.seed, "skew", i).bell(1),
	}
	id.Mouth.Color = id.Skin.Color.lerp(id.Mouth.Color, 0.6)
	id.Marks = drawMarks(newStream(g.seed, "marks", i), id.Skin.Color)
	return id
}

func drawHead(r *stream) Head {
	return Head{
		HalfWidth: r.around(38, 4.5),
		Crown:     r.around(76, 6),
		Cheek:     r.around(0.97, 0.07),
		Jaw:       r.around(0.80, 0.13),
		Chin:      r.around(0.38, 0.16),
		ChinDrop:  r.around(50, 6.5),
		Ears:      r.around(1, 0.35),
		Relief:    r.around(1, 0.8),
	}
}

func drawEyes(r *stream) Eyes {
	return Eyes{
		Spacing:  r.around(35.2, 4.5),
		Height:   r.around(14.4, 2.4),
		HalfWide: r.around(7.9, 1.8),
		Opening:  r.around(6.6, 2.6),
		Tilt:     r.around(0.04, 0.22),
		Crease:   r.around(2.6, 2),
		Radius:   r.around(3.4, 0.6),
		Iris:     ramp(irisColors, r.unit()),
		Lashes:   r.around(1.1, 0.7),
	}
}

func drawBrows(r *stream) Brows {
	return Brows{
		Gap:       r.around(9.8, 3),
		Length:    r.around(18, 4.5),
		Thickness: r.around(3.3, 2.1),
		Arch:      r.around(1.8, 2.6),
		Tilt:      r.around(0.02, 0.22),
		Inset:     r.around(0.5, 2),
		Density:   r.around(0.65, 0.35),
	}
}

func drawNose(r *stream) Nose {
	return Nose{
		Drop:   r.around(20.2, 3.8),
		Width:  r.around(17.5, 5.2),
		Bridge: r.around(7, 2.6),
		Height: r.around(13, 5),
		Tip:    r.around(5, 1.8),
	}
}

func drawMouth(r *stream) Mouth {
	return Mouth{
		Drop:  r.around(26.3, 3.2),
		Width: r.around(29.2, 6.5),
		Upper: r.around(3.4, 2.1),
		Lower: r.around(4.9, 2.7),
		Bow:   r.around(0.4, 0.4),
		Color: Color{168, 72, 76}.shift(r.around(0, 50), r.around(0, 36), r.around(0, 40)),
	}
}

func drawSkin(r *stream) Skin {
	s := Skin{
		Color:   ramp(skinTones, r.unit()),
		Blush:   r.unit(),
		Mottle:  r.unit(),
		Lines:   r.unit(),
		Pattern: r.next(),
	}
	warm := r.bell(20)
	s.Color = s.Color.shift(warm, 0, -warm)
	if r.chance(0.3) {
		s.Freckles = 20 + r.pick(60)
	}
	return s
}

func drawHair(r *stream) Hair {
	h := Hair{
		Color:   ramp(hairColors, r.unit()),
		Style:   Short,
		Line:    r.around(46, 12),
		Temple:  r.around(5, 9),
		Parting: r.around(0, 0.8),
		Sweep:   r.bell(14),
		Volume:  r.between(1, 10),
		Length:  r.between(20, 80),
		Curl:    r.unit(),
	}
	if r.chance(0.4) {
		h.Style = Long
	} else if r.chance(0.12) {
		h.Style = Bald
	}
	return h
}

func drawBeard(r *stream) Beard {
	if !r.chance(0.35) {
		return Beard{}
	}
	return Beard{
		Moustache: max(r.between(-0.3, 0.9), 0),
		Chin:      max(r.between(-0.3, 0.9), 0),
		Cheeks:    max(r.between(-0.5, 0.8), 0),
	}
}

func drawMarks(r *stream, skin Color) []Mark {
	marks := make([]Mark, r.pick(6))
	for k := range marks {
		marks[k] = Mark{
			X:      r.around(0, 29),
			Y:      r.between(-36, 42),
			Radius: r.between(0.8, 2),
			Color:  skin.lerp(Color{52, 30, 24}, r.between(0.5, 0.95)),
		}
	}
	return marks
}
