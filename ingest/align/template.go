package align

// CropSize is the side of an aligned crop in pixels.
const CropSize = 112

// TemplateName identifies the template in a dataset's contract.
const TemplateName = "arcface-112"

// arcface112 is where the five landmarks lie in a 112 by 112 crop: the template
// that the public face embedders are trained with (Deng et al., "ArcFace", 2019,
// and its published code).
var arcface112 = Landmarks{
	{38.2946, 51.6963},
	{73.5318, 51.5014},
	{56.0252, 71.7366},
	{41.5493, 92.3655},
	{70.7299, 92.2041},
}

// Template returns the landmarks' places in a crop of size by size pixels, scaled
// from the one of 112.
func Template(size int) Landmarks {
	t := arcface112
	for i := range t {
		t[i].X *= float64(size) / CropSize
		t[i].Y *= float64(size) / CropSize
	}
	return t
}
