package sourcetest

import (
	"fmt"
	"sync"

	"facepipe/internal/imgcodec"
	"facepipe/internal/synthface"
)

// People are in the faces, each in PerPerson pictures.
const (
	People    = 20
	PerPerson = 10
)

// Face is an aligned crop as a file holds it.
type Face struct {
	// Number is the person's, 0..People-1, and Person a name for it.
	Number int
	Person string
	// File is a name with the ending that belongs to Data: JPEG or PNG in turn.
	File string
	Data []byte
}

// Faces are the People*PerPerson generated faces, person by person. They are the same in
// every process; the caller must not change them.
func Faces() []Face { return generated() }

var generated = sync.OnceValue(func() []Face {
	const (
		seed        = 1
		jpegQuality = 95
	)
	g := synthface.New(seed)
	var faces []Face
	for person := range People {
		for picture := range PerPerson {
			img, _ := g.Aligned(person, picture, synthface.DefaultHard)
			f := Face{Number: person, Person: fmt.Sprintf("person_%02d", person)}
			if picture%2 == 0 {
				f.File, f.Data = fmt.Sprintf("%02d.jpg", picture), imgcodec.EncodeJPEG(img, jpegQuality)
			} else {
				f.File, f.Data = fmt.Sprintf("%02d.png", picture), imgcodec.EncodePNG(img)
			}
			faces = append(faces, f)
		}
	}
	return faces
})
