package synthface

// features is where an identity's features are under an expression, as places on
// the face seen from the front. Index 0 is the image's left.
type features struct {
	eye      [2]vec2
	half     float64 // from an eye's centre to its corner
	upper    float64 // height of the upper lid above the centre
	lower    float64
	brow     [2]vec2 // middle of the brow
	noseTip  vec2
	mouth    [2]vec2 // corners
	gap      float64 // between the lips
	lipUpper float64
	lipLower float64
	chinY    float64
}

// arrange places the features of a person with an expression.
func arrange(id *Identity, e expression) features {
	f := features{
		half:     id.Eyes.HalfWide,
		upper:    id.Eyes.Opening * 0.58 * (1 - e.blink) * (1 + 0.12*e.brow),
		lower:    id.Eyes.Opening * 0.42 * (1 - 0.85*e.blink) * (1 - 0.3*max(e.smile, 0)),
		gap:      9 * e.open,
		lipUpper: id.Mouth.Upper * (1 - 0.25*max(e.smile, 0)),
		lipLower: id.Mouth.Lower * (1 - 0.2*max(e.smile, 0)),
		chinY:    id.Head.ChinDrop + 7*e.open,
	}
	eyeY := -id.Eyes.Height
	f.noseTip = vec2{0.5 * id.Skew, eyeY + id.Nose.Drop}
	half := id.Mouth.Width/2 + 2.6*e.smile - 1.4*e.open
	corner := id.Mouth.Drop - 2.4*e.smile + 2.5*e.open
	for side, sign := range [2]float64{-1, 1} {
		skew := sign * id.Skew
		f.eye[side] = vec2{sign * id.Eyes.Spacing / 2, eyeY + 0.8*skew}
		f.brow[side] = vec2{
			f.eye[side].x - sign*id.Brows.Inset,
			eyeY - id.Brows.Gap - 2.6*e.brow + 1.2*skew,
		}
		f.mouth[side] = vec2{sign * half, corner - 1.1*skew}
	}
	return f
}

// landmarks are the five landmarks in head space's x and y: centres of the eyes,
// tip of the nose, corners of the mouth.
func (f *features) landmarks() [5]vec2 {
	return [5]vec2{f.eye[0], f.eye[1], f.noseTip, f.mouth[0], f.mouth[1]}
}
