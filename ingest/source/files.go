package source

import (
	"strings"

	"facepipe/internal/imgcodec"
	"facepipe/internal/regular"
)

func isRegular(path string) bool {
	_, err := regular.Stat(path)
	return err == nil
}

// startsLikeImage says whether a file begins like an image of a known format.
func startsLikeImage(path string) bool {
	head, err := regular.Head(path, imgcodec.SniffLen)
	return err == nil && imgcodec.Sniff(head) != imgcodec.Unknown
}

// photoEndings are what the names of photographs end in, as far as lists leave it out.
var photoEndings = []string{".jpg", ".jpeg", ".png", ".webp", ".bmp", ".pgm", ".ppm", ".JPG", ".JPEG", ".PNG"}

// withoutEnding is the name of a photograph as lists write it that leave the ending out.
func withoutEnding(name string) (stem string, ok bool) {
	for _, ending := range photoEndings {
		if stem, ok := strings.CutSuffix(name, ending); ok && stem != "" && !strings.HasSuffix(stem, "/") {
			return stem, true
		}
	}
	return "", false
}
